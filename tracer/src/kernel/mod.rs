//! Information about the running kernel and its processes, from `/proc` and `/sys`.
//!
//! Nothing here depends on a version number: features are detected.

pub mod account;
pub mod btf;
pub mod cgroup;
pub mod clock;
pub(crate) mod command_line;
pub mod device_nodes;
pub mod devices;
pub mod errno;
pub(crate) mod file;
pub mod kallsyms;
pub mod modules;
pub mod orphans;
pub mod privileges;
pub mod process;
pub mod syscalls;
pub mod sysinfo;
pub mod taints;
pub mod uevent;

pub use file::ReadError;
