//! Ids of chains that were emitted, so that later events do not wait for them.

use std::{
    collections::{HashMap, VecDeque},
    hash::Hash,
};

use super::issues::Single;
use crate::event::{ProcessId, RequestId};

/// The id of a chain, and the earliest time at which the chain can exist.
pub(super) trait Identity: Copy + Eq + Hash {
    /// Nanoseconds since boot.
    fn earliest_ns(self) -> u64;
}

impl Identity for RequestId {
    fn earliest_ns(self) -> u64 {
        self.boot_ns
    }
}

impl Identity for ProcessId {
    fn earliest_ns(self) -> u64 {
        self.start_ns
    }
}

/// The events of a chain that were emitted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct EmittedEvents(u8);

impl EmittedEvents {
    pub(super) fn with(self, event: Single, is_there: bool) -> Self {
        Self(self.0 | u8::from(is_there) << event as u8)
    }

    pub(super) const fn contains(self, event: Single) -> bool {
        self.0 & 1 << event as u8 != 0
    }
}

/// A bounded set of the last emitted chains.
#[derive(Debug)]
pub(super) struct EmittedRequests<Id> {
    ids: HashMap<Id, (u64, EmittedEvents)>,
    order: VecDeque<(u64, Id)>,
    limit: usize,
    turn: u64,
    /// The latest of the forgotten ones.
    forgotten_ns: Option<u64>,
}

impl<Id: Identity> EmittedRequests<Id> {
    pub(super) fn with_limit(limit: usize) -> Self {
        Self { ids: HashMap::new(), order: VecDeque::new(), limit, turn: 0, forgotten_ns: None }
    }

    pub(super) fn insert(&mut self, id: Id, events: EmittedEvents) {
        if let Some((_, known)) = self.ids.get_mut(&id) {
            known.0 |= events.0;
            return;
        }
        self.turn += 1;
        self.ids.insert(id, (self.turn, events));
        self.order.push_back((self.turn, id));
        while self.order.len() > self.limit {
            let Some((turn, oldest)) = self.order.pop_front() else { break };
            // An id that was removed and inserted again has a later turn.
            if self.ids.get(&oldest).is_some_and(|(known, _)| *known == turn) {
                self.ids.remove(&oldest);
                self.forgotten_ns = self.forgotten_ns.max(Some(oldest.earliest_ns()));
            }
        }
    }

    pub(super) fn remove(&mut self, id: Id) {
        self.ids.remove(&id);
    }

    /// The emitted events of a chain, if known.
    pub(super) fn get(&self, id: Id) -> Option<EmittedEvents> {
        self.ids.get(&id).map(|(_, events)| *events)
    }

    /// Returns whether the chain is known to have been emitted.
    pub(super) fn contains(&self, id: Id) -> bool {
        self.ids.contains_key(&id)
    }

    /// Returns whether the chain was emitted, or may have been and was forgotten.
    pub(super) fn may_contain(&self, id: Id) -> bool {
        self.contains(id) || self.forgotten_ns.is_some_and(|forgotten_ns| id.earliest_ns() <= forgotten_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::{EmittedEvents, EmittedRequests, Single};
    use crate::event::RequestId;

    fn id(boot_ns: u64) -> RequestId {
        RequestId { boot_ns, tid: 1 }
    }

    /// Memory is bounded, and forgotten ids are not reported as unseen.
    #[test]
    fn forgotten_ids_may_be_contained() {
        let mut emitted = EmittedRequests::with_limit(2);
        for boot_ns in [5, 9, 7] {
            emitted.insert(id(boot_ns), EmittedEvents::default());
        }
        assert!(!emitted.contains(id(5)) && emitted.contains(id(9)) && emitted.contains(id(7)));
        assert!(emitted.may_contain(id(5)) && !emitted.may_contain(id(6)));
        assert_eq!((emitted.ids.len(), emitted.order.len()), (2, 2));
    }

    /// An id that was removed and inserted again is not forgotten with its first turn, and memory stays bounded.
    #[test]
    fn reinserted_id_is_not_forgotten_early() {
        let mut emitted = EmittedRequests::with_limit(3);
        for _ in 0..10 {
            emitted.remove(id(1));
            emitted.insert(id(1), EmittedEvents::default().with(Single::Result, true));
        }
        assert!(
            emitted
                .get(id(1))
                .is_some_and(|events| events.contains(Single::Result) && !events.contains(Single::Request))
        );
        assert!(emitted.ids.len() == 1 && emitted.order.len() <= 3);
        assert!(!emitted.may_contain(id(0)), "nothing was forgotten");
    }
}
