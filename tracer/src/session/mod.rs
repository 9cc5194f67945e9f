//! A running trace: records in, events of the contract out, with every join made once.

mod clock;
mod devices;
mod files;
mod format;
mod host;
mod knowledge;
mod lately;
mod modules;
mod origin;
mod plans;
mod requests;
mod scope;
mod settle;
mod start;
mod tracker;
mod udev;
mod unended;
mod verdict;

pub use clock::Clock;
pub use host::Host;
pub use knowledge::Knowledge;
pub use scope::{Filter, Scope};
pub use start::{Started, read_symbols, start};
pub use tracker::Tracker;

#[cfg(test)]
mod tests;
