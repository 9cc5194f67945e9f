//! Requests whose result was emitted: a bounded set, so that none gets a second one.

use std::collections::{HashSet, VecDeque};

use crate::event::RequestId;

/// How many are remembered. The kernel side keeps track of far fewer requests at a time (`tracer-ebpf/src/maps.rs`).
const LIMIT: usize = 1 << 16;

/// The latest requests that have ended.
#[derive(Debug)]
pub(super) struct EndedRequests {
    ids: HashSet<RequestId>,
    order: VecDeque<RequestId>,
    limit: usize,
    /// The youngest that was forgotten: nothing as old is taken for unseen.
    forgotten_ns: Option<u64>,
}

impl Default for EndedRequests {
    fn default() -> Self {
        Self::with_limit(LIMIT)
    }
}

impl EndedRequests {
    fn with_limit(limit: usize) -> Self {
        Self { ids: HashSet::new(), order: VecDeque::new(), limit, forgotten_ns: None }
    }

    /// Adds one.
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

    /// Whether a request has ended, or may have and was forgotten.
    pub(super) fn may_contain(&self, id: RequestId) -> bool {
        self.ids.contains(&id) || self.forgotten_ns.is_some_and(|forgotten_ns| id.boot_ns <= forgotten_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::EndedRequests;
    use crate::event::RequestId;

    /// Memory is bounded, and a request that was forgotten is not taken for one that has not ended.
    #[test]
    fn ended_requests_beyond_the_limit_are_never_unseen() {
        let id = |boot_ns| RequestId { boot_ns, tid: 1 };
        let mut ended = EndedRequests::with_limit(2);
        [5, 9, 7, 7].into_iter().for_each(|boot_ns| ended.insert(id(boot_ns)));
        assert!([3, 5, 7, 9].into_iter().all(|boot_ns| ended.may_contain(id(boot_ns))));
        assert!(!ended.may_contain(id(6)));
        assert_eq!((ended.ids.len(), ended.order.len()), (2, 2));
    }
}
