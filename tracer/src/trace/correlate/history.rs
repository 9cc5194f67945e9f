//! Which modules were loaded at an earlier time: loads and unloads with their times.

use std::collections::{HashMap, VecDeque};

use crate::event::RequestId;

/// Maximum number of modules. Only root can load more than this, under endless names; the state of the others is unknown.
const MODULES_LIMIT: usize = 1 << 14;

/// Number of changes that are kept of each module.
const CHANGES_LIMIT: usize = 16;

/// A load or an unload.
#[derive(Clone, Copy, Debug)]
struct Change {
    at_ns: u64,
    is_load: bool,
    /// The request that loaded it.
    by: Option<RequestId>,
}

/// The changes of one module, in the order of their times.
#[derive(Clone, Debug, Default)]
struct Changes {
    list: VecDeque<Change>,
    /// Earlier changes were dropped.
    is_truncated: bool,
}

/// A load while a request ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Arrival {
    /// The request that it was for, if any.
    pub by: Option<RequestId>,
}

/// What was loaded when.
#[derive(Debug, Default)]
pub(super) struct History {
    modules: HashMap<String, Changes>,
    /// The modules that were loaded when tracing began; `None` if unknown.
    baseline: Option<std::collections::HashSet<String>>,
    /// When records were last lost: earlier states prove nothing about later times.
    lost_ns: Option<u64>,
}

impl History {
    /// Notes the modules that are loaded at the beginning.
    pub(super) fn begin(&mut self, modules: &[String]) {
        self.baseline = (!modules.is_empty()).then(|| modules.iter().cloned().collect());
    }

    /// Notes that records were lost.
    pub(super) fn lost(&mut self, at_ns: u64) {
        self.lost_ns = self.lost_ns.max(Some(at_ns));
    }

    /// Notes a load.
    pub(super) fn loaded(&mut self, module: &str, at_ns: u64, by: Option<RequestId>) {
        self.change(module, Change { at_ns, is_load: true, by });
    }

    /// Notes that a module was removed, or did not stay.
    pub(super) fn removed(&mut self, module: &str, at_ns: u64) {
        self.change(module, Change { at_ns, is_load: false, by: None });
    }

    fn change(&mut self, module: &str, change: Change) {
        if self.modules.len() >= MODULES_LIMIT && !self.modules.contains_key(module) {
            self.lost(change.at_ns);
            return;
        }
        let changes = self.modules.entry(module.to_owned()).or_default();
        // Records of different processors may be a little out of order.
        let place = changes.list.partition_point(|before| before.at_ns <= change.at_ns);
        changes.list.insert(place, change);
        if changes.list.len() > CHANGES_LIMIT {
            changes.list.pop_front();
            changes.is_truncated = true;
        }
    }

    /// Whether a module was loaded at a time; `None` if that is unknown. `is_loaded_now` is its present state.
    pub(super) fn was_loaded(&self, module: &str, at_ns: u64, is_loaded_now: bool) -> Option<bool> {
        let none = Changes::default();
        let changes = self.modules.get(module).unwrap_or(&none);
        let next = changes.list.partition_point(|change| change.at_ns <= at_ns);
        let before = next.checked_sub(1).and_then(|at| changes.list.get(at));
        let after = changes.list.get(next);
        // The state before: since the last change, or since the beginning.
        let since_ns = before.map(|change| change.at_ns);
        let is_sure = self.lost_ns.is_none_or(|lost_ns| since_ns.is_some_and(|since_ns| since_ns > lost_ns));
        match (before, after) {
            (None, Some(_)) if changes.is_truncated => None,
            // A load was not recorded in between, or an unload.
            (Some(before), Some(after)) if before.is_load == after.is_load => None,
            _ if !is_sure => None,
            (Some(before), _) => Some(before.is_load),
            (None, Some(after)) => Some(!after.is_load),
            // Nothing has changed since the beginning.
            (None, None) => match &self.baseline {
                Some(baseline) if baseline.contains(module) != is_loaded_now => None,
                _ => Some(is_loaded_now),
            },
        }
    }

    /// The latest load of a module since a time, if it stayed.
    pub(super) fn arrival_since(&self, module: &str, since_ns: u64) -> Option<Arrival> {
        let last = self.modules.get(module)?.list.back()?;
        (last.is_load && last.at_ns >= since_ns).then_some(Arrival { by: last.by })
    }
}

#[cfg(test)]
mod tests {
    use super::{CHANGES_LIMIT, History, MODULES_LIMIT};

    fn history(baseline: &[&str]) -> History {
        let mut history = History::default();
        history.begin(&baseline.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        history
    }

    /// The state at a time follows from the changes around it, whatever the state is now.
    #[test]
    fn state_follows_from_the_changes_around_a_time() {
        let mut history = history(&["ext4"]);
        history.removed("udf", 300);
        history.loaded("udf", 100, None);
        for now in [false, true] {
            assert_eq!(history.was_loaded("udf", 50, now), Some(false));
            assert_eq!(history.was_loaded("udf", 200, now), Some(true));
            assert_eq!(history.was_loaded("udf", 400, now), Some(false));
        }
        assert_eq!(history.arrival_since("udf", 50), None, "it did not stay");
        history.loaded("udf", 500, None);
        assert!(history.arrival_since("udf", 500).is_some());
        assert_eq!(history.arrival_since("udf", 501), None);
    }

    /// Without a change, the state is that of the beginning, if that agrees with the present one.
    #[test]
    fn state_without_changes_is_that_of_the_beginning() {
        let known = history(&["ext4"]);
        assert_eq!(known.was_loaded("ext4", 50, true), Some(true));
        assert_eq!(known.was_loaded("udf", 50, false), Some(false));
        assert_eq!(known.was_loaded("udf", 50, true), None, "its load was not recorded");
        assert_eq!(known.was_loaded("ext4", 50, false), None, "its unload was not recorded");
        assert_eq!(history(&[]).was_loaded("udf", 50, true), Some(true), "the baseline could not be read");
    }

    /// After a loss, and where changes contradict each other, the state is unknown.
    #[test]
    fn state_is_unknown_where_records_are_missing() {
        let mut history = history(&["ext4"]);
        history.loaded("udf", 100, None);
        history.loaded("udf", 200, None);
        assert_eq!(history.was_loaded("udf", 150, true), None);
        history.lost(300);
        assert_eq!(history.was_loaded("udf", 250, true), None);
        assert_eq!(history.was_loaded("ext4", 400, true), None);
        history.loaded("udf", 500, None);
        assert_eq!(history.was_loaded("udf", 600, true), Some(true));
    }

    /// Modules and changes are bounded, and what was dropped is unknown.
    #[test]
    fn history_is_bounded() {
        let mut history = history(&["ext4"]);
        for number in 0..3 * CHANGES_LIMIT as u64 {
            history.loaded("udf", 2 * number, None);
            history.removed("udf", 2 * number + 1);
        }
        assert_eq!(history.modules["udf"].list.len(), CHANGES_LIMIT);
        assert_eq!(history.was_loaded("udf", 1, false), None);
        for number in 0..MODULES_LIMIT as u64 {
            history.loaded(&format!("m{number}"), 1_000 + number, None);
        }
        assert_eq!(history.modules.len(), MODULES_LIMIT);
        assert_eq!(history.was_loaded("dropped", 2_000, false), None);
    }
}
