//! Which recording a stream is of, and whether a header continues it.

use crate::event::Header;

/// Characters of a text that are kept; a capture that was made to fill memory has longer ones.
const TEXT_CHARS_MAX: usize = 256;

/// The same of a name of a machine, boot, recording, kernel or architecture: the kernel has 64 for the longest. Each stream
/// keeps some.
const NAME_CHARS_MAX: usize = 64;

/// What a recording's headers share, and no other recording has, unless a machine was cloned.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Identity {
    /// The machine, where it has an id.
    pub machine_id: Option<String>,
    /// Host name.
    pub host: String,
    /// The boot.
    pub boot_id: String,
    /// The recording.
    pub recording: Recording,
}

/// What tells the recordings of one boot apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Recording {
    /// An id, in captures.
    Id(String),
    /// When it began, nanoseconds since boot: for streams without an id, which have one header only.
    Began(u64),
}

/// What a stream's ids are when only those are looked at that a clone shares.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SharedIds {
    boot_id: String,
    recording: Recording,
}

impl Identity {
    /// Of a header that was written `boot_ns` after the boot.
    #[must_use]
    pub fn new(header: &Header, boot_ns: u64) -> Self {
        Self {
            machine_id: header.machine_id.as_deref().map(name),
            host: name(&header.hostname),
            boot_id: name(&header.boot_id),
            recording: header
                .recording
                .as_deref()
                .map_or(Recording::Began(boot_ns), |recording| Recording::Id(name(recording))),
        }
    }

    /// The ids that a clone of the machine shares.
    #[must_use]
    pub fn shared(&self) -> SharedIds {
        SharedIds { boot_id: self.boot_id.clone(), recording: self.recording.clone() }
    }
}

/// A name of bounded length.
pub(super) fn name(name: &str) -> String {
    name.chars().take(NAME_CHARS_MAX).collect()
}

/// A text of bounded length.
pub(super) fn clipped(text: &str) -> String {
    text.chars().take(TEXT_CHARS_MAX).collect()
}
