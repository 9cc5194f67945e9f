//! Requests in flight: those that were asked and whose result was not emitted yet.
//!
//! A request leaves [`Requests`] exactly when its result is emitted: leaving makes the [`Retired`] that emitting takes, and
//! no id is retired twice.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use super::{ended::EndedRequests, outcome::Failure, round_robin::RoundRobin};
use crate::event::{Outcome, ProcessId, Request, RequestId, Text};

/// Requests in flight. Each is a thread that waits; the kernel side remembers fewer (`tracer-ebpf/src/maps.rs`).
pub(super) const LIMIT: usize = 1 << 16;

/// A request's state.
#[derive(Debug)]
pub(super) struct InFlight {
    pub name: Text,
    /// When the task entered `__request_module`, or was asked where that was not seen.
    pub began_ns: u64,
    pub process: ProcessId,
    /// The request event, until it is known whether the requester waits.
    pub pending_event: Option<Box<Request>>,
    /// It got one of the kernel's places.
    pub is_admitted: bool,
    /// A modprobe is run for it.
    pub is_handed_over: bool,
    pub helper: Option<ProcessId>,
    /// Whether the helper was found gone.
    pub is_helper_gone: bool,
    /// Modules that arrived through it and stayed.
    pub loaded: Vec<String>,
    pub failures: Vec<Failure>,
    /// Time of its latest record.
    pub last_ns: u64,
    /// The latest time at which the requester was seen where it may be in the request.
    pub waiting_ns: u64,
    /// What proves that the requester has left the request, though no record says how.
    pub departure: Option<Departure>,
    /// Decided, but events may still follow until the helper is gone.
    pub ending: Option<Ending>,
}

/// What proves that a thread has left `__request_module`. It had reserved all its records before.
#[derive(Clone, Copy, Debug)]
pub(super) enum Departure {
    /// It entered `__request_module` again: it asks for one module at a time.
    AskedAgain { at_ns: u64 },
    /// It sleeps interruptibly, as no part of a request does. It was there by this time, if that was read yet.
    Asleep { by_ns: Option<u64> },
    /// It has ended. It had by this time, if that was read yet.
    Gone { by_ns: Option<u64> },
    /// Nothing proves it, but nothing has come of it for so long that it is no longer waited for.
    Abandoned,
}

/// An end that waits for its helper.
#[derive(Debug)]
pub(super) struct Ending {
    pub outcome: Outcome,
    pub boot_ns: u64,
    /// The helper was found gone, or is not waited for any longer.
    pub is_due: bool,
}

impl InFlight {
    pub(super) fn new(
        name: Text,
        id: RequestId,
        began_ns: u64,
        process: ProcessId,
        pending_event: Box<Request>,
    ) -> Self {
        Self {
            name,
            began_ns,
            process,
            pending_event: Some(pending_event),
            is_admitted: false,
            is_handed_over: false,
            helper: None,
            is_helper_gone: false,
            loaded: Vec::new(),
            failures: Vec::new(),
            last_ns: id.boot_ns,
            waiting_ns: id.boot_ns,
            departure: None,
            ending: None,
        }
    }

    /// A modprobe is run for it, so it got a place.
    pub(super) fn helper_runs(&mut self, boot_ns: u64) {
        self.is_admitted = true;
        self.is_handed_over = true;
        self.saw_record(boot_ns);
    }

    /// A record of it was read.
    pub(super) fn saw_record(&mut self, boot_ns: u64) {
        self.last_ns = self.last_ns.max(boot_ns);
        if matches!(self.departure, Some(Departure::Abandoned)) {
            self.departure = None;
        }
    }

    /// Whether it has one of the kernel's places.
    const fn has_slot(&self) -> bool {
        self.is_admitted && self.ending.is_none() && self.departure.is_none() && !self.is_helper_gone
    }
}

/// A request that has left the table: its result can be emitted, once.
#[derive(Debug)]
pub(super) struct Retired(RequestId);

impl Retired {
    pub(super) const fn id(&self) -> RequestId {
        self.0
    }
}

/// The table.
#[derive(Debug, Default)]
pub(super) struct Requests {
    open: BTreeMap<RequestId, InFlight>,
    /// By thread: its latest request.
    latest: HashMap<u32, RequestId>,
    /// Those whose request event may be pending_event, in order of arrival.
    pending_event: VecDeque<RequestId>,
    /// Those that have an ending and wait for their helper.
    endings: BTreeSet<RequestId>,
    /// How many have one of the kernel's places.
    running: usize,
    ended: EndedRequests,
    /// Those of which there is evidence that all their records were reserved in the ring.
    settling: Vec<RequestId>,
    looks: RoundRobin<RequestId>,
    ending_looks: RoundRobin<RequestId>,
}

impl Requests {
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// How many have one of the kernel's places.
    pub(super) const fn running(&self) -> usize {
        self.running
    }

    pub(super) fn ids(&self) -> Vec<RequestId> {
        self.open.keys().copied().collect()
    }

