//! What is wrong with the ids of a stream.

use std::collections::BTreeMap;

use crate::event::RequestId;

/// An event of which a request has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Single {
    /// What was asked, and by whom.
    Request,
    /// The program that the kernel started for it.
    Helper,
    /// How it ended.
    Result,
}

impl Single {
    /// Its `type`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Helper => "helper",
            Self::Result => "result",
        }
    }
}

/// Something that no recorder writes: the events of a stream do not tell what belongs together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Issue {
    /// There is more than one event of a request of which it has one: the first is told, and each other one as a chain of
    /// its own ([`super::Part::Duplicate`], or [`super::Part::Rest`] where the first was handed out before).
    SharedId {
        /// Which event.
        event: Single,
        /// The first id of which there are two.
        id: RequestId,
        /// How many there are too many, of all ids.
        count: u64,
    },
    /// Events without the id that says what they belong to: they come out as events.
    NoId {
        /// Which event.
        event: Single,
        /// How many.
        count: u64,
    },
}

impl std::fmt::Display for Issue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::SharedId { event, id, count: 1 } => write!(f, "two {} events share the id {id}", event.name()),
            Self::SharedId { event, id, count } => {
                write!(f, "{count} {} events share their id with another, the first of them {id}", event.name())
            }
            Self::NoId { event, count: 1 } => write!(f, "1 {} event has no id", event.name()),
            Self::NoId { event, count } => write!(f, "{count} {} events have no id", event.name()),
        }
    }
}

/// All issues since they were taken last, counted.
#[derive(Debug, Default)]
pub(super) struct Issues {
    shared: BTreeMap<Single, (RequestId, u64)>,
    without: BTreeMap<Single, u64>,
}

impl Issues {
    pub(super) fn shared(&mut self, event: Single, id: RequestId) {
        self.shared.entry(event).or_insert((id, 0)).1 += 1;
    }

    pub(super) fn no_id(&mut self, event: Single) {
        *self.without.entry(event).or_default() += 1;
    }

    pub(super) fn take(&mut self) -> Vec<Issue> {
        let shared = std::mem::take(&mut self.shared).into_iter();
        let without = std::mem::take(&mut self.without).into_iter();
        let shared = shared.map(|(event, (id, count))| Issue::SharedId { event, id, count });
        shared.chain(without.map(|(event, count)| Issue::NoId { event, count })).collect()
    }
}
