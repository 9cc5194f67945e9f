//! Visits many things a few at a time, in turn: what a tick costs does not depend on how many there are.

use std::ops::Bound::{self, Excluded, Included, Unbounded};

/// Who was visited last.
#[derive(Debug)]
pub(super) struct RoundRobin<K>(Option<K>);

impl<K> Default for RoundRobin<K> {
    fn default() -> Self {
        Self(None)
    }
}

impl<K: Ord + Copy> RoundRobin<K> {
    /// Up to `limit` keys that follow the last one that was visited, each once. `keys` lists so many of a range.
    pub(super) fn next(&mut self, limit: usize, keys: impl Fn((Bound<K>, Bound<K>), usize) -> Vec<K>) -> Vec<K> {
        let mut next = keys((self.0.map_or(Unbounded, Excluded), Unbounded), limit);
        if let Some(last) = self.0 {
            next.extend(keys((Unbounded, Included(last)), limit - next.len()));
        }
        self.0 = next.last().copied();
        next
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::RoundRobin;

    /// Every key has its turn, no key has two in one visit, and keys that leave do not stop the others.
    #[test]
    fn every_key_has_its_turn() {
        let mut keys: BTreeSet<u32> = (0..10).collect();
        let mut turn = RoundRobin::default();
        let mut next = |keys: &BTreeSet<u32>, limit| {
            turn.next(limit, |range, count| keys.range(range).copied().take(count).collect())
        };
        assert_eq!(next(&keys, 4), [0, 1, 2, 3]);
        assert_eq!(next(&keys, 4), [4, 5, 6, 7]);
        assert_eq!(next(&keys, 4), [8, 9, 0, 1]);
        keys.remove(&1);
        assert_eq!(next(&keys, 100), [2, 3, 4, 5, 6, 7, 8, 9, 0]);
        assert!(next(&BTreeSet::new(), 4).is_empty());
        assert_eq!(next(&keys, 2), [0, 2]);
    }
}
