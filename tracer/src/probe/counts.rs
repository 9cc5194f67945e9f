//! An array of counters that programs add to.
//!
//! It is mapped, not asked for with bpf(2): while that system call looks into a map, the kernel runs no kprobe program on
//! that CPU (`bpf_disable_instrumentation`, include/linux/bpf.h), and where it may be preempted meanwhile (lazy or full
//! preemption), requests of other tasks go by unseen. Reading what was lost must lose nothing.

use std::{
    os::fd::AsFd,
    sync::atomic::{AtomicU64, Ordering},
};

use aya::maps::{Map, MapData, MapError};
use rustix::mm::ProtFlags;

use super::mapping::{Mapping, page_bytes};

/// The counters of one map: an array of `u64` that was made with `BPF_F_MMAPABLE` (since 5.5).
pub(super) struct Counts {
    mapping: Mapping,
    len: u32,
}

impl Counts {
    fn map(map: &MapData) -> std::io::Result<Self> {
        let info = map.info().map_err(std::io::Error::other)?;
        if info.value_size() != 8 {
            return Err(std::io::Error::other(format!("its values have {} bytes, not 8", info.value_size())));
        }
        let len = info.max_entries();
        let bytes = (len as usize * 8).next_multiple_of(page_bytes()?);
        let mapping = Mapping::new(map.fd().as_fd(), bytes, 0, ProtFlags::READ)?;
        Ok(Self { mapping, len })
    }

    /// What was counted under an index; nothing where there is no such counter.
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

impl TryFrom<Map> for Counts {
    type Error = MapError;

    fn try_from(map: Map) -> Result<Self, MapError> {
        let counts = match map {
            // The mapping keeps the map; its descriptor is not needed any more.
            Map::Array(map) => Self::map(&map),
            _ => Err(std::io::Error::other("it is no array")),
        };
        counts.map_err(MapError::IoError)
    }
}
