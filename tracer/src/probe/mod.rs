//! The kernel boundary: loads and attaches the programs, reads the ring buffer, decodes, counts losses.

mod attach;
mod attached;
mod counts;
mod decode;
mod error;
mod held;
mod hooks;
mod load;
mod losses;
mod mapping;
mod object;
mod offsets;
mod options;
mod pin;
mod recorder;
mod rehearse;
mod ring;
mod skipped;
mod start;
mod told;
mod tracer;
mod uevents;

pub use attach::can_pin_kprobes;
pub use attached::AttachedHook;
pub use decode::{DecodeError, Record, decode};
pub use error::ProbeError;
pub use hooks::{HOOKS, Hook, How, Need};
pub use losses::Losses;
pub use object::is_built_in;
pub use options::{LogLevel, Options, Preference};
pub use pin::{PIN_DIRECTORY, PinError, unpin};
pub use rehearse::{Rehearsal, rehearse};
pub use tracer::{Resumed, Tracer};
pub use uevents::{Uevents, Word};
