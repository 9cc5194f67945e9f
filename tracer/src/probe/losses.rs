//! What the probes could not send or store, and what the kernel did not run.

use tracer_ebpf::wire::Counter;

use super::{ProbeError, counts::Counts, skipped::Watched, told::Told};
use crate::event::LossStage;

/// Reads the loss counters; gives what is new since the last reading.
pub struct Losses {
    counters: Counts,
    seen: Vec<u64>,
    /// Attached programs, and how many runs were told as skipped so far.
    programs: Vec<(Watched, u64)>,
    /// Where what was told is kept, when it has to outlast this process.
    told: Option<Told>,
    /// What was handed out last is not kept there yet.
    untold: bool,
    /// A program was skipped whose absence shows in a request.
    open_ended: bool,
}

impl Losses {
    /// Begins where `told` says that the reading ended before; without it, at 0.
    pub(super) fn new(counters: Counts, programs: Vec<Watched>, told: Option<Told>) -> Result<Self, ProbeError> {
        let before = |name| told.as_ref().map_or(Ok(0), |told| told.get(name));
        let seen = Counter::ALL.into_iter().map(|counter| before(counter.name())).collect::<Result<_, _>>()?;
        let programs = programs
            .into_iter()
            .map(|watched| before(watched.name).map(|before| (watched, before)))
            .collect::<Result<_, ProbeError>>()?;
        Ok(Self { counters, seen, programs, told, untold: false, open_ended: false })
    }

    /// Whether something was handed out that is not kept as told, and has to be.
    pub(super) fn is_untold(&self) -> bool {
        self.untold && self.told.is_some()
    }

    /// Keeps what was handed out as told. Until then it is told again after a crash, rather than never.
    ///
    /// # Errors
    /// When the kernel refuses to store it.
    pub fn keep_told(&mut self) -> Result<(), ProbeError> {
        let Some(told) = self.told.as_mut().filter(|_| self.untold) else { return Ok(()) };
        for (counter, seen) in Counter::ALL.into_iter().zip(&self.seen) {
            told.set(counter.name(), *seen)?;
        }
        for (watched, seen) in &self.programs {
            told.set(watched.name, *seen)?;
        }
        self.untold = false;
        Ok(())
    }

    /// Whether the verdict or the end of a request may have been missed since the last call. It is no loss by itself: most
    /// requests have their end from another program.
    pub fn take_open_ended(&mut self) -> bool {
        std::mem::take(&mut self.open_ended)
    }

    /// New losses since the last call.
    pub fn take_new(&mut self) -> Vec<(LossStage, &'static str, u64)> {
        let mut new = Vec::new();
        for (counter, seen) in Counter::ALL.into_iter().zip(&mut self.seen) {
            let total = self.counters.get(counter as u32);
            if total > *seen {
                new.push((LossStage::Probe, counter.name(), total - *seen));
                *seen = total;
            }
        }
        for (watched, seen) in &mut self.programs {
            let total = watched.missed();
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
        self.untold |= !new.is_empty();
        new
    }
}
