//! Requests that were handed out: what comes later must not wait for them.

use std::collections::{HashSet, VecDeque};

use crate::event::RequestId;

/// The last requests that were handed out, a bounded number of them.
#[derive(Debug)]
pub(super) struct Gone {
    ids: HashSet<RequestId>,
    order: VecDeque<RequestId>,
    limit: usize,
    /// Of those that were forgotten, the youngest.
    forgotten_ns: Option<u64>,
}

impl Gone {
    pub(super) fn with_limit(limit: usize) -> Self {
        Self { ids: HashSet::new(), order: VecDeque::new(), limit, forgotten_ns: None }
    }

    pub(super) fn insert(&mut self, id: RequestId) {
        if self.ids.insert(id) {
            self.order.push_back(id);
        }
        while self.order.len() > self.limit {
            if let Some(oldest) = self.order.pop_front() {
                self.ids.remove(&oldest);
                self.forgotten_ns = self.forgotten_ns.max(Some(oldest.boot_ns));
            }
        }
    }

    /// True when it is known to have been handed out.
    pub(super) fn contains(&self, id: RequestId) -> bool {
        self.ids.contains(&id)
    }

    /// True when it was handed out, or may have been and was forgotten.
    pub(super) fn may_contain(&self, id: RequestId) -> bool {
        self.contains(id) || self.forgotten_ns.is_some_and(|forgotten_ns| id.boot_ns <= forgotten_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::Gone;
    use crate::event::RequestId;

    /// Check that memory is bounded and that what was forgotten is not taken for unseen.
    #[test]
    fn the_oldest_are_forgotten_but_not_denied() {
        let id = |boot_ns| RequestId { boot_ns, tid: 1 };
        let mut gone = Gone::with_limit(2);
        for boot_ns in [5, 9, 7] {
            gone.insert(id(boot_ns));
        }
        assert!(!gone.contains(id(5)) && gone.contains(id(9)) && gone.contains(id(7)));
        assert!(gone.may_contain(id(5)) && !gone.may_contain(id(6)));
        assert_eq!((gone.ids.len(), gone.order.len()), (2, 2));
    }
}
