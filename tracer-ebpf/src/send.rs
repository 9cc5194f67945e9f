//! Records: reserved in the ring buffer, written in place, submitted.

use aya_ebpf::{
    bindings::{BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP},
    maps::ring_buf::RingBufEntry,
};
use tracer_ebpf::wire::{Counter, Setting};

use crate::{count::count, maps::EVENTS, settings::setting};

/// How to submit what has a successor soon: to wake the reader costs more than the record. It also reads by the clock.
pub(crate) const LATER: u64 = BPF_RB_NO_WAKEUP as u64;

/// How to submit what begins or ends something: the reader wakes if it sleeps, even where it has not read what came before.
///
/// It says that it sleeps before it looks into the ring for the last time. Where the processor lets that pass what was
/// reserved here, the reader finds the record by its clock.
#[inline(always)]
pub(crate) fn at_once() -> u64 {
    const { assert!(BPF_RB_FORCE_WAKEUP == BPF_RB_NO_WAKEUP + 1, "one less is the other") };
    u64::from(BPF_RB_FORCE_WAKEUP) - (setting(Setting::ReaderIsAwake) & 1)
}

/// How to submit what has to be read at once, also by a reader who looks by himself: what it is set against is heard elsewhere,
/// and goes on meanwhile.
pub(crate) const NOW: u64 = BPF_RB_FORCE_WAKEUP as u64;

/// Reserves room for a record; counts the loss when there is none.
#[inline(always)]
pub(crate) fn reserve<T: 'static>(cause: Counter) -> Option<RingBufEntry<T>> {
    let entry = EVENTS.reserve::<T>(0);
    if entry.is_none() {
        count(cause);
    }
    entry
}
