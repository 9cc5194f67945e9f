//! The process that traces: its own requests and loads are not recorded, and its descendants are marked.
//!
//! A writable global and not an entry of a map: the result of a lookup may be null, and the verifier would follow each program twice
//! from there on.

use core::ptr::{addr_of, addr_of_mut};

/// [`of`] its process id; 0: none, because pinned programs outlast the process, whose id is reused.
static mut OWN_PROCESS: u64 = 0;

/// The value for a process id in the initial pid namespace. No process equals 0, the idle task (id 0) included.
#[inline(always)]
pub(crate) const fn of(pid: u32) -> u64 {
    1 << 32 | pid as u64
}

/// The current value.
#[inline(always)]
pub(crate) fn get() -> u64 {
    // SAFETY: the global is aligned, and is written only before other programs run.
    unsafe { addr_of!(OWN_PROCESS).read_volatile() }
}

/// Notes the process.
#[inline(always)]
pub(crate) fn set(pid: u32) {
    // SAFETY: as for `get`.
    unsafe { addr_of_mut!(OWN_PROCESS).write_volatile(of(pid)) };
}
