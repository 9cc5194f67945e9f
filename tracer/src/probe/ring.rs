//! The ring buffer, read without threads: woken by the kernel, drained, decoded.

use aya::maps::{MapData, RingBuf};
use tokio::io::unix::AsyncFd;

use super::{DecodeError, ProbeError, Record, decode::decode, held::HeldRing};

/// The consumer's end.
pub struct Ring(Source);

enum Source {
    /// A record's room is given back when it was read.
    Live(AsyncFd<RingBuf<MapData>>),
    /// A record's room is given back when it is said to be safe.
    Held(AsyncFd<HeldRing>),
}

impl Ring {
    pub(super) fn new(ring: RingBuf<MapData>) -> Result<Self, ProbeError> {
        // SAFETY: the ring owns its descriptor, which stays open and the same for as long as the AsyncFd holds the ring.
        let fd = unsafe { AsyncFd::register(ring) };
        Ok(Self(Source::Live(fd.map_err(|error| ProbeError::Wait(error.into()))?)))
    }

    pub(super) fn held(ring: HeldRing) -> Result<Self, ProbeError> {
        // SAFETY: the ring owns its descriptor, which stays open and the same for as long as the AsyncFd holds the ring.
        let fd = unsafe { AsyncFd::register(ring) };
        Ok(Self(Source::Held(fd.map_err(|error| ProbeError::Wait(error.into()))?)))
    }

    /// Waits until there is something to read. A ring that holds records back may be late: the kernel wakes a reader only
    /// when the first record comes after everything was released. Such a ring is also to be drained by the clock.
    ///
    /// # Errors
    /// When the runtime is gone.
    pub async fn ready(&mut self) -> Result<(), ProbeError> {
        match &mut self.0 {
            Source::Live(fd) => fd.readable_mut().await.map_err(ProbeError::Wait)?.clear_ready(),
            Source::Held(fd) => fd.readable_mut().await.map_err(ProbeError::Wait)?.clear_ready(),
        }
        Ok(())
    }

    /// Hands out up to `limit` records that are there now; true when there may be more.
    pub fn drain(&mut self, limit: usize, mut each: impl FnMut(Result<Record, DecodeError>)) -> bool {
        for _ in 0..limit {
            match &mut self.0 {
                Source::Live(fd) => {
                    let Some(item) = fd.get_mut().next() else { return false };
                    each(decode(&item));
                }
                Source::Held(fd) => {
                    let Some(item) = fd.get_mut().next() else { return false };
                    each(decode(item));
                }
            }
        }
        true
    }

    /// How much of the ring is held back, from 0 to 1; `None` when nothing was read since the last release, and for a ring
    /// that holds nothing back.
    #[must_use]
    pub fn held_share(&self) -> Option<f64> {
        let Source::Held(fd) = &self.0 else { return None };
        let ring = fd.get_ref();
        #[expect(clippy::cast_precision_loss, reason = "a share needs no precision")]
        let share = ring.held_bytes() as f64 / ring.bytes() as f64;
        (share > 0.0).then_some(share)
    }

    /// Says that everything drained so far is safe, and gives its room back.
    pub fn release(&mut self) {
        if let Source::Held(fd) = &mut self.0 {
            fd.get_mut().release();
        }
    }
}
