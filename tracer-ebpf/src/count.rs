//! Loss counters, which user space reads through a mapping.

use core::arch::asm;

use aya_ebpf::maps::Array;
use tracer_ebpf::wire::Counter;

use crate::maps::COUNTERS;

/// Counts one loss of a cause.
#[inline(always)]
pub(crate) fn count(cause: Counter) {
    add_one(&COUNTERS, cause as u32);
}

/// Adds one atomically: programs on other CPUs may count at the same time.
#[inline(always)]
pub(crate) fn add_one(counters: &Array<u64>, index: u32) {
    if let Some(value) = counters.get_ptr_mut(index) {
        // Rust's atomics have no addition for this target.
        // SAFETY: the pointer is an entry of the array, aligned to 8 bytes and not null; the instruction (`BPF_XADD`, supported
        // by every kernel with BPF) changes only that entry.
        unsafe { asm!("lock *(u64 *)({value} + 0) += {one}", value = in(reg) value, one = in(reg) 1_u64) };
    }
}
