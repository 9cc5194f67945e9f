//! The kernel boundary: loads and attaches the programs, reads and decodes the ring buffer, counts losses.

mod attach;
mod decode;
mod error;
mod hooks;
mod load;
mod losses;
mod mapping;
mod mmap_counters;
mod object;
mod offsets;
mod options;
mod own_process;
mod pin;
mod requirements;
mod ring;
mod runtime_config;
mod self_test;
mod start;
mod targets;
mod test_run;
mod tracer;
mod uevents;

pub use attach::{AttachedHook, can_pin_kprobes};
pub use decode::{DecodeError, Record, decode};
pub use error::ProbeError;
pub use hooks::{HOOKS, Hook, How, Need};
pub use losses::Losses;
pub use object::is_built_in;
pub use options::{LogLevel, Options, Preference};
pub use pin::{PIN_DIRECTORY, PinError, unpin};
pub use ring::Mark;
pub use runtime_config::Addresses;
pub use self_test::SelfTest;
pub use test_run::{ProgramCost, measure_programs};
pub use tracer::{Resumed, Tracer};
pub use uevents::{Received, Uevents};
