//! A running trace: records in, events of the contract out, with every join made once.

mod clock;
mod devices;
mod ended;
mod entries;
mod files;
mod format;
mod host;
mod in_flight;
mod knowledge;
mod lately;
mod loaders;
mod looks;
mod modules;
mod origin;
mod scope;
mod settle;
mod start;
mod tracker;
mod turn;
mod udev;
mod unresolved;
mod verdict;

pub use clock::Clock;
pub use host::Host;
pub use knowledge::Knowledge;
pub use scope::{Filter, Scope};
pub use settle::Drained;
pub use start::{Started, read_symbols, start};
pub use tracker::Tracker;

#[cfg(test)]
mod tests;
