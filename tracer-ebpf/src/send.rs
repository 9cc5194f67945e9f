//! Records: reserved in the ring buffer, written in place, submitted.

use aya_ebpf::maps::ring_buf::RingBufEntry;
use tracer_ebpf::wire::Counter;

use crate::{count::count, maps::EVENTS};

/// Reserves room for a record; counts the loss when there is none.
#[inline(always)]
pub(crate) fn reserve<T: 'static>(cause: Counter) -> Option<RingBufEntry<T>> {
    let entry = EVENTS.reserve::<T>(0);
    if entry.is_none() {
        count(cause);
    }
    entry
}
