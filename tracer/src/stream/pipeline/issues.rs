//! The issues of all streams, bounded in number.

use super::super::issue::{Issue, Severity};

/// The issues of the evidence.
#[derive(Clone, Debug, Default)]
pub struct Issues {
    pub(super) list: Vec<Issue>,
    pub(super) more: u64,
}

impl Issues {
    /// The stored issues.
    pub fn iter(&self) -> impl Iterator<Item = &Issue> {
        self.list.iter()
    }

    /// Number of issues that were not stored.
    #[must_use]
    pub const fn more(&self) -> u64 {
        self.more
    }

    /// The highest severity.
    #[must_use]
    pub fn worst(&self) -> Option<Severity> {
        self.list.iter().map(|issue| issue.kind.severity()).max()
    }

    /// Issues that invalidate any verdict, one sentence each.
    pub fn doubts(&self) -> impl Iterator<Item = String> {
        let more =
            (self.more > 0).then(|| format!("and {}", crate::text::count(self.more, "issue more", "issues more")));
        self.list.iter().filter(|issue| issue.kind.severity() > Severity::Note).map(ToString::to_string).chain(more)
    }
}
