//! Verdicts of a policy, one file per format. Foreign text is escaped with [`super::escape()`], and then as the format
//! requires.

mod github;
mod json;
mod junit;
mod ktap;
mod summary;
mod words;

#[cfg(test)]
mod samples;

pub use github::github;
pub use json::json;
pub use junit::junit;
pub use ktap::ktap;
pub use summary::{news, summary};
