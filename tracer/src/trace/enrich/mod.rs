//! Captured numbers and bytes to names that people use.

pub mod cgroup;
pub mod process;
pub mod script;
pub mod stack;
pub mod user_stack;
pub mod users;
