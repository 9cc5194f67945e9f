//! Verdicts of a policy: one file a format. Every foreign byte goes through [`super::escape()`], and whatever means
//! something to a format besides is escaped by it.

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
