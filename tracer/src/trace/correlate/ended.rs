//! Requests whose result was emitted: a bounded set, so that no request gets a second result.

use std::collections::{HashSet, VecDeque};

use crate::event::RequestId;

/// Number of requests kept. The kernel side tracks far fewer at a time (`tracer-ebpf/src/maps.rs`).
const LIMIT: usize = 1 << 16;

/// The most recently ended requests.
#[derive(Debug)]
pub(super) struct EndedRequests {
    ids: HashSet<RequestId>,
    order: VecDeque<RequestId>,
    limit: usize,
    /// Start time of the youngest request that was dropped: older requests count as possibly ended.
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

    /// Adds a request.
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

    /// Whether a request has ended, or may have ended and was dropped.
    pub(super) fn may_contain(&self, id: RequestId) -> bool {
        self.ids.contains(&id) || self.forgotten_ns.is_some_and(|forgotten_ns| id.boot_ns <= forgotten_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::EndedRequests;
    use crate::event::RequestId;

    /// The set is bounded, and a request that was dropped from it is never treated as new.
    #[test]
    fn ended_requests_beyond_limit_are_never_treated_as_new() {
        let id = |boot_ns| RequestId { boot_ns, tid: 1 };
        let mut ended = EndedRequests::with_limit(2);
        [5, 9, 7, 7].into_iter().for_each(|boot_ns| ended.insert(id(boot_ns)));
        assert!([3, 5, 7, 9].into_iter().all(|boot_ns| ended.may_contain(id(boot_ns))));
        assert!(!ended.may_contain(id(6)));
        assert_eq!((ended.ids.len(), ended.order.len()), (2, 2));
    }
}
