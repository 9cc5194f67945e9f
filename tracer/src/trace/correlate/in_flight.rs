//! Requests in flight: requests whose result was not emitted yet.
//!
//! A request leaves [`Requests`] exactly when its result is emitted: removing it returns a [`Retired`], which emitting a
//! result requires, and no id is retired twice.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use super::{
    ended::EndedRequests,
    outcome::{Failure, Nested},
    round_robin::RoundRobin,
};
use crate::event::{Attribution, Outcome, ProcessId, Request, RequestId, Text};

/// Maximum number of requests in flight. Each is a waiting thread; the kernel side tracks fewer
/// (`tracer-ebpf/src/maps.rs`).
pub(super) const LIMIT: usize = 1 << 16;

/// Maximum number of nested requests. The kernel runs 50 at a time.
const LEVELS_LIMIT: usize = 50;

/// The state of a request.
#[derive(Debug)]
pub(super) struct InFlight {
    pub name: Text,
    /// When the thread entered `__request_module`, or reached the security hook if the entry was not seen.
    pub began_ns: u64,
    pub process: ProcessId,
    /// The request event, until it is known whether the requester waits.
    pub pending_event: Option<Box<Request>>,
    /// It was admitted: it has one of the kernel's slots.
    pub is_admitted: bool,
    /// A modprobe is started for it.
    pub is_handed_over: bool,
    pub helper: Option<ProcessId>,
    /// The helper has exited.
    pub is_helper_gone: bool,
    /// Modules that were loaded for it and not removed.
    pub loaded: Vec<String>,
    pub failures: Vec<Failure>,
    /// The request whose helper has its requester as a descendant.
    pub parent: Option<RequestId>,
    /// What such requests of its own helper's descendants did.
    pub nested: Nested,
    /// Time of the latest record.
    pub last_ns: u64,
    /// The latest time at which the requester was seen in a state that is possible within the request.
    pub waiting_ns: u64,
    /// Evidence that the requester has left the request without a result record.
    pub departure: Option<Departure>,
    /// The outcome is known, but events may follow until the helper exits.
    pub ending: Option<Ending>,
}

/// Evidence that a thread has left `__request_module`. It had reserved all its records before that.
#[derive(Clone, Copy, Debug)]
pub(super) enum Departure {
    /// It entered `__request_module` again: a thread makes one request at a time.
    AskedAgain { at_ns: u64 },
    /// It is in interruptible sleep, which no part of a request is. `by_ns`: since this time at the latest, once the ring
    /// was read.
    Asleep { by_ns: Option<u64> },
    /// It has exited. `by_ns`: by this time at the latest, once the ring was read.
    Gone { by_ns: Option<u64> },
    /// No evidence, but no activity for so long that the request is abandoned.
    Abandoned,
}

/// An outcome that waits for the helper to exit.
#[derive(Debug)]
pub(super) struct Ending {
    pub outcome: Outcome,
    pub boot_ns: u64,
    /// The helper has exited, or is not waited for any longer.
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
        let is_exact = pending_event.parent_attribution == Some(Attribution::exact());
        Self {
            parent: pending_event.parent_request.filter(|_| is_exact),
            nested: Nested::default(),
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

    /// Notes that a modprobe was started, so the request was admitted.
    pub(super) fn helper_runs(&mut self, boot_ns: u64) {
        self.is_admitted = true;
        self.is_handed_over = true;
        self.saw_record(boot_ns);
    }

    /// Notes a record of the request.
    pub(super) fn saw_record(&mut self, boot_ns: u64) {
        self.last_ns = self.last_ns.max(boot_ns);
        if matches!(self.departure, Some(Departure::Abandoned)) {
            self.departure = None;
        }
    }

    /// Whether it occupies one of the kernel's slots.
    const fn has_slot(&self) -> bool {
        self.is_admitted && self.ending.is_none() && self.departure.is_none() && !self.is_helper_gone
    }
}

/// A request that was removed from the table: its result can be emitted, once.
#[derive(Debug)]
pub(super) struct Retired(RequestId);

impl Retired {
    pub(super) const fn id(&self) -> RequestId {
        self.0
    }
}

/// The table of requests in flight.
#[derive(Debug, Default)]
pub(super) struct Requests {
    open: BTreeMap<RequestId, InFlight>,
    /// The latest request of each thread.
    latest: HashMap<u32, RequestId>,
    /// Requests whose event may be pending, in order of arrival.
    pending_event: VecDeque<RequestId>,
    /// Requests with a known outcome that wait for their helper.
    endings: BTreeSet<RequestId>,
    /// Number of requests that occupy one of the kernel's slots.
    running: usize,
    ended: EndedRequests,
    /// Requests all of whose records are known to be in the ring.
    settling: Vec<RequestId>,
    looks: RoundRobin<RequestId>,
    ending_looks: RoundRobin<RequestId>,
}

impl Requests {
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// Number of requests that occupy one of the kernel's slots.
    pub(super) const fn running(&self) -> usize {
        self.running
    }

