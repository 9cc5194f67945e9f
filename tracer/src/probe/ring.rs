//! The ring buffer, read without threads: woken by the kernel, drained, decoded.

use aya::maps::{MapData, RingBuf};
use tokio::io::unix::AsyncFd;

use super::{DecodeError, ProbeError, Record, decode::decode};

/// The consumer's end.
pub struct Ring {
    fd: AsyncFd<RingBuf<MapData>>,
}

impl Ring {
    pub(super) fn new(ring: RingBuf<MapData>) -> Result<Self, ProbeError> {
        // SAFETY: the ring owns its descriptor, which stays open and the same for as long as the AsyncFd holds the ring.
        let fd = unsafe { AsyncFd::register(ring) };
        Ok(Self { fd: fd.map_err(|error| ProbeError::Wait(error.into()))? })
    }

    /// Waits until there is something to read.
    ///
    /// # Errors
    /// When the runtime is gone.
    pub async fn ready(&mut self) -> Result<(), ProbeError> {
        let mut guard = self.fd.readable_mut().await.map_err(ProbeError::Wait)?;
        guard.clear_ready();
        Ok(())
    }

    /// Hands out up to `limit` records that are there now; true when there may be more.
    pub fn drain(&mut self, limit: usize, mut each: impl FnMut(Result<Record, DecodeError>)) -> bool {
        let ring = self.fd.get_mut();
        for _ in 0..limit {
            let Some(item) = ring.next() else { return false };
            each(decode(&item));
        }
        true
    }
}
