//! The kernel boundary: loads and attaches the programs, reads the ring buffer, decodes, counts losses.

mod attach;
mod decode;
mod error;
mod held;
mod hooks;
mod losses;
mod object;
mod offsets;
mod pin;
mod recorder;
mod ring;
mod skipped;
mod told;
mod tracer;
mod uevents;

pub use attach::can_pin_kprobes;
pub use decode::{DecodeError, Record, decode};
pub use error::ProbeError;
pub use hooks::{HOOKS, Hook, How, Need};
pub use losses::Losses;
pub use object::is_built_in;
pub use pin::{PIN_DIRECTORY, PinError, unpin};
pub use recorder::Resumed;
pub use tracer::{AttachedHook, LogLevel, Options, Preference, Tracer};
pub use uevents::{Uevents, Word};
