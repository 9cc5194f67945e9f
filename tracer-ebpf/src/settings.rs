//! What user space tells while the programs run.

use tracer_ebpf::wire::Setting;

use crate::maps::SETTINGS;

/// The word as it is now; 0 before it was told.
#[inline(always)]
pub(crate) fn setting(setting: Setting) -> u64 {
    match SETTINGS.get_ptr(setting as u32) {
        // SAFETY: the pointer is an entry of the array, aligned to 8 bytes and not null; user space changes it meanwhile, whole.
        Some(value) => unsafe { value.read_volatile() },
        None => 0,
    }
}
