//! Baselines: what a workload makes a kernel load, in a form that can be compared between kernels.

mod diff;
mod requester;
mod snapshot;

#[cfg(test)]
mod tests;

pub use diff::{Change, Diff, Kind, Slower, diff};
pub use snapshot::{Entry, Recorder, SNAPSHOT_VERSION, Seen, Snapshot, SnapshotError, Source};

pub(super) use requester::{By, by};