    pub(super) fn ids(&self) -> Vec<RequestId> {
        self.open.keys().copied().collect()
    }

    pub(super) fn get(&self, id: RequestId) -> Option<&InFlight> {
        self.open.get(&id)
    }

    /// Whether a request is in flight or has ended.
    pub(super) fn is_known(&self, id: RequestId) -> bool {
        self.open.contains_key(&id) || self.ended.may_contain(id)
    }

    /// Whether a request has ended.
    pub(super) fn has_ended(&self, id: RequestId) -> bool {
        !self.open.contains_key(&id) && self.ended.may_contain(id)
    }

    /// Whether an entry into `__request_module` was already handled, alone or with its request.
    pub(super) fn has_begun(&self, id: RequestId) -> bool {
        let latest = self.latest.get(&id.tid).and_then(|latest| self.open.get(latest));
        latest.is_some_and(|latest| latest.began_ns == id.boot_ns) || self.is_known(id)
    }

    /// The oldest request, if the table is full.
    pub(super) fn oldest_if_full(&self) -> Option<RequestId> {
        if self.open.len() < LIMIT { None } else { self.open.first_key_value().map(|(id, _)| *id) }
    }

    /// Adds a new request.
    pub(super) fn insert(&mut self, id: RequestId, mut in_flight: InFlight) {
        match self.latest.get(&id.tid) {
            // Read out of order: its thread has made another request since.
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

    /// Changes a request and updates the dependent counts.
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

    /// Changes a request and then, with `true`, each request in whose helper's descendants it was made.
    pub(super) fn change_with_parents(&mut self, id: RequestId, mut change: impl FnMut(&mut InFlight, bool)) {
        let mut next = Some(id);
        for level in 0..LEVELS_LIMIT {
            let Some(id) = next else { break };
            next = self
                .change(id, |in_flight| {
                    change(in_flight, level > 0);
                    in_flight.parent
                })
                .flatten();
        }
    }

    /// Removes a request so that its result can be emitted. `None` if a result was emitted before; a request that was
    /// never in flight is accepted.
    pub(super) fn retire(&mut self, id: RequestId) -> Option<Retired> {
        match self.open.remove(&id) {
            Some(in_flight) => {
                self.running -= usize::from(in_flight.has_slot());
                self.endings.remove(&id);
                if self.latest.get(&id.tid) == Some(&id) {
                    self.latest.remove(&id.tid);
                }
                // The entry is part of this request, not a request of its own.
                self.ended.insert(RequestId { boot_ns: in_flight.began_ns, ..id });
            }
            None if self.ended.may_contain(id) => return None,
            None => {}
        }
        self.ended.insert(id);
        Some(Retired(id))
    }

    /// Notes that a thread entered `__request_module`: its previous request is over.
    pub(super) fn thread_calls_again(&mut self, tid: u32, process: ProcessId, at_ns: u64) {
        let Some(id) = self.latest.get(&tid).copied().filter(|id| id.boot_ns < at_ns) else { return };
        let over = self.change(id, |before| {
            if before.ending.is_some() || before.departure.is_some() {
                return false;
            }
            // If the thread id belongs to another process now, the requester has exited.
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

    /// The next request whose event was pending long enough.
    pub(super) fn next_pending_event(&mut self, asked_before_ns: u64) -> Option<RequestId> {
        let id = self.pending_event.front().copied().filter(|id| id.boot_ns < asked_before_ns)?;
        self.pending_event.pop_front();
        Some(id)
    }

    /// Notes that all records of these requests are in the ring.
    pub(super) fn settle_next(&mut self, ids: impl IntoIterator<Item = RequestId>) {
        self.settling.extend(ids);
    }

    /// Takes the requests that can be resolved once the ring was read.
    pub(super) fn take_settling(&mut self) -> Vec<RequestId> {
        std::mem::take(&mut self.settling)
    }

    /// The next requests to check, round-robin.
    pub(super) fn next_to_check(&mut self, limit: usize) -> Vec<RequestId> {
        let Self { looks, open, .. } = self;
        looks.next(limit, |range, count| open.range(range).map(|(id, _)| *id).take(count).collect())
    }

    /// The next requests with a known outcome to check, round-robin.
    pub(super) fn next_endings_to_check(&mut self, limit: usize) -> Vec<RequestId> {
        let Self { ending_looks, endings, .. } = self;
        ending_looks.next(limit, |range, count| endings.range(range).copied().take(count).collect())
    }
}
