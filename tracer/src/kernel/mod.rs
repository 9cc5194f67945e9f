//! Facts about the running kernel, from `/proc` and `/sys`.
//!
//! Nothing here depends on a version number: features are detected.

pub mod account;
pub mod btf;
pub mod cgroup;
pub mod clock;
pub mod errno;
pub mod facts;
pub(crate) mod file;
pub mod kallsyms;
pub mod modules;
pub mod privileges;
pub mod process;
pub mod syscalls;
pub mod taints;
pub mod uevent;

pub use file::FactError;
