//! Which losses were told already: kept beside the counters, so that the next recorder tells the rest exactly.

use aya::maps::{HashMap, MapData, MapError};

use super::ProbeError;

/// Bytes of a name.
const NAME_BYTES: usize = 32;

/// Name of the map.
pub(super) const TOLD: &str = "TOLD";

/// Loss counters by name, as far as they were told.
pub(super) struct Told(HashMap<MapData, [u8; NAME_BYTES], u64>);

impl Told {
    pub(super) fn new(map: HashMap<MapData, [u8; NAME_BYTES], u64>) -> Self {
        Self(map)
    }

    /// The value kept under a name; 0 when there is none.
    pub(super) fn get(&self, name: &str) -> Result<u64, ProbeError> {
        match self.0.get(&key(name), 0) {
            Ok(value) => Ok(value),
            Err(MapError::KeyNotFound) => Ok(0),
            Err(error) => Err(fail(error)),
        }
    }

    /// Keeps a value under a name.
    pub(super) fn set(&mut self, name: &str, value: u64) -> Result<(), ProbeError> {
        self.0.insert(key(name), value, 0).map_err(fail)
    }
}

fn fail(error: MapError) -> ProbeError {
    ProbeError::Map { name: TOLD, source: Box::new(error) }
}

/// A name, filled up with zeros; cut where it is too long.
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

    use super::super::HOOKS;

    /// Check that no two counters or programs share a place.
    #[test]
    fn names_are_told_apart() {
        let programs: HashSet<&str> =
            HOOKS.iter().flat_map(|hook| hook.ways).flat_map(|way| way.iter()).map(|program| program.name).collect();
        let mut keys = HashSet::new();
        for name in Counter::ALL.into_iter().map(Counter::name).chain(programs) {
            assert!(keys.insert(super::key(name)), "{name}");
        }
    }
}
