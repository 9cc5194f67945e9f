//! Turns captured numbers and bytes into names.

pub mod cgroup;
pub mod kernel_symbols;
pub mod process;
pub mod script;
pub mod stack;
#[cfg(feature = "symbols")]
pub mod user_stack;
#[cfg(not(feature = "symbols"))]
#[path = "user_stack/without.rs"]
pub mod user_stack;
pub mod users;
