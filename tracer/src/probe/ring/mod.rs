//! The ring buffer: wait for a wakeup, drain, decode. No thread is needed.

mod consumer;

use tokio::io::unix::AsyncFd;

pub use consumer::Mark;
pub(super) use consumer::RingConsumer;

use super::{DecodeError, ProbeError, Record, decode::decode};

/// The consumer of the ring, in the event loop.
pub struct Ring {
    fd: AsyncFd<RingConsumer>,
    /// Whether records are committed by [`Ring::release`], or as soon as they are read.
    commits_later: bool,
}

impl Ring {
    /// A ring whose records are committed as they are read.
    pub(super) fn live(ring: RingConsumer) -> Result<Self, ProbeError> {
        Self::new(ring, false)
    }

    /// A ring whose records are committed by [`Ring::release`].
    pub(super) fn pinned(ring: RingConsumer) -> Result<Self, ProbeError> {
        Self::new(ring, true)
    }

    fn new(ring: RingConsumer, commits_later: bool) -> Result<Self, ProbeError> {
        // SAFETY: the ring owns its descriptor, which stays open and the same for as long as the AsyncFd holds the ring.
        let fd = unsafe { AsyncFd::register(ring) };
        Ok(Self { fd: fd.map_err(|error| ProbeError::Wait(error.into()))?, commits_later })
    }

    /// Waits for a wakeup. Not every record causes one, so the ring must also be drained periodically.
    ///
    /// # Errors
    /// If the runtime is shut down.
    pub async fn ready(&mut self) -> Result<(), ProbeError> {
        self.fd.readable_mut().await.map_err(ProbeError::Wait)?.clear_ready();
        Ok(())
    }

    /// The current end of the ring. Under load records keep coming, so a drain stops there.
    #[must_use]
    pub fn end(&self) -> Mark {
        self.fd.get_ref().end()
    }

    /// Whether every record was read.
    pub(super) fn is_read(&self) -> bool {
        let ring = self.fd.get_ref();
        ring.has_read(ring.end())
    }

    /// Whether everything before `end` was read. A record that is still being written holds back the later ones.
    #[must_use]
    pub fn has_read(&self, end: Mark) -> bool {
        self.fd.get_ref().has_read(end)
    }

    /// Passes up to `limit` records before `end` to `each`. Returns whether there may be more.
    pub fn drain(&mut self, end: Mark, limit: usize, mut each: impl FnMut(Result<Record, DecodeError>)) -> bool {
        let ring = self.fd.get_mut();
        for _ in 0..limit {
            if ring.has_read(end) {
                return false;
            }
            let Some(item) = ring.next() else { return false };
            each(decode(item));
            if !self.commits_later {
                ring.commit();
            }
        }
        true
    }

    /// Uncommitted fraction of the ring, from 0 to 1; `None` if everything read is committed.
    #[must_use]
    pub fn uncommitted_fraction(&self) -> Option<f64> {
        let ring = self.fd.get_ref();
        #[expect(clippy::cast_precision_loss, reason = "a fraction needs no precision")]
        let fraction = ring.uncommitted_bytes() as f64 / ring.bytes() as f64;
        (self.commits_later && fraction > 0.0).then_some(fraction)
    }

    /// Commits everything drained so far: it is stored safely elsewhere.
    pub fn release(&mut self) {
        if self.commits_later {
            self.fd.get_mut().commit();
        }
    }
}
