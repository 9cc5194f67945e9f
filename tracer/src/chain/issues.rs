//! Issues with the ids of a stream.

use std::collections::BTreeMap;

use crate::event::RequestId;

/// An event that a request has only once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Single {
    /// The request itself.
    Request,
    /// The helper that the kernel started for it.
    Helper,
    /// The outcome.
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

/// Inconsistent ids, which no recorder writes: events cannot be assigned to chains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Issue {
    /// A request has more than one event of a kind that it has only once: the first is used, and each other one is a
    /// separate chain ([`super::Part::Duplicate`], or [`super::Part::Rest`] if the first was already emitted).
    SharedId {
        /// The event.
        event: Single,
        /// The first duplicate id.
        id: RequestId,
        /// The number of surplus events, for all ids.
        count: u64,
    },
    /// Events without the id that assigns them to a chain; they are emitted as events.
    NoId {
        /// The event.
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
                write!(f, "{count} {} events share their ids with others; the first id is {id}", event.name())
            }
            Self::NoId { event, count: 1 } => write!(f, "1 {} event has no id", event.name()),
            Self::NoId { event, count } => write!(f, "{count} {} events have no id", event.name()),
        }
    }
}

/// The issues since the last call of `take`, with counts.
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
