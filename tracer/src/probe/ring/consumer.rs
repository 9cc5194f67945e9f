//! A ring buffer consumer that advances the consumer position only on commit.
//!
//! aya's consumer advances it when a record is dropped. A flight recorder must not: records that were read and not yet written
//! to disk would be lost with the process. This consumer reads ahead of the committed position. It also maps the data once;
//! aya maps it twice, and mappings count as resident memory.
//! The layout is the kernel's: kernel/bpf/ringbuf.c, stable since 5.8.

use std::{
    os::fd::{AsFd, AsRawFd, RawFd},
    ptr::NonNull,
    sync::atomic::{AtomicU32, AtomicUsize, Ordering},
};

use aya::maps::MapData;
use rustix::mm::ProtFlags;

use crate::probe::mapping::{Mapping, page_bytes};

/// Set in a record's length while its program still writes it (`BPF_RINGBUF_BUSY_BIT`).
const BUSY: u32 = 1 << 31;

/// Set in the length of a discarded record (`BPF_RINGBUF_DISCARD_BIT`).
const DISCARD: u32 = 1 << 30;

/// Bytes of a record's header: its length and page offset (`BPF_RINGBUF_HDR_SZ`).
const HEADER_BYTES: usize = 8;

/// The content at a position of the ring.
#[derive(Debug, PartialEq, Eq)]
enum Slot {
    /// The producer's position: no record yet.
    End,
    /// A record that is still being written.
    Busy,
    /// A record: the offset and number of its bytes, and the next position.
    Record { at: usize, bytes: usize, next: usize },
    /// A discarded record, and the next position.
    Discarded { next: usize },
    /// No valid header: the position is not that of a record.
    Broken,
}

/// A position in a ring.
#[derive(Clone, Copy, Debug)]
pub struct Mark(usize);

/// The consumer of a ring.
pub(in crate::probe) struct RingConsumer {
    map: MapData,
    consumer: Mapping,
    producer: Mapping,
    page: usize,
    bytes: usize,
    /// The read position. The kernel's consumer position is the committed one.
    read: usize,
    /// Copy of the last record, if it wraps around the end of the data.
    wrapped: Vec<u8>,
}

impl RingConsumer {
    /// Maps the ring and checks that its consumer position is that of a record.
    pub(in crate::probe) fn new(map: MapData) -> std::io::Result<Self> {
        let bytes = map.info().map_err(std::io::Error::other)?.max_entries() as usize;
        let page = page_bytes()?;
        if !bytes.is_power_of_two() || bytes < page {
            return Err(std::io::Error::other(format!("invalid ring buffer size of {bytes} bytes")));
        }
        let fd = map.fd().as_fd();
        let consumer = Mapping::new(fd, page, 0, ProtFlags::READ | ProtFlags::WRITE)?;
        // The producer position, then the data, once: records that wrap around are copied.
        let producer = Mapping::new(fd, page + bytes, page as u64, ProtFlags::READ)?;
        let mut ring = Self { map, consumer, producer, page, bytes, read: 0, wrapped: Vec::new() };
        ring.read = ring.consumer_position().load(Ordering::Acquire);
        match ring.waiting() {
            Some(_) => Ok(ring),
            None => Err(std::io::Error::other("the consumer position of the ring is not that of a record")),
        }
    }

    fn consumer_position(&self) -> &AtomicUsize {
        // SAFETY: the page is mapped for reading and writing for as long as `self` lives, begins with the kernel's
        // `unsigned long consumer_pos`, and both sides touch it atomically only.
        unsafe { self.consumer.start().cast::<AtomicUsize>().as_ref() }
    }

    fn producer_position(&self) -> usize {
        // SAFETY: the mapping lives as long as `self` and begins with the kernel's `unsigned long producer_pos`; an atomic
        // load does not write, so a mapping for reading alone is enough.
        unsafe { self.producer.start().cast::<AtomicUsize>().as_ref() }.load(Ordering::Acquire)
    }

    /// The address of a byte of the producer's mapping. The offset must be at most page + bytes.
    fn byte(&self, at: usize) -> NonNull<u8> {
        // SAFETY: the caller's offset lies in the mapping.
        unsafe { self.producer.start().cast::<u8>().add(at) }
    }

