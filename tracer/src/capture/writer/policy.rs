//! Storage policies of a recording, and the errors that end it.

use std::{io, path::PathBuf};

use crate::capture::frame::FrameError;

/// Flush policy of frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Flush {
    /// Leaves write-back to the kernel: frames survive a crash of the tracer, but not of the system.
    None,
    /// Syncs once a second.
    Incremental,
    /// Syncs each frame immediately (`fdatasync`).
    #[default]
    Data,
    /// Syncs each frame immediately with all metadata (`fsync`).
    Sync,
}

/// Policy for a full or failing disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnFull {
    /// Continue, count lost events, and resume writing when the disk works again.
    #[default]
    Drop,
    /// Remove the oldest captures in the directory until there is space; like `Drop` for other errors.
    Rotate,
    /// Stop writing, and continue to count.
    Stop,
    /// End the recording with an error.
    Exit,
}

/// The storage policies of a recording.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Policy {
    /// The flush policy.
    pub flush: Flush,
    /// The policy for a full disk.
    pub on_full: OnFull,
    /// Size at which a segment is rotated, bytes.
    pub max_bytes: Option<u64>,
    /// Age at which a segment is rotated, nanoseconds.
    pub max_age_ns: Option<u64>,
    /// Maximum number of captures in the directory, including the current one.
    pub keep: Option<usize>,
    /// Reserved free space, bytes.
    pub min_free_bytes: Option<u64>,
}

/// Why a recording ends.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// A frame cannot be created.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The first file cannot be created, or the disk failed and the policy is to end the recording.
    #[error("cannot write to {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}
