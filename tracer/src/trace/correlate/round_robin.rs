//! Round-robin iteration over a changing set of keys, so that the cost of a tick does not depend on the number of keys.

use std::ops::Bound::{self, Excluded, Included, Unbounded};

/// The key that was visited last.
#[derive(Debug)]
pub(super) struct RoundRobin<K>(Option<K>);

impl<K> Default for RoundRobin<K> {
    fn default() -> Self {
        Self(None)
    }
}

impl<K: Ord + Copy> RoundRobin<K> {
    /// Returns up to `limit` keys after the last visited one, each at most once. `keys` lists up to a number of keys in a
    /// range.
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

    /// Every key is visited, none twice in one round, and removed keys do not stop the iteration.
    #[test]
    fn round_robin_over_changing_keys_visits_each() {
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
