//! Losses: records that the programs could not send or store, and program runs that the kernel skipped.

mod checkpoint;
mod link_info;
mod missed_runs;

use tracer_ebpf::wire::Counter;

pub(super) use checkpoint::{REPORTED, ReportedTotals};
pub(super) use missed_runs::{MissedRuns, counts_missed_kprobes, fdinfo, missed_runs, number};

use super::{ProbeError, mmap_counters::MmapCounters};
use crate::event::LossStage;

/// The stage at which a counter's losses occur.
const fn stage(counter: Counter) -> LossStage {
    match counter {
        Counter::RequestLate => LossStage::Missed,
        _ => LossStage::Probe,
    }
}

/// Reads the loss counters and returns what is new since the last call.
pub struct Losses {
    counters: MmapCounters,
    seen: Vec<u64>,
    /// Attached programs, and how many missed runs of each were returned so far.
    programs: Vec<(MissedRuns, u64)>,
    /// The checkpoint in a pinned map, where programs outlast this process.
    reported: Option<ReportedTotals>,
    /// The last losses are not in the checkpoint yet.
    has_unsaved: bool,
    /// A run was missed that leaves its request without a result.
    open_ended: bool,
}

impl Losses {
    /// Starts at the totals of the checkpoint; without one, at 0.
    pub(super) fn new(
        counters: MmapCounters,
        programs: Vec<MissedRuns>,
        reported: Option<ReportedTotals>,
    ) -> Result<Self, ProbeError> {
        let before = |name| reported.as_ref().map_or(Ok(0), |reported| reported.get(name));
        let seen = Counter::ALL.into_iter().map(|counter| before(counter.name())).collect::<Result<_, _>>()?;
        let programs = programs
            .into_iter()
            .map(|watched| before(watched.name).map(|before| (watched, before)))
            .collect::<Result<_, ProbeError>>()?;
        Ok(Self { counters, seen, programs, reported, has_unsaved: false, open_ended: false })
    }

    /// Whether losses were returned that have to be saved in the checkpoint.
    pub(super) fn has_unsaved(&self) -> bool {
        self.has_unsaved && self.reported.is_some()
    }

    /// Saves the totals that were returned in the checkpoint. After a crash before that, they are reported again: twice rather
    /// than never.
    ///
    /// # Errors
    /// If the kernel refuses to store them.
    pub fn save_checkpoint(&mut self) -> Result<(), ProbeError> {
        let Some(reported) = self.reported.as_mut().filter(|_| self.has_unsaved) else { return Ok(()) };
        for (counter, seen) in Counter::ALL.into_iter().zip(&self.seen) {
            reported.set(counter.name(), *seen)?;
        }
        for (watched, seen) in &self.programs {
            reported.set(watched.name, *seen)?;
        }
        self.has_unsaved = false;
        Ok(())
    }

    /// Whether the LSM's decision or the result of a request may have been missed since the last call. That is no loss by itself:
    /// most requests get their result from another program.
    pub fn take_open_ended(&mut self) -> bool {
        std::mem::take(&mut self.open_ended)
    }

    /// New losses since the last call.
    ///
    /// `is_end`: read also what is otherwise read once a minute.
    pub fn take_new(&mut self, is_end: bool) -> Vec<(LossStage, &'static str, u64)> {
        let mut new = Vec::new();
        for (counter, seen) in Counter::ALL.into_iter().zip(&mut self.seen) {
            let total = self.counters.get(counter as u32);
            if total > *seen {
                new.push((stage(counter), counter.name(), total - *seen));
                *seen = total;
            }
        }
        for (watched, seen) in &mut self.programs {
            let total = watched.missed(is_end);
            if total > *seen {
                if watched.is_seen() {
                    self.open_ended = true;
                    *seen = total;
                    continue;
                }
                new.push((LossStage::Missed, watched.name, total - *seen));
                *seen = total;
            }
        }
        self.has_unsaved |= !new.is_empty();
        new
    }
}
