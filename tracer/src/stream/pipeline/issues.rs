//! All that is wrong with the evidence.

use super::super::issue::{Issue, Severity};

/// What is wrong with the evidence.
#[derive(Clone, Debug, Default)]
pub struct Issues {
    pub(super) list: Vec<Issue>,
    pub(super) more: u64,
}

impl Issues {
    /// All that are kept.
    pub fn iter(&self) -> impl Iterator<Item = &Issue> {
        self.list.iter()
    }

    /// How many more there were.
    #[must_use]
    pub const fn more(&self) -> u64 {
        self.more
    }

    /// The worst of them.
    #[must_use]
    pub fn worst(&self) -> Option<Severity> {
        self.list.iter().map(|issue| issue.kind.severity()).max()
    }

    /// Those that no verdict stands beside, a sentence each.
    pub fn doubts(&self) -> impl Iterator<Item = String> {
        let more =
            (self.more > 0).then(|| format!("and {}", crate::text::count(self.more, "issue more", "issues more")));
        self.list.iter().filter(|issue| issue.kind.severity() > Severity::Note).map(ToString::to_string).chain(more)
    }
}
