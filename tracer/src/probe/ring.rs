//! The ring buffer, read without threads: woken by the kernel, drained, decoded.

use tokio::io::unix::AsyncFd;

use super::{
    DecodeError, ProbeError, Record,
    decode::decode,
    held::{HeldRing, Mark},
};

/// The consumer's end.
pub struct Ring {
    fd: AsyncFd<HeldRing>,
    /// Whether a record's room is given back only when it is said to be safe, or as soon as it was read.
    holds: bool,
}

impl Ring {
    /// A ring whose records are given back as they are read.
    pub(super) fn live(ring: HeldRing) -> Result<Self, ProbeError> {
        Self::new(ring, false)
    }

    /// A ring whose records are given back when they are said to be safe.
    pub(super) fn held(ring: HeldRing) -> Result<Self, ProbeError> {
        Self::new(ring, true)
    }

    fn new(ring: HeldRing, holds: bool) -> Result<Self, ProbeError> {
        // SAFETY: the ring owns its descriptor, which stays open and the same for as long as the AsyncFd holds the ring.
        let fd = unsafe { AsyncFd::register(ring) };
        Ok(Self { fd: fd.map_err(|error| ProbeError::Wait(error.into()))?, holds })
    }

    /// Waits until there is something to read. It may be late: the kernel wakes a reader for what begins or ends something,
    /// not for every record. The ring is also to be drained by the clock.
    ///
    /// # Errors
    /// When the runtime is gone.
    pub async fn ready(&mut self) -> Result<(), ProbeError> {
        self.fd.readable_mut().await.map_err(ProbeError::Wait)?.clear_ready();
        Ok(())
    }

    /// Where the ring ends now: what comes while it is read may never end.
    #[must_use]
    pub fn end(&self) -> Mark {
        self.fd.get_ref().end()
    }

    /// Whether all of it was read.
    pub(super) fn is_read(&self) -> bool {
        let ring = self.fd.get_ref();
        ring.has_read(ring.end())
    }

    /// Whether everything before `end` was read. A record that is still being written keeps the later ones back.
    #[must_use]
    pub fn has_read(&self, end: Mark) -> bool {
        self.fd.get_ref().has_read(end)
    }

    /// Hands out up to `limit` records from before `end`; true when there may be more.
    pub fn drain(&mut self, end: Mark, limit: usize, mut each: impl FnMut(Result<Record, DecodeError>)) -> bool {
        let ring = self.fd.get_mut();
        for _ in 0..limit {
            if ring.has_read(end) {
                return false;
            }
            let Some(item) = ring.next() else { return false };
            each(decode(item));
            if !self.holds {
                ring.release();
            }
        }
        true
    }

    /// How much of the ring is held back, from 0 to 1; `None` when nothing was read since the last release, and for a ring
    /// that holds nothing back.
    #[must_use]
    pub fn held_share(&self) -> Option<f64> {
        let ring = self.fd.get_ref();
        #[expect(clippy::cast_precision_loss, reason = "a share needs no precision")]
        let share = ring.held_bytes() as f64 / ring.bytes() as f64;
        (self.holds && share > 0.0).then_some(share)
    }

    /// Says that everything drained so far is safe, and gives its room back.
    pub fn release(&mut self) {
        if self.holds {
            self.fd.get_mut().release();
        }
    }
}
