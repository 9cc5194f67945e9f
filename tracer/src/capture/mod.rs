//! The capture format: see `docs/capture-format.md`.
//!
//! Writing has three layers: [`frame`] creates sealed frames from events, [`segment`] writes them to files, and
//! [`writer`] handles disk failures. Reading has two: sections of files ([`section`]) and events of sections
//! ([`batch`]). `stream` combines the events of several files.

pub mod batch;
pub mod files;
pub mod frame;
pub mod hash;
pub mod recover;
pub mod section;
pub mod segment;
pub mod sign;
#[cfg(test)]
mod testing;
pub mod writer;

/// Maximum length of a line, bytes.
pub const LINE_BYTES_MAX: usize = 4 << 20;
