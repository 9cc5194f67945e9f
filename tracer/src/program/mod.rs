//! Programs that kmodtrace runs itself: only those that root alone can change, and only within limits.

mod run;
mod trust;

pub(crate) use run::{Limits, RunError, run};
pub use trust::Distrust;
pub(crate) use trust::check_trust;

/// The owner of programs that may be run.
pub(crate) const ROOT_UID: u32 = 0;
