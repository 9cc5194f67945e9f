//! Records: reserved in the ring buffer, written in place, submitted.

use aya_ebpf::{
    bindings::{BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP},
    maps::ring_buf::RingBufEntry,
};
use tracer_ebpf::wire::{Counter, Setting};

use crate::{count::count, maps::EVENTS, settings::setting};

/// For records that are soon followed by another one: a wakeup costs more than the record, and the reader also polls.
pub(crate) const NO_WAKEUP: u64 = BPF_RB_NO_WAKEUP as u64;

/// For the first and last records of a sequence: wakes the reader if it sleeps, even if older records are unread.
///
/// The reader announces that it sleeps before it checks the ring for the last time. If the CPU reorders that with the
/// reservation here, the reader finds the record at its next poll.
#[inline(always)]
pub(crate) fn wakeup_if_sleeping() -> u64 {
    const { assert!(BPF_RB_FORCE_WAKEUP == BPF_RB_NO_WAKEUP + 1, "the flags are adjacent") };
    u64::from(BPF_RB_FORCE_WAKEUP) - (setting(Setting::ReaderIsAwake) & 1)
}

/// For records that must be read immediately, even if the reader polls: it joins them with messages of another source.
pub(crate) const FORCE_WAKEUP: u64 = BPF_RB_FORCE_WAKEUP as u64;

/// Reserves a record; counts the loss if the ring is full.
#[inline(always)]
pub(crate) fn reserve<T: 'static>(cause: Counter) -> Option<RingBufEntry<T>> {
    let entry = EVENTS.reserve::<T>(0);
    if entry.is_none() {
        count(cause);
    }
    entry
}
