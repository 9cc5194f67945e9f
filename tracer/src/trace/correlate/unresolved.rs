//! Requests whose end is not in any record: the thread has left the request, and all its records were read.
//!
//! Elapsed time alone decides nothing. A thread reserves its records in the ring before it continues, so a thread that
//! makes another request, sleeps elsewhere or has exited has reserved all of them; once the ring was read after that, none
//! is outstanding. Only then are times compared, and only times of the kernel or their bounds.
//!
//! An admitted request for which no modprobe is started ends without a record: the kernel treats it as a duplicate
//! (`CONFIG_MODULE_DEBUG_AUTOLOAD_DUPS`, kernel/module/dups.c), or is out of memory (`call_modprobe`,
//! kernel/module/kmod.c).

use super::{
    environment::Environment,
    in_flight::{Departure, Ending},
    tracker::Tracker,
};
use crate::event::{Attribution, LossStage, Outcome, RequestId, Status};

/// The kernel gives up after 5 s without a free slot (`MAX_KMOD_ALL_BUSY_TIMEOUT`, kernel/kmod.c). It counts jiffies, and
/// a processor that was stopped catches up on them at once.
const ADMISSION_TIMEOUT_NS: u64 = 4_800_000_000;

/// A requester that has exited before this time was killed: it did not reach the limit. Between the two values the reason
/// is unknown.
const KILLED_BEFORE_NS: u64 = 3_000_000_000;

impl<K: Environment> Tracker<K> {
    /// Resolves a request whose thread has left it, or whose ending is due.
    pub(super) fn resolve(&mut self, id: RequestId, now_ns: u64) {
        let Some(in_flight) = self.requests.get(id) else { return };
        if let Some(ending) = &in_flight.ending {
            if ending.is_due {
                self.end_as_decided(id);
            }
            return;
        }
        let Some(over) = in_flight.departure else { return };
        let at_ns = match over {
            Departure::AskedAgain { at_ns } => at_ns,
            Departure::Asleep { .. } | Departure::Gone { .. } | Departure::Abandoned => now_ns,
        };
        if in_flight.is_handed_over && !matches!(over, Departure::Abandoned) {
            // What the helper does from now on belongs to the request.
            let ending = Ending { outcome: lost(), boot_ns: at_ns, is_due: false };
            self.requests.change(id, |in_flight| in_flight.ending = Some(ending));
            return;
        }
        let outcome = match over {
            Departure::Abandoned => abandoned(),
            _ if in_flight.is_admitted => not_run(),
            over => self.not_admitted(id, in_flight.waiting_ns, over, now_ns),
        };
        self.end(id, at_ns, outcome);
    }

    /// The outcome of a request that was neither denied nor admitted.
    fn not_admitted(&mut self, id: RequestId, waiting_ns: u64, over: Departure, now_ns: u64) -> Outcome {
        if self.last_loss_ns.is_some_and(|at_ns| at_ns >= id.boot_ns) {
            return unknown("records were lost while it ran: the reason is unknown");
        }
        let is_crowded = self.last_full_ns.is_some_and(|at_ns| at_ns >= id.boot_ns);
        if self.last_missed_ns.is_some_and(|at_ns| at_ns >= id.boot_ns) && !is_crowded {
            self.loss(now_ns, LossStage::Missed, "verdict", 1);
            return unknown("it was not admitted although a slot was free: the record of the reason was missed");
        }
        let since_asked = |at_ns: u64| at_ns.saturating_sub(id.boot_ns);
        match over {
            // A thread that continues was not killed. Only the limit delays a request this long.
            Departure::AskedAgain { at_ns: by_ns } | Departure::Asleep { by_ns: Some(by_ns) }
                if since_asked(by_ns) >= ADMISSION_TIMEOUT_NS =>
            {
                timed_out()
            }
            Departure::Gone { .. } if since_asked(waiting_ns) >= ADMISSION_TIMEOUT_NS => timed_out(),
            Departure::Gone { by_ns: Some(by_ns) } if since_asked(by_ns) <= KILLED_BEFORE_NS => killed(),
            Departure::Gone { .. } => unknown(
                "it was not admitted and its thread has exited: the thread was killed, or the kernel gave up after about 5 s",
            ),
            Departure::AskedAgain { .. } => {
                unknown("it was not admitted, and its thread made another request: the reason was not seen")
            }
            Departure::Asleep { .. } | Departure::Abandoned => {
                unknown("it was not admitted, and its thread continued: the reason was not seen")
            }
        }
    }
}

fn timed_out() -> Outcome {
    Outcome {
        code: Some(-62),
        errno: Some("ETIME".to_owned()),
        detail: Some("50 requests were running and none ended within 5 s".to_owned()),
        ..Outcome::new(Status::Throttled, Attribution::inferred("admission-timeout"))
    }
}

fn killed() -> Outcome {
    Outcome {
        code: Some(-512),
        errno: Some("ERESTARTSYS".to_owned()),
        detail: Some("the requester was killed while it waited for admission".to_owned()),
        ..Outcome::new(Status::Interrupted, Attribution::inferred("killed-before-admission"))
    }
}

/// An outcome about which nothing else is known.
pub(super) fn unknown(detail: &str) -> Outcome {
    Outcome { detail: Some(detail.to_owned()), ..Outcome::new(Status::Unknown, Attribution::unknown()) }
}

/// As [`unknown`], if more events may follow.
pub(super) fn unseen(detail: &str) -> Outcome {
    Outcome { incomplete: true, ..unknown(detail) }
}

fn lost() -> Outcome {
    unseen("its end was not seen: the record was lost")
}

fn abandoned() -> Outcome {
    unseen("its end was not seen: it is inactive, and its thread still runs")
}

fn not_run() -> Outcome {
    unknown("no modprobe was started for it: it duplicated another request, or the kernel could not start one")
}