    pub(super) fn get(&self, id: RequestId) -> Option<&InFlight> {
        self.open.get(&id)
    }

    /// Whether it is in flight, or has ended.
    pub(super) fn is_known(&self, id: RequestId) -> bool {
        self.open.contains_key(&id) || self.ended.may_contain(id)
    }

    /// Whether it has ended.
    pub(super) fn has_ended(&self, id: RequestId) -> bool {
        !self.open.contains_key(&id) && self.ended.may_contain(id)
    }

    /// Whether an entry into `__request_module` was seen already, alone or with its request.
    pub(super) fn has_begun(&self, id: RequestId) -> bool {
        let latest = self.latest.get(&id.tid).and_then(|latest| self.open.get(latest));
        latest.is_some_and(|latest| latest.began_ns == id.boot_ns) || self.is_known(id)
    }

    /// The oldest, where there is no room for one more.
    pub(super) fn oldest_if_full(&self) -> Option<RequestId> {
        if self.open.len() < LIMIT { None } else { self.open.first_key_value().map(|(id, _)| *id) }
    }

    /// Adds one that is not known.
    pub(super) fn insert(&mut self, id: RequestId, mut in_flight: InFlight) {
        match self.latest.get(&id.tid) {
            // Read out of order: its thread has asked again since.
            Some(later) if *later > id => {
                in_flight.departure = Some(Departure::AskedAgain { at_ns: later.boot_ns });
                self.settling.push(id);
            }
            _ => {
                self.latest.insert(id.tid, id);
            }
        }
        self.pending_event.push_back(id);
        self.open.insert(id, in_flight);
    }

    /// Changes one, and keeps the counts that depend on it.
    pub(super) fn change<R>(&mut self, id: RequestId, change: impl FnOnce(&mut InFlight) -> R) -> Option<R> {
        let in_flight = self.open.get_mut(&id)?;
        let had_slot = in_flight.has_slot();
        let result = change(in_flight);
        match (had_slot, in_flight.has_slot()) {
            (false, true) => self.running += 1,
            (true, false) => self.running -= 1,
            _ => {}
        }
        if in_flight.ending.is_some() {
            self.endings.insert(id);
        }
        Some(result)
    }

    /// Takes one out for its result. `None` when that was emitted before; one that was never in flight is as good.
    pub(super) fn retire(&mut self, id: RequestId) -> Option<Retired> {
        match self.open.remove(&id) {
            Some(in_flight) => {
                self.running -= usize::from(in_flight.has_slot());
                self.endings.remove(&id);
                if self.latest.get(&id.tid) == Some(&id) {
                    self.latest.remove(&id.tid);
                }
                // Its entry is no request of its own.
                self.ended.insert(RequestId { boot_ns: in_flight.began_ns, ..id });
            }
            None if self.ended.may_contain(id) => return None,
            None => {}
        }
        self.ended.insert(id);
        Some(Retired(id))
    }

    /// A thread of a process entered `__request_module`: what it asked for before is over.
    pub(super) fn thread_calls_again(&mut self, tid: u32, process: ProcessId, at_ns: u64) {
        let Some(id) = self.latest.get(&tid).copied().filter(|id| id.boot_ns < at_ns) else { return };
        let over = self.change(id, |before| {
            if before.ending.is_some() || before.departure.is_some() {
                return false;
            }
            // Where the thread's id is another process's, the one that asked has ended.
            let is_same = before.process == process;
            before.departure =
                Some(if is_same { Departure::AskedAgain { at_ns } } else { Departure::Gone { by_ns: Some(at_ns) } });
            true
        });
        self.latest.remove(&tid);
        if over == Some(true) {
            self.settling.push(id);
        }
    }

    /// The next whose request event was held long enough.
    pub(super) fn next_pending_event(&mut self, asked_before_ns: u64) -> Option<RequestId> {
        let id = self.pending_event.front().copied().filter(|id| id.boot_ns < asked_before_ns)?;
        self.pending_event.pop_front();
        Some(id)
    }

    /// Puts down that there is evidence about these: all their records are in the ring by now.
    pub(super) fn settle_next(&mut self, ids: impl IntoIterator<Item = RequestId>) {
        self.settling.extend(ids);
    }

    /// Those that can be settled once the ring was read.
    pub(super) fn take_settling(&mut self) -> Vec<RequestId> {
        std::mem::take(&mut self.settling)
    }

    /// The next ones to look at, in turn.
    pub(super) fn next_to_check(&mut self, limit: usize) -> Vec<RequestId> {
        let Self { looks, open, .. } = self;
        looks.next(limit, |range, count| open.range(range).map(|(id, _)| *id).take(count).collect())
    }

    /// The next endings to look at, in turn.
    pub(super) fn next_endings_to_check(&mut self, limit: usize) -> Vec<RequestId> {
        let Self { ending_looks, endings, .. } = self;
        ending_looks.next(limit, |range, count| endings.range(range).copied().take(count).collect())
    }
}
