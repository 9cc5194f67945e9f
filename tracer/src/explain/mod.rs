//! Why: what an alias stands for, and what modprobe would do with it.

pub mod families;
mod glob;
pub mod index;
pub mod modprobe;
mod pattern;
pub mod resolve;
pub mod resolver;

pub use families::explain;
pub use resolve::{Planned, Resolution};
pub use resolver::Resolver;
