//! Keeping a module out: lines for modprobe.d that really do, tried with the installed modprobe before they are shown.
//!
//! What is commonly written, `install X /bin/false`, has two holes: modprobe loads what X needs before it runs the
//! command, and it does not run the command at all where X has soft dependencies (libkmod 30, `kmod_module_new_from_lookup()`
//! and `__kmod_module_fill_softdep()` in libkmod/libkmod-module.c). An `alias X off` closes the first, a `softdep` line of
//! our own the second.

mod covered;
mod initcall;
mod needs;
mod plan;
mod rules;
mod spare;
mod surface;
mod together;
mod trial;
mod write;

pub use covered::Covered;
pub use initcall::initcall_of;
pub use needs::{HostNeed, Need, Needs};
pub use plan::{Plan, Target, plan};
pub use rules::{Rules, file_name};
pub use spare::{Kept, spare};
pub use surface::{Entry, State, surface};
pub use together::{TOGETHER_FILE, Together, try_together};
pub use trial::{Trial, TrialError, try_out};
pub use write::{WriteError, Written, write};
