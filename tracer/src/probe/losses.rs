//! What the probes could not send or store, and what the kernel did not run.

use std::{
    fs,
    os::fd::{AsRawFd, OwnedFd},
};

use aya::maps::{MapData, PerCpuArray};
use tracer_ebpf::wire::Counter;

use super::{ProbeError, told::Told};
use crate::event::LossStage;

/// Reads the loss counters; gives what is new since the last reading.
pub struct Losses {
    counters: PerCpuArray<MapData, u64>,
    seen: Vec<u64>,
    /// Attached programs: name, descriptor, runs that the kernel has skipped so far.
    programs: Vec<(&'static str, OwnedFd, u64)>,
    /// Where what was told is kept, when it has to outlast this process.
    told: Option<Told>,
    /// What was handed out last is not kept there yet.
    untold: bool,
}

impl Losses {
    /// Begins where `told` says that the reading ended before; without it, at 0.
    pub(super) fn new(
        counters: PerCpuArray<MapData, u64>,
        programs: Vec<(&'static str, OwnedFd)>,
        told: Option<Told>,
    ) -> Result<Self, ProbeError> {
        let before = |name| told.as_ref().map_or(Ok(0), |told| told.get(name));
        let seen = Counter::ALL.into_iter().map(|counter| before(counter.name())).collect::<Result<_, _>>()?;
        let programs =
            programs.into_iter().map(|(name, fd)| Ok((name, fd, before(name)?))).collect::<Result<_, ProbeError>>()?;
        Ok(Self { counters, seen, programs, told, untold: false })
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
        for (name, _, seen) in &self.programs {
            told.set(name, *seen)?;
        }
        self.untold = false;
        Ok(())
    }

    /// New losses since the last call.
    ///
    /// # Errors
    /// When the kernel refuses to read the counters.
    pub fn take_new(&mut self) -> Result<Vec<(LossStage, &'static str, u64)>, ProbeError> {
        let mut new = Vec::new();
        for (counter, seen) in Counter::ALL.into_iter().zip(&mut self.seen) {
            let values = self
                .counters
                .get(&(counter as u32), 0)
                .map_err(|error| ProbeError::Map { name: "COUNTERS", source: Box::new(error) })?;
            let total: u64 = values.iter().sum();
            if total > *seen {
                new.push((LossStage::Probe, counter.name(), total - *seen));
                *seen = total;
            }
        }
        for (name, fd, seen) in &mut self.programs {
            let total = skipped_runs(fd);
            if total > *seen {
                new.push((LossStage::Missed, *name, total - *seen));
                *seen = total;
            }
        }
        self.untold |= !new.is_empty();
        Ok(new)
    }
}

/// How often the kernel skipped a program because it was running already on that CPU (`recursion_misses`, since 5.12;
/// earlier kernels do not skip).
fn skipped_runs(program: &OwnedFd) -> u64 {
    let path = format!("/proc/self/fdinfo/{}", program.as_raw_fd());
    fs::read_to_string(path).ok().and_then(|text| parse_skipped_runs(&text)).unwrap_or(0)
}

fn parse_skipped_runs(fdinfo: &str) -> Option<u64> {
    fdinfo.lines().find_map(|line| line.strip_prefix("recursion_misses:"))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::parse_skipped_runs;

    /// Check that the count is found among the other lines, and that older kernels have none.
    #[test]
    fn reads_fdinfo() {
        let text = "pos:\t0\nflags:\t02000002\nprog_type:\t26\nrecursion_misses:\t37\nverified_insns:\t694\n";
        assert_eq!(parse_skipped_runs(text), Some(37));
        assert_eq!(parse_skipped_runs("pos:\t0\nprog_type:\t26\n"), None);
    }
}
