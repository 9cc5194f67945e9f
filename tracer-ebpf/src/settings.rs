//! Settings that user space changes while the programs run.

use tracer_ebpf::wire::Setting;

use crate::maps::SETTINGS;

/// The current value; 0 if it was never set.
#[inline(always)]
pub(crate) fn setting(setting: Setting) -> u64 {
    match SETTINGS.get_ptr(setting as u32) {
        // SAFETY: the pointer is an entry of the array, aligned to 8 bytes and not null; user space changes it atomically.
        Some(value) => unsafe { value.read_volatile() },
        None => 0,
    }
}
