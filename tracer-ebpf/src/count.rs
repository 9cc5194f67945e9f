//! Loss counters.

use tracer_ebpf::wire::Counter;

use crate::maps::COUNTERS;

/// Counts one loss of a cause.
#[inline(always)]
pub(crate) fn count(cause: Counter) {
    if let Some(value) = COUNTERS.get_ptr_mut(cause as u32) {
        // SAFETY: the pointer is this CPU's slot of the array, and is not null.
        unsafe { *value += 1 };
    }
}
