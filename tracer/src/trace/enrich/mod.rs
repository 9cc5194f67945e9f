//! Turns captured numbers and bytes into names.

pub mod cgroup;
pub mod process;
pub mod script;
pub mod stack;
pub mod user_stack;
pub mod users;
