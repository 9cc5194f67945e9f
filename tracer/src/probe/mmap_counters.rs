//! Loss counters in a memory-mapped array.
//!
//! The array is not read with bpf(2): while that system call looks up a map, the kernel runs no kprobe program on that CPU
//! (`bpf_disable_instrumentation`, include/linux/bpf.h). If it is preempted meanwhile (lazy or full preemption), requests of
//! other tasks are missed. Reading the losses must not cause any.

use std::{
    os::fd::AsFd,
    sync::atomic::{AtomicU64, Ordering},
};

use aya::maps::{Map, MapData, MapError};
use rustix::mm::ProtFlags;

use super::mapping::{Mapping, page_bytes};

/// An array of `u64` with `BPF_F_MMAPABLE` (since 5.5).
pub(super) struct MmapCounters {
    mapping: Mapping,
    len: u32,
}

impl MmapCounters {
    fn map(map: &MapData) -> std::io::Result<Self> {
        let info = map.info().map_err(std::io::Error::other)?;
        if info.value_size() != 8 {
            return Err(std::io::Error::other(format!("its values have {} bytes instead of 8", info.value_size())));
        }
        let len = info.max_entries();
        let bytes = (len as usize * 8).next_multiple_of(page_bytes()?);
        let mapping = Mapping::new(map.fd().as_fd(), bytes, 0, ProtFlags::READ)?;
        Ok(Self { mapping, len })
    }

    /// The value of a counter; 0 if there is no such counter.
    pub(super) fn get(&self, index: u32) -> u64 {
        if index >= self.len {
            return 0;
        }
        let start = self.mapping.start().cast::<AtomicU64>();
        // SAFETY: the mapping begins with `len` values of 8 bytes each, and this is one of them.
        let value = unsafe { start.add(index as usize) };
        // SAFETY: the mapping lives as long as `self`, and programs add to it atomically; an atomic load does not write, so
        // a mapping for reading alone is enough.
        unsafe { value.as_ref() }.load(Ordering::Relaxed)
    }
}

impl TryFrom<Map> for MmapCounters {
    type Error = MapError;

    fn try_from(map: Map) -> Result<Self, MapError> {
        let counts = match map {
            // The mapping keeps the map alive; its descriptor may be closed.
            Map::Array(map) => Self::map(&map),
            _ => Err(std::io::Error::other("it is not an array")),
        };
        counts.map_err(MapError::IoError)
    }
}
