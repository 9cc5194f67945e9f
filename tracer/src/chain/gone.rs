//! Chains that were handed out: what comes later must not wait for them.

use std::{
    collections::{HashMap, VecDeque},
    hash::Hash,
};

use super::issues::Single;
use crate::event::{ProcessId, RequestId};

/// What a chain is known by, and since when there can be one.
pub(super) trait Born: Copy + Eq + Hash {
    /// Nanoseconds since boot.
    fn born_ns(self) -> u64;
}

impl Born for RequestId {
    fn born_ns(self) -> u64 {
        self.boot_ns
    }
}

impl Born for ProcessId {
    fn born_ns(self) -> u64 {
        self.start_ns
    }
}

/// Which events of a chain were handed out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Had(u8);

impl Had {
    pub(super) fn with(self, event: Single, is_there: bool) -> Self {
        Self(self.0 | u8::from(is_there) << event as u8)
    }

    pub(super) const fn contains(self, event: Single) -> bool {
        self.0 & 1 << event as u8 != 0
    }
}

/// The last chains that were handed out, a bounded number of them.
#[derive(Debug)]
pub(super) struct Gone<Id> {
    ids: HashMap<Id, (u64, Had)>,
    order: VecDeque<(u64, Id)>,
    limit: usize,
    turn: u64,
    /// Of those that were forgotten, the youngest.
    forgotten_ns: Option<u64>,
}

impl<Id: Born> Gone<Id> {
    pub(super) fn with_limit(limit: usize) -> Self {
        Self { ids: HashMap::new(), order: VecDeque::new(), limit, turn: 0, forgotten_ns: None }
    }

    pub(super) fn insert(&mut self, id: Id, had: Had) {
        if let Some((_, known)) = self.ids.get_mut(&id) {
            known.0 |= had.0;
            return;
        }
        self.turn += 1;
        self.ids.insert(id, (self.turn, had));
        self.order.push_back((self.turn, id));
        while self.order.len() > self.limit {
            let Some((turn, oldest)) = self.order.pop_front() else { break };
            // One that was taken out and came again has a later turn.
            if self.ids.get(&oldest).is_some_and(|(known, _)| *known == turn) {
                self.ids.remove(&oldest);
                self.forgotten_ns = self.forgotten_ns.max(Some(oldest.born_ns()));
            }
        }
    }

    pub(super) fn remove(&mut self, id: Id) {
        self.ids.remove(&id);
    }

    /// What was handed out of it, when that is known.
    pub(super) fn get(&self, id: Id) -> Option<Had> {
        self.ids.get(&id).map(|(_, had)| *had)
    }

    /// True when it is known to have been handed out.
    pub(super) fn contains(&self, id: Id) -> bool {
        self.ids.contains_key(&id)
    }

    /// True when it was handed out, or may have been and was forgotten.
    pub(super) fn may_contain(&self, id: Id) -> bool {
        self.contains(id) || self.forgotten_ns.is_some_and(|forgotten_ns| id.born_ns() <= forgotten_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::{Gone, Had, Single};
    use crate::event::RequestId;

    fn id(boot_ns: u64) -> RequestId {
        RequestId { boot_ns, tid: 1 }
    }

    /// Check that memory is bounded and that what was forgotten is not taken for unseen.
    #[test]
    fn the_oldest_are_forgotten_but_not_denied() {
        let mut gone = Gone::with_limit(2);
        for boot_ns in [5, 9, 7] {
            gone.insert(id(boot_ns), Had::default());
        }
        assert!(!gone.contains(id(5)) && gone.contains(id(9)) && gone.contains(id(7)));
        assert!(gone.may_contain(id(5)) && !gone.may_contain(id(6)));
        assert_eq!((gone.ids.len(), gone.order.len()), (2, 2));
    }

    /// Check that one that is taken out and comes again is not forgotten with its first turn, and that memory stays bounded.
    #[test]
    fn what_comes_again_has_another_turn() {
        let mut gone = Gone::with_limit(3);
        for _ in 0..10 {
            gone.remove(id(1));
            gone.insert(id(1), Had::default().with(Single::Result, true));
        }
        assert!(gone.get(id(1)).is_some_and(|had| had.contains(Single::Result) && !had.contains(Single::Request)));
        assert!(gone.ids.len() == 1 && gone.order.len() <= 3);
        assert!(!gone.may_contain(id(0)), "nothing was forgotten");
    }
}
