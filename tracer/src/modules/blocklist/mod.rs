//! Rules for modprobe.d that block a module and are tried with the installed modprobe before they are shown.
//!
//! The usual line, `install X /bin/false`, has two holes: modprobe loads the dependencies of X before it runs the command,
//! and it ignores the command if X has soft dependencies (libkmod 30, `kmod_module_new_from_lookup()` and
//! `__kmod_module_fill_softdep()` in libkmod/libkmod-module.c). An `alias X off` line closes the first hole, an empty
//! `softdep` line the second.

mod hold;
mod initcall;
mod rules;
mod write;

pub use hold::{initramfs_command, unload_order, why_open};
pub use initcall::initcall_of;
pub use rules::{Rules, file_name};
pub use write::{WriteError, Written, write};
