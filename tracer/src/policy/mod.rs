//! Policies: rules for what the kernel may load, and verdicts about what it loaded.
//!
//! Pure except for [`load()`], which reads files: rules and events in, a verdict out. Incomplete evidence (a loss, an
//! incomplete chain, or an unattributed load) gives an error instead of a verdict.

mod baseline;
mod cases;
mod decide;
mod expect;
mod field;
mod file;
mod glob;
mod hidden;
mod host;
mod judge;
mod learn;
mod lint;
mod load;
mod pattern;
mod rule;
mod subject;
mod undetermined;
mod value;
mod verdict;

#[cfg(test)]
mod tests;

pub use baseline::{
    Change, Diff, Entry, Kind, Recorder, SNAPSHOT_VERSION, Seen, Slower, Snapshot, SnapshotError, Source, diff,
};
pub use cases::CaseResult;
pub use expect::{Kernel, Lookup, UnknownKernel};
pub use file::{Action, POLICY_VERSION, SkipReason};
pub use judge::{Judge, skipped};
pub use learn::Learner;
pub use lint::{Lint, NEVER_FAILS, lint};
pub use load::{DEFAULT_RULE, PolicyError, load, load_for_lint, parse};
pub use rule::{Case, Place, Policy, Rule};
pub use subject::Subject;
pub use verdict::{Counts, Finding, Outcome, Requester, RuleVerdict, StartedBy, State, Verdict};

/// The JSON Schema of policy files.
#[must_use]
pub fn schema() -> schemars::Schema {
    schemars::schema_for!(file::PolicyFile)
}
