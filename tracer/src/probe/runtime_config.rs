//! Values that the programs read at run time, in a memory-mapped array: bpf(2) would make the kernel miss kprobes (see
//! `mmap_counters.rs`).

use std::{
    os::fd::AsFd,
    sync::atomic::{AtomicU64, Ordering, fence},
};

use aya::maps::{Map, MapData, MapError};
use rustix::mm::ProtFlags;
use tracer_ebpf::wire::{SETTING_COUNT, Setting};

use super::mapping::{Mapping, page_bytes};
use crate::kernel::kallsyms::Kallsyms;

/// Kernel addresses that the programs compare pointers with; 0 if unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Addresses {
    /// Address of `modprobe_path`: without it an empty `kernel.modprobe` is not detected.
    pub modprobe_path: u64,
    /// Address of `free_modprobe_argv`: without it, a modprobe helper is recognized by its arguments and its requester.
    pub free_modprobe_argv: u64,
}

impl Addresses {
    /// Looks up the addresses of the running kernel.
    #[must_use]
    pub fn new(symbols: &Kallsyms) -> Self {
        let found = symbols.addresses_of(["modprobe_path", "free_modprobe_argv"]);
        let [modprobe_path, free_modprobe_argv] = found.map(Option::unwrap_or_default);
        Self { modprobe_path, free_modprobe_argv }
    }
}

/// The mapped array, one value of 8 bytes for each setting.
pub(super) struct RuntimeConfig(Mapping);

impl RuntimeConfig {
    fn map(map: &MapData) -> std::io::Result<Self> {
        let info = map.info().map_err(std::io::Error::other)?;
        if (info.value_size(), info.max_entries()) != (8, SETTING_COUNT) {
            return Err(std::io::Error::other("it has an unexpected layout"));
        }
        Ok(Self(Mapping::new(map.fd().as_fd(), page_bytes()?, 0, ProtFlags::READ | ProtFlags::WRITE)?))
    }

    fn word(&self, setting: Setting) -> &AtomicU64 {
        let start = self.0.start().cast::<AtomicU64>();
        // SAFETY: the mapping begins with a value of 8 bytes for each setting.
        let word = unsafe { start.add(setting as usize) };
        // SAFETY: the mapping lives as long as `self`, is aligned, and both sides touch it atomically only.
        unsafe { word.as_ref() }
    }

    fn set(&self, setting: Setting, value: u64) {
        self.word(setting).store(value, Ordering::Relaxed);
    }

    /// Whether the addresses are set.
    pub(super) fn has_addresses(&self) -> bool {
        self.word(Setting::ModprobePath).load(Ordering::Relaxed) != 0
    }

    /// Sets the addresses.
    pub(super) fn set_addresses(&self, addresses: Addresses) {
        self.set(Setting::ModprobePath, addresses.modprobe_path);
        self.set(Setting::FreeModprobeArgv, addresses.free_modprobe_argv);
    }

    /// Sets whether the ring is polled, so that programs need not wake the reader. The value is visible before any later read.
    pub(super) fn set_polling(&self, is_polling: bool) {
        self.set(Setting::ReaderIsAwake, u64::from(is_polling));
        fence(Ordering::SeqCst);
    }
}

impl TryFrom<&Map> for RuntimeConfig {
    type Error = MapError;

    fn try_from(map: &Map) -> Result<Self, MapError> {
        let settings = match map {
            // The mapping keeps the map alive; its descriptor is needed by programs that are loaded later.
            Map::Array(map) => Self::map(map),
            _ => Err(std::io::Error::other("it is not an array")),
        };
        settings.map_err(MapError::IoError)
    }
}
