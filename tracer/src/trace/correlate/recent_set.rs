//! What was met lately: a set that stays bounded.

use std::{collections::HashSet, hash::Hash};

/// What is kept of each of two generations. Far beyond what the kernel side remembers of any kind of task
/// (`tracer-ebpf/src/maps.rs`): what is forgotten here was forgotten there before.
const LIMIT: usize = 1 << 15;

/// The latest values, each as long as it is met again, and some time longer.
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
    /// Takes a value.
    pub(super) fn insert(&mut self, value: T) {
        if self.young.insert(value) && self.young.len() >= self.limit {
            self.old = std::mem::take(&mut self.young);
        }
    }

    /// Whether a value was met lately; then it was met now.
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

    /// Check that what is met again stays, that the latest stay, and that the rest is forgotten.
    #[test]
    fn the_latest_stay() {
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
