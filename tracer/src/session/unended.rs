//! Requests that got a place, and of which nothing told how they ended.
//!
//! A thread asks for one module at a time: whoever asks again has ended what he asked for before. A request that got a
//! place and for which no modprobe is run ends without a record: the kernel takes it for a duplicate
//! (`CONFIG_MODULE_DEBUG_AUTOLOAD_DUPS`, kernel/module/dups.c), or has no memory (`call_modprobe`, kernel/module/kmod.c).

use super::{knowledge::Knowledge, requests::Ending, tracker::Tracker};
use crate::event::{Attribution, Body, Outcome, RequestId, Status};

/// How long a requester is gone before its result counts as lost.
const LOST_NS: u64 = 1_000_000_000;

/// How long after a request got its place modprobe may be late: it follows at once, unless the machine is so busy that the
/// task must wait between them.
const NOT_RUN_NS: u64 = 5_000_000_000;

impl<K: Knowledge> Tracker<K> {
    /// A thread entered `__request_module`: what it asked for before is over. How is told at the next tick, when it is known
    /// what was lost meanwhile.
    pub(super) fn asks_again(&mut self, tid: u32, boot_ns: u64) {
        let before = self.latest.remove(&tid).and_then(|id| self.requests.get_mut(&id));
        if let Some(in_flight) = before.filter(|in_flight| in_flight.ending.is_none()) {
            in_flight.over_ns = Some(boot_ns);
        }
    }

    /// Settles a request that got a place and has no result.
    pub(super) fn settle_unended(&mut self, id: RequestId, now_ns: u64) {
        let waits = self.waits_for_another(id);
        let Some(in_flight) = self.requests.get_mut(&id) else { return };
        in_flight.helper_gone = in_flight.helper.is_some_and(|helper| !self.knowledge.is_alive(helper));
        if let Some(boot_ns) = in_flight.over_ns {
            if in_flight.handed_over {
                // What its helper still does belongs to it.
                in_flight.ending = Some(Ending { outcome: lost(), boot_ns });
            } else {
                self.end(id, boot_ns, not_run());
            }
            return;
        }
        let is_late = in_flight.admitted_ns.is_some_and(|at| now_ns.saturating_sub(at) > NOT_RUN_NS);
        if is_late && !in_flight.handed_over && !waits {
            self.end(id, now_ns, not_run());
            return;
        }
        let helper_lives = in_flight.helper.is_some() && !in_flight.helper_gone;
        if helper_lives || self.knowledge.is_thread_alive(in_flight.process, id.tid) {
            in_flight.gone_ns = None;
            return;
        }
        // The record may have come between the last reading and this look.
        let gone_ns = *in_flight.gone_ns.get_or_insert(now_ns);
        if now_ns.saturating_sub(gone_ns) >= LOST_NS {
            let outcome = if in_flight.handed_over { lost() } else { not_run() };
            self.end(id, now_ns, outcome);
        }
    }

    /// Whether an older request for the same name is under way: the kernel lets a duplicate wait for it.
    fn waits_for_another(&self, id: RequestId) -> bool {
        let Some(own) = self.requests.get(&id).filter(|in_flight| !in_flight.handed_over) else { return false };
        let mut older = self.requests.range(..id);
        older.any(|(_, other)| other.handed_over && other.has_place() && other.name == own.name)
    }

    /// Tells a request and its end.
    pub(super) fn end(&mut self, id: RequestId, boot_ns: u64, outcome: Outcome) {
        self.release(id, None);
        self.requests.remove(&id);
        self.emit(boot_ns, Some(id), Body::Result(outcome));
    }
}

/// An end of which no more is known than that.
pub(super) fn unknown(detail: &str) -> Outcome {
    Outcome { detail: Some(detail.to_owned()), ..Outcome::new(Status::Unknown, Attribution::unknown()) }
}

/// A requester cannot end before its result: one that is gone, or asks again, without it has lost it on the way.
fn lost() -> Outcome {
    unknown("its end was not seen: the record of it was lost")
}

fn not_run() -> Outcome {
    unknown(
        "no modprobe was seen to run for it: it was a duplicate of another request, or the kernel could not start one",
    )
}
