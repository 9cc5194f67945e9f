//! Records: reserved in the ring buffer, written in place, submitted.

use aya_ebpf::{
    bindings::{BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP},
    maps::ring_buf::RingBufEntry,
};
use tracer_ebpf::wire::Counter;

use crate::{count::count, maps::EVENTS};

/// How to submit what begins or ends something: the reader wakes, even where it has not read what came before.
pub(crate) const AT_ONCE: u64 = BPF_RB_FORCE_WAKEUP as u64;

/// How to submit what has a successor soon: to wake the reader costs more than the record. It also reads by the clock.
pub(crate) const LATER: u64 = BPF_RB_NO_WAKEUP as u64;

/// Reserves room for a record; counts the loss when there is none.
#[inline(always)]
pub(crate) fn reserve<T: 'static>(cause: Counter) -> Option<RingBufEntry<T>> {
    let entry = EVENTS.reserve::<T>(0);
    if entry.is_none() {
        count(cause);
    }
    entry
}
