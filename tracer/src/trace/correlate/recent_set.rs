//! A bounded set of recently used values.

use std::{collections::HashSet, hash::Hash};

/// Size of each of the two generations. The kernel side keeps far fewer tasks (`tracer-ebpf/src/maps.rs`), so it forgets a
/// value before this set does.
const LIMIT: usize = 1 << 15;

/// Recent values in two generations: a value stays as long as it is used again within a generation.
#[derive(Debug)]
pub(super) struct RecentSet<T> {
    young: HashSet<T>,
    old: HashSet<T>,
    limit: usize,
}

impl<T> Default for RecentSet<T> {
    fn default() -> Self {
        Self { young: HashSet::new(), old: HashSet::new(), limit: LIMIT }
    }
}

impl<T: Eq + Hash + Copy> RecentSet<T> {
    /// Adds a value.
    pub(super) fn insert(&mut self, value: T) {
        if self.young.insert(value) && self.young.len() >= self.limit {
            self.old = std::mem::take(&mut self.young);
        }
    }

    /// Returns whether the value is in the set, and refreshes it.
    pub(super) fn contains_and_touch(&mut self, value: T) -> bool {
        let is_known = self.young.contains(&value) || self.old.contains(&value);
        if is_known {
            self.insert(value);
        }
        is_known
    }
}

#[cfg(test)]
mod tests {
    use super::RecentSet;

    /// A value that is used again stays, as do the latest values; older ones are forgotten and the size is bounded.
    #[test]
    fn recent_set_beyond_its_limit_keeps_used_and_latest_values() {
        let mut lately = RecentSet { limit: 100, ..RecentSet::default() };
        for value in 0..1_000 {
            lately.insert(value);
            assert!(lately.contains_and_touch(0), "{value}");
        }
        assert!((910..1_000).all(|value| lately.contains_and_touch(value)));
        assert!(!lately.contains_and_touch(500));
        assert!(lately.young.len() + lately.old.len() <= 200);
    }
}
