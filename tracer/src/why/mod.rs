//! Why a module is loaded: what was recorded, what the system has logged, and what can be inferred afterwards.
//!
//! Every finding has a mark and names its rule. Only what a recorder has seen is `recorded`; everything else is evidence of the
//! time around the load, not of its cause. All files are read below one root directory.

mod answer;
mod arrival;
mod holders;
mod journal;
mod kernel_log;
mod mounts;
mod next;
mod recorded;
mod ways;

#[cfg(test)]
mod tests;

pub use answer::{Answer, Finding, LookUp, Mark, Sources, State, answer};
pub use arrival::Arrival;
pub use holders::{Holder, Holders, Removal};
pub use journal::Journal;
pub use next::Next;
pub use recorded::Recorded;
pub use ways::Way;

/// The JSON Schema of an answer.
#[must_use]
pub fn schema() -> schemars::Schema {
    schemars::schema_for!(Answer)
}
