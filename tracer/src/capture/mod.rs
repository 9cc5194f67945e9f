//! The capture format: see `docs/capture-format.md`.
//!
//! Writing is split in three: [`frame`] makes sealed frames of events, [`segment`] puts them into files,
//! [`writer`] keeps both going whatever the disk does. Reading is sections of files ([`section`]) and events of sections
//! ([`batch`]); what the events of several files come to is decided in `stream`.

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

/// The longest line that is read, bytes.
pub const LINE_BYTES_MAX: usize = 4 << 20;
