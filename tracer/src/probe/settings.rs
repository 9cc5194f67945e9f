//! What the programs are told while they run, in memory as well: bpf(2) would have the kernel skip kprobes (see `counts.rs`).

use std::{
    os::fd::AsFd,
    sync::atomic::{AtomicU64, Ordering, fence},
};

use aya::maps::{Map, MapData, MapError};
use rustix::mm::ProtFlags;
use tracer_ebpf::wire::{SETTING_COUNT, Setting};

use super::mapping::{Mapping, page_bytes};
use crate::kernel::kallsyms::Kallsyms;

/// Addresses by which the programs know what a pointer points to; 0 where it is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Addresses {
    /// Of `modprobe_path`: without it an empty `kernel.modprobe` is not seen.
    pub modprobe_path: u64,
    /// Of `free_modprobe_argv`: without it a helper is known as modprobe by its arguments and by what its requester does.
    pub free_modprobe_argv: u64,
}

impl Addresses {
    /// Those of the running kernel.
    #[must_use]
    pub fn new(symbols: &Kallsyms) -> Self {
        let found = symbols.addresses_of(["modprobe_path", "free_modprobe_argv"]);
        let [modprobe_path, free_modprobe_argv] = found.map(Option::unwrap_or_default);
        Self { modprobe_path, free_modprobe_argv }
    }
}

/// The words.
pub(super) struct Settings(Mapping);

impl Settings {
    fn map(map: &MapData) -> std::io::Result<Self> {
        let info = map.info().map_err(std::io::Error::other)?;
        if (info.value_size(), info.max_entries()) != (8, SETTING_COUNT) {
            return Err(std::io::Error::other("it has another layout"));
        }
        Ok(Self(Mapping::new(map.fd().as_fd(), page_bytes()?, 0, ProtFlags::READ | ProtFlags::WRITE)?))
    }

    fn set(&self, setting: Setting, value: u64) {
        let start = self.0.start().cast::<AtomicU64>();
        // SAFETY: the mapping begins with a value of 8 bytes for each setting.
        let word = unsafe { start.add(setting as usize) };
        // SAFETY: the mapping lives as long as `self`, is aligned, and both sides touch it atomically only.
        unsafe { word.as_ref() }.store(value, Ordering::Relaxed);
    }

    /// Tells what was found out.
    pub(super) fn set_addresses(&self, addresses: Addresses) {
        self.set(Setting::ModprobePath, addresses.modprobe_path);
        self.set(Setting::FreeModprobeArgv, addresses.free_modprobe_argv);
    }

    /// Tells whether the ring is looked into without being woken. What was told stands before anything that is read after.
    pub(super) fn set_awake(&self, is_awake: bool) {
        self.set(Setting::ReaderIsAwake, u64::from(is_awake));
        fence(Ordering::SeqCst);
    }
}

impl TryFrom<&Map> for Settings {
    type Error = MapError;

    fn try_from(map: &Map) -> Result<Self, MapError> {
        let settings = match map {
            // The mapping keeps the map; its descriptor is the programs' that are loaded yet.
            Map::Array(map) => Self::map(map),
            _ => Err(std::io::Error::other("it is no array")),
        };
        settings.map_err(MapError::IoError)
    }
}
