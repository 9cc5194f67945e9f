//! Creates sealed frames from events.

use std::sync::Arc;

use jiff::Timestamp;
use zstd::{bulk::Compressor, zstd_safe::CParameter};

use super::{
    hash::{Hash, NO_HASH, hash, to_hex},
    sign::Key,
};
use crate::event::{Body, Event, Seal};

/// Maximum number of events in a frame.
pub const EVENTS_MAX: u64 = 64;

/// Size of the text at which a frame is closed, bytes.
pub const TEXT_BYTES: usize = 256 << 10;

/// The bytes between a seal's text and its hash.
pub const HASH_FIELD: &[u8] = b",\"sha256\":";

/// The default level of zstd: events are rare, and captures are kept for years.
const LEVEL: i32 = 3;

/// Why a frame cannot be created.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// An event has no JSON form.
    #[error("cannot write an event as JSON")]
    Json(#[from] serde_json::Error),
    /// zstd fails.
    #[error("cannot compress a frame with zstd")]
    Compress(#[source] std::io::Error),
}

/// A frame that is ready to be written.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Its compressed bytes.
    pub bytes: Vec<u8>,
    /// Its number of events, without the seal.
    pub events: u64,
    /// The hash of its seal.
    pub hash: Hash,
    /// Its events, to create it again for another file.
    pub source: Vec<Event>,
    /// The number of its first event.
    first_seq: u64,
    /// The hash of the previous seal.
    previous: Hash,
}

impl Frame {
    /// The number of its seal.
    #[must_use]
    pub const fn seal_seq(&self) -> u64 {
        self.first_seq + self.events
    }
}

/// Creates frames one after the other.
pub struct FrameMaker {
    compressor: Compressor<'static>,
    key: Option<Arc<Key>>,
    text: Vec<u8>,
    source: Vec<Event>,
    first_seq: u64,
    next_seq: u64,
    previous: Hash,
    last: Option<(Timestamp, u64)>,
}

impl std::fmt::Debug for FrameMaker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FrameMaker").field("next_seq", &self.next_seq).finish_non_exhaustive()
    }
}

impl FrameMaker {
    /// Begins a recording.
    ///
    /// # Errors
    /// When zstd cannot be set up.
    pub fn new(key: Option<Arc<Key>>) -> Result<Self, FrameError> {
        let mut compressor = Compressor::new(LEVEL).map_err(FrameError::Compress)?;
        for parameter in [CParameter::ChecksumFlag(true), CParameter::ContentSizeFlag(true)] {
            compressor.set_parameter(parameter).map_err(FrameError::Compress)?;
        }
        Ok(Self {
            compressor,
            key,
            text: Vec::new(),
            source: Vec::new(),
            first_seq: 0,
            next_seq: 0,
            previous: NO_HASH,
            last: None,
        })
    }

    /// Adds an event with the next number; returns true if the frame should be closed.
    ///
    /// # Errors
    /// When it has no JSON form; then it is not added.
    pub fn push(&mut self, event: &Event) -> Result<bool, FrameError> {
        let kept = self.text.len();
        let numbered = Event { seq: self.next_seq, ..event.clone() };
        if let Err(error) = serde_json::to_writer(&mut self.text, &numbered) {
            self.text.truncate(kept);
            return Err(error.into());
        }
        self.text.push(b'\n');
        self.next_seq += 1;
        self.last = Some((event.time, event.boot_ns));
        let is_urgent = matches!(event.body, Body::Loss(_) | Body::End(_));
        self.source.push(numbered);
        Ok(is_urgent || self.events() >= EVENTS_MAX || self.text.len() >= TEXT_BYTES)
    }

    /// Number of events in the open frame.
    #[must_use]
    pub const fn events(&self) -> u64 {
        self.next_seq - self.first_seq
    }

    /// The number of the next event.
    #[must_use]
    pub const fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// The hash of the last seal.
    #[must_use]
    pub const fn previous(&self) -> &Hash {
        &self.previous
    }

    /// Closes the frame; `None` if it is empty.
    ///
    /// # Errors
    /// See [`FrameError`].
    pub fn close(&mut self) -> Result<Option<Frame>, FrameError> {
        let events = self.events();
        let Some((time, boot_ns)) = self.last.filter(|_| events > 0) else { return Ok(None) };
        let mut seal = Seal {
            first_seq: self.first_seq,
            last_seq: self.next_seq - 1,
            previous: to_hex(&self.previous),
            sha256: String::new(),
            signature: None,
        };
        let line = |seal: &Seal| {
            let body = Body::Seal(seal.clone());
            serde_json::to_vec(&Event { seq: self.next_seq, time, boot_ns, request: None, body })
        };
        let draft = line(&seal)?;
        let end = find_last(&draft, HASH_FIELD).unwrap_or(draft.len());
        let mut text = std::mem::take(&mut self.text);
        let kept = text.len();
        text.extend_from_slice(&draft[..end]);
        let sealed = hash(&text);
        seal.sha256 = to_hex(&sealed);
        seal.signature = self.key.as_ref().map(|key| key.sign(&sealed));
        text.truncate(kept);
        text.extend(line(&seal)?);
        text.push(b'\n');

        let bytes = self.compressor.compress(&text).map_err(FrameError::Compress)?;
        let (first_seq, previous, source) = (self.first_seq, self.previous, std::mem::take(&mut self.source));
        self.next_seq += 1;
        self.first_seq = self.next_seq;
        self.previous = sealed;
        text.clear();
        self.text = text;
        Ok(Some(Frame { bytes, events, hash: sealed, source, first_seq, previous }))
    }

    /// Reverts to the state before the last frame, which was not written completely, and returns its events and the
    /// later ones.
    pub fn take_back(&mut self, frame: Frame) -> Vec<Event> {
        self.first_seq = frame.first_seq;
        self.next_seq = frame.first_seq;
        self.previous = frame.previous;
        self.text.clear();
        let mut events = frame.source;
        events.append(&mut self.source);
        events
    }
}

/// Position of the last occurrence of a needle.
#[must_use]
pub fn find_last(text: &[u8], needle: &[u8]) -> Option<usize> {
    text.windows(needle.len()).rposition(|window| window == needle)
}
