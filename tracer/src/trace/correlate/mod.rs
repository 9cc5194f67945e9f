//! Correlates the records of the probes: turns them into events of the public contract and joins what belongs together.

mod checks;
mod clock;
mod devices;
mod ended;
mod entries;
mod environment;
mod files;
mod history;
mod in_flight;
mod kernel_printf;
mod live_system;
mod loaders;
mod modules;
mod origin;
mod outcome;
mod recent_set;
mod round_robin;
mod scope;
mod start;
mod timeouts;
mod tracker;
mod udev;
mod unresolved;

pub use clock::Clock;
pub use environment::Environment;
pub use live_system::LiveSystem;
pub use scope::{CommandCgroup, Filter, Scope};
pub use start::{Started, read_symbols, start};
pub use timeouts::Drained;
pub use tracker::Tracker;

#[cfg(test)]
mod tests;
