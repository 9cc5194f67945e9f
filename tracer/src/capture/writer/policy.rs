//! How a recording is kept, and why it ends.

use std::{io, path::PathBuf};

use crate::capture::frame::FrameError;

/// How safe a frame is when it is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Flush {
    /// The kernel writes it when it likes: it survives a crash of ours, not one of the machine.
    None,
    /// It is made to last once a second.
    Incremental,
    /// It is made to last at once (`fdatasync`).
    #[default]
    Data,
    /// The same with all its metadata (`fsync`).
    Sync,
}

/// What to do when the disk is full or fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnFull {
    /// Go on, count what cannot be written, and write again when the disk does.
    #[default]
    Drop,
    /// Remove the oldest captures in the directory until there is room; where it is not room that is missing, as `Drop`.
    Rotate,
    /// Write nothing more, and go on counting.
    Stop,
    /// End the recording with an error.
    Exit,
}

/// How a recording is kept.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Policy {
    /// How safe.
    pub flush: Flush,
    /// When the disk is full.
    pub on_full: OnFull,
    /// A segment of this size is followed by the next, bytes.
    pub max_bytes: Option<u64>,
    /// A segment of this age is followed by the next, nanoseconds.
    pub max_age_ns: Option<u64>,
    /// Captures that are kept in the directory, the one being written included.
    pub keep: Option<usize>,
    /// Free space that is left alone, bytes.
    pub min_free_bytes: Option<u64>,
}

/// Why a recording ends.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// A frame cannot be made.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The first file cannot be made, or the policy is to end.
    #[error("cannot write to {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}
