//! Checkpoint of reported losses: a pinned map next to the counters, so that the next recorder reports exactly the rest.

use aya::maps::{HashMap, MapData, MapError};

use crate::probe::ProbeError;

/// Size of a key, bytes.
const NAME_BYTES: usize = 32;

/// Name of the map.
pub(in crate::probe) const REPORTED: &str = "REPORTED";

/// Total of each loss counter as last reported, by name.
pub(in crate::probe) struct ReportedTotals(HashMap<MapData, [u8; NAME_BYTES], u64>);

impl ReportedTotals {
    pub(in crate::probe) fn new(map: HashMap<MapData, [u8; NAME_BYTES], u64>) -> Self {
        Self(map)
    }

    /// The total of a counter; 0 if it has none.
    pub(in crate::probe) fn get(&self, name: &str) -> Result<u64, ProbeError> {
        match self.0.get(&key(name), 0) {
            Ok(value) => Ok(value),
            Err(MapError::KeyNotFound) => Ok(0),
            Err(error) => Err(fail(error)),
        }
    }

    /// Stores the total of a counter.
    pub(in crate::probe) fn set(&mut self, name: &str, value: u64) -> Result<(), ProbeError> {
        self.0.insert(key(name), value, 0).map_err(fail)
    }
}

fn fail(error: MapError) -> ProbeError {
    ProbeError::Map { name: REPORTED, source: Box::new(error) }
}

/// A name padded with zeros, truncated if too long.
fn key(name: &str) -> [u8; NAME_BYTES] {
    let mut key = [0; NAME_BYTES];
    for (to, from) in key.iter_mut().zip(name.bytes()) {
        *to = from;
    }
    key
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use tracer_ebpf::wire::Counter;

    use crate::probe::HOOKS;

    /// No two counters or programs share a key.
    #[test]
    fn keys_are_unique() {
        let programs: HashSet<&str> = HOOKS
            .iter()
            .flat_map(|hook| hook.methods)
            .flat_map(|method| method.iter())
            .map(|program| program.name)
            .collect();
        let mut keys = HashSet::new();
        for name in Counter::ALL.into_iter().map(Counter::name).chain(programs) {
            assert!(keys.insert(super::key(name)), "{name}");
        }
    }
}
