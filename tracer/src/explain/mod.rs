//! Why: what an alias stands for, and what modprobe would do with it.

mod aliases;
pub mod answer;
mod effects;
pub mod families;
pub mod index;
pub mod machine;
pub mod modprobe;
mod pattern;
pub mod resolve;
pub mod resolver;

pub use answer::{Answer, answer};
pub use effects::effect;
pub use families::explain;
pub use machine::Machine;
pub use resolve::{Planned, Resolution};
pub use resolver::Resolver;
