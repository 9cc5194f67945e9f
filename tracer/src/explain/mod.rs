//! Why: what an alias stands for, and what modprobe would do with it.

mod glob;
pub mod index;
pub mod modprobe;
pub mod resolve;
pub mod resolver;

pub use resolve::{Planned, Resolution};
pub use resolver::Resolver;