    fn slot(&self, position: usize, produced: usize) -> Slot {
        let left = produced.wrapping_sub(position);
        if left == 0 {
            return Slot::End;
        }
        if left > self.bytes || left < HEADER_BYTES || !position.is_multiple_of(8) {
            return Slot::Broken;
        }
        let at = self.page + (position & (self.bytes - 1));
        // SAFETY: the mapping lives as long as `self`; positions are multiples of 8, so the length is aligned; the kernel
        // writes it atomically.
        let length = unsafe { self.byte(at).cast::<AtomicU32>().as_ref() };
        let length = length.load(Ordering::Acquire);
        if length & BUSY != 0 {
            return Slot::Busy;
        }
        let bytes = (length & !DISCARD) as usize;
        let total = (HEADER_BYTES + bytes).next_multiple_of(8);
        if total > left {
            return Slot::Broken;
        }
        let next = position.wrapping_add(total);
        if length & DISCARD != 0 {
            Slot::Discarded { next }
        } else {
            Slot::Record { at: at + HEADER_BYTES, bytes, next }
        }
    }

    /// A part of the data.
    fn part(&self, at: usize, bytes: usize) -> &[u8] {
        let bytes = bytes.min((self.page + self.bytes).saturating_sub(at));
        // SAFETY: the part lies in the mapping; the kernel does not write to a record before it is committed, which takes
        // `&mut self`.
        unsafe { std::slice::from_raw_parts(self.byte(at).as_ptr(), bytes) }
    }

    /// The producer position: the end of all records, some of which may still be written.
    pub(in crate::probe) fn end(&self) -> Mark {
        Mark(self.producer_position())
    }

    /// Whether everything before `mark` was read.
    pub(in crate::probe) fn has_read(&self, mark: Mark) -> bool {
        // Positions grow, and wrap around: what is at most a ring behind is not ahead.
        let left = mark.0.wrapping_sub(self.read);
        left == 0 || left > self.bytes
    }

    /// Returns the next record.
    pub(in crate::probe) fn next(&mut self) -> Option<&[u8]> {
        loop {
            let produced = self.producer_position();
            match self.slot(self.read, produced) {
                Slot::End | Slot::Busy => return None,
                Slot::Discarded { next } => self.read = next,
                Slot::Record { at, bytes, next } => {
                    self.read = next;
                    // A record is at most as long as the data (`slot` checked it), so it wraps around once at most. Its
                    // length stands before the end, but its bytes may all be behind it.
                    let end = self.page + self.bytes;
                    if at + bytes <= end {
                        return Some(self.part(at, bytes));
                    }
                    let mut wrapped = std::mem::take(&mut self.wrapped);
                    wrapped.clear();
                    wrapped.extend_from_slice(self.part(at, end - at));
                    wrapped.extend_from_slice(self.part(self.page, bytes - (end - at)));
                    self.wrapped = wrapped;
                    return Some(&self.wrapped);
                }
                Slot::Broken => {
                    // Reported as a record that cannot be decoded.
                    self.read = produced;
                    return Some(&[]);
                }
            }
        }
    }

    /// Advances the consumer position: the kernel may overwrite everything that was read.
    pub(in crate::probe) fn commit(&mut self) {
        self.consumer_position().store(self.read, Ordering::Release);
    }

    /// Bytes that were read and not committed.
    pub(in crate::probe) fn uncommitted_bytes(&self) -> usize {
        self.read.wrapping_sub(self.consumer_position().load(Ordering::Acquire))
    }

    /// Size of the ring.
    pub(in crate::probe) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Number of unread records; `None` if the position is not that of a record.
    pub(in crate::probe) fn waiting(&self) -> Option<u64> {
        let produced = self.producer_position();
        let mut position = self.read;
        let mut count = 0;
        loop {
            match self.slot(position, produced) {
                Slot::End | Slot::Busy => return Some(count),
                Slot::Discarded { next } => position = next,
                Slot::Record { next, .. } => {
                    position = next;
                    count += 1;
                }
                Slot::Broken => return None,
            }
        }
    }
}

impl AsRawFd for RingConsumer {
    fn as_raw_fd(&self) -> RawFd {
        self.map.fd().as_fd().as_raw_fd()
    }
}
