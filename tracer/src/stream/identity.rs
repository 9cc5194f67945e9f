//! Identifies the recording of a stream and whether a header continues it.

use crate::event::Header;

/// Maximum length of a stored text, characters. Captures may be made to exhaust memory.
const TEXT_CHARS_MAX: usize = 256;

/// Maximum length of a host name, boot id, recording id, kernel release or architecture; the kernel allows 64 for the
/// longest. Each stream stores several.
const NAME_CHARS_MAX: usize = 64;

/// The ids that the headers of a recording share. They are unique unless a machine was cloned.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Identity {
    /// The machine id, if there is one.
    pub machine_id: Option<String>,
    /// Host name.
    pub host: String,
    /// The boot id.
    pub boot_id: String,
    /// The recording.
    pub recording: Recording,
}

/// Distinguishes the recordings of one boot.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Recording {
    /// The recording id, in captures.
    Id(String),
    /// Its start, nanoseconds since boot: for streams without an id, which have a single header.
    Began(u64),
}

/// The subset of ids that a cloned machine shares.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SharedIds {
    boot_id: String,
    recording: Recording,
}

impl Identity {
    /// The identity from a header that was written `boot_ns` after boot.
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

    /// The ids that a cloned machine shares.
    #[must_use]
    pub fn shared(&self) -> SharedIds {
        SharedIds { boot_id: self.boot_id.clone(), recording: self.recording.clone() }
    }
}

/// Truncates a name.
pub(super) fn name(name: &str) -> String {
    name.chars().take(NAME_CHARS_MAX).collect()
}

/// Truncates a text.
pub(super) fn clipped(text: &str) -> String {
    text.chars().take(TEXT_CHARS_MAX).collect()
}
