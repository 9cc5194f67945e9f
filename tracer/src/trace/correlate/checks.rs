//! Checks of processes: evidence that a thread has left a request, or that a helper or loader has exited.
//!
//! A check proves that all records of a thread are in the ring, not that they were read. Its result counts only after the
//! ring was read from a later time on (`timeouts.rs`). A tick checks a limited number round-robin, because any user can
//! make ten thousand threads wait.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    environment::Environment,
    in_flight::{Departure, InFlight},
    loaders::PAUSE_NS,
    tracker::Tracker,
};
use crate::{
    event::{ProcessId, RequestId},
    kernel::process::{Liveness, ThreadState},
};

/// Number of checks of each kind in a tick. Each check reads one or two files.
pub(super) const CHECKS_PER_TICK: usize = 128;

/// Requests and entries younger than this are not checked: most end sooner.
const YOUNG_NS: u64 = 100_000_000;

/// Time without activity after which something is abandoned if checks prove nothing: a thread that is always running may
/// be anywhere. Such an outcome is unknown, or was determined before.
const ABANDONED_NS: u64 = 60_000_000_000;

/// How long after the end of its request a helper may still be started: kernel workers are late on a busy system.
const BIRTH_NS: u64 = 5_000_000_000;

/// Results of checks, which count once the ring was read after them.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub requests: Vec<RequestId>,
    /// Entries whose thread has left `__request_module`.
    pub entries: BTreeSet<RequestId>,
    /// Loaders that have exited (`None`), or are inactive since this time.
    pub loaders: BTreeMap<ProcessId, Option<u64>>,
}

impl<K: Environment> Tracker<K> {
    /// Performs the next checks.
    pub(super) fn check(&mut self, now_ns: u64) {
        for id in self.requests.next_to_check(CHECKS_PER_TICK) {
            self.check_request(id, now_ns);
        }
        for id in self.requests.next_endings_to_check(CHECKS_PER_TICK) {
            self.check_ending(id, now_ns);
        }
        for tid in self.entries.next_to_check(CHECKS_PER_TICK) {
            self.check_entry(tid, now_ns);
        }
        for process in self.loaders.next_to_check(CHECKS_PER_TICK) {
            self.check_loader(process, now_ns);
        }
    }

    fn check_request(&mut self, id: RequestId, now_ns: u64) {
        let Some(in_flight) = self.requests.get(id) else { return };
        if in_flight.ending.is_some() || in_flight.departure.is_some() || is_within(id.boot_ns, now_ns, YOUNG_NS) {
            return;
        }
        let helper = in_flight.helper.map(|helper| self.environment.liveness(helper));
        let process = in_flight.process;
        let is_abandoned = self.requests.change(id, |in_flight| {
            let was_gone = std::mem::replace(&mut in_flight.is_helper_gone, helper == Some(Liveness::Gone));
            // The request is kept while its helper runs, and for some time after the helper has exited.
            if helper == Some(Liveness::Alive) || in_flight.is_helper_gone && !was_gone {
                in_flight.saw_record(now_ns);
            }
            !is_within(in_flight.last_ns, now_ns, ABANDONED_NS)
        });
        let over = match self.environment.thread_state(process, id.tid) {
            ThreadState::Gone => Some(Departure::Gone { by_ns: None }),
            ThreadState::Asleep => Some(Departure::Asleep { by_ns: None }),
            ThreadState::Running | ThreadState::Unknown if is_abandoned == Some(true) => Some(Departure::Abandoned),
            // The kernel wakes it when its helper has exited: it is blocked elsewhere.
            ThreadState::Blocked if is_abandoned == Some(true) && helper == Some(Liveness::Gone) => {
                Some(Departure::Abandoned)
            }
            ThreadState::Unknown => None,
            ThreadState::Blocked | ThreadState::Running => {
                self.requests.change(id, |in_flight| in_flight.waiting_ns = in_flight.waiting_ns.max(now_ns));
                None
            }
        };
        if over.is_some() {
            self.requests.change(id, |in_flight| in_flight.departure = over);
            self.seen.requests.push(id);
        }
    }

    fn check_ending(&mut self, id: RequestId, now_ns: u64) {
        let Some(InFlight { ending: Some(ending), helper, last_ns, .. }) = self.requests.get(id) else { return };
        if ending.is_due {
            return;
        }
        let is_due = match helper {
            // A helper that was not started (the requester was killed first) gets some seconds to appear.
            None => !is_within(ending.boot_ns, now_ns, BIRTH_NS),
            Some(helper) => match self.environment.liveness(*helper) {
                Liveness::Gone => true,
                Liveness::Alive => false,
                Liveness::Unknown => !is_within(*last_ns, now_ns, ABANDONED_NS),
            },
        };
        if is_due {
            self.requests.change(id, |in_flight| {
                if let Some(ending) = &mut in_flight.ending {
                    ending.is_due = true;
                }
            });
            self.seen.requests.push(id);
        }
    }

    fn check_entry(&mut self, tid: u32, now_ns: u64) {
        let Some((process, began_ns)) = self.entries.thread(tid) else { return };
        if is_within(began_ns, now_ns, YOUNG_NS) {
            return;
        }
        let has_left = match self.environment.thread_state(process, tid) {
            ThreadState::Gone | ThreadState::Asleep => true,
            ThreadState::Blocked => false,
            ThreadState::Running | ThreadState::Unknown => !is_within(began_ns, now_ns, ABANDONED_NS),
        };
        if has_left {
            self.seen.entries.insert(RequestId { boot_ns: began_ns, tid });
        }
    }

    fn check_loader(&mut self, process: ProcessId, now_ns: u64) {
        let Some(loader) = self.loaders.get(process) else { return };
        let last_ns = loader.last_ns;
        let may_pause = loader.may_pause();
        let is_in_init = loader.in_init > 0;
        let paused_since_ns = match self.environment.liveness(process) {
            Liveness::Gone => None,
            // A kmod tool does one operation, however slow the disk is, and exits. Other processes continue.
            Liveness::Alive if !may_pause => return,
            Liveness::Alive | Liveness::Unknown => {
                let pause_ns = if is_in_init || !may_pause { ABANDONED_NS } else { PAUSE_NS };
                if is_within(last_ns, now_ns, pause_ns) {
                    return;
                }
                Some(last_ns)
            }
        };
        self.seen.loaders.insert(process, paused_since_ns);
    }
}

/// Whether a time is within a limit before now.
const fn is_within(since_ns: u64, now_ns: u64, limit_ns: u64) -> bool {
    now_ns.saturating_sub(since_ns) <= limit_ns
}
