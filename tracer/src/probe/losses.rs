//! What the probes could not send or store, and what the kernel did not run.

use std::collections::BTreeMap;

use aya::maps::{MapData, PerCpuArray};
use tracer_ebpf::wire::Counter;

use super::ProbeError;
use crate::event::LossStage;

/// Totals by stage and cause.
pub type LossCounts = BTreeMap<(u8, String), u64>;

/// Reads the loss counters; gives what is new since the last reading.
pub struct Losses {
    counters: PerCpuArray<MapData, u64>,
    seen: Vec<u64>,
}

impl Losses {
    pub(super) fn new(counters: PerCpuArray<MapData, u64>) -> Self {
        Self { counters, seen: vec![0; Counter::ALL.len()] }
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
        Ok(new)
    }
}
