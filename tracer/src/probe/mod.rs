//! The kernel boundary: loads and attaches the programs, reads the ring buffer, decodes, counts losses.

mod attach;
mod decode;
mod error;
mod hooks;
mod losses;
mod object;
mod offsets;
mod ring;
mod tracer;
mod uevents;

pub use decode::{DecodeError, Record};
pub use error::ProbeError;
pub use hooks::{HOOKS, Hook, How, Need};
pub use losses::Losses;
pub use object::is_built_in;
pub use tracer::{AttachedHook, LogLevel, Options, Preference, Tracer};
pub use uevents::{Uevents, Word};
