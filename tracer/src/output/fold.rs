//! Collapses repeated requests: same program, alias and outcome.
//!
//! The first is shown; those that follow within a second are counted, and the count is shown once a second.

use std::collections::HashMap;

use jiff::Timestamp;

use crate::{
    chain::Chain,
    event::{Status, Text},
};

/// Maximum time between repeats, and the interval in which their count is shown.
const WINDOW_NS: u64 = 1_000_000_000;

/// The properties in which repeats are equal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct RepeatKey {
    program: Text,
    uid: u32,
    alias: Text,
    status: Status,
    errno: Option<String>,
    modules: Vec<Text>,
    incomplete: bool,
}

impl RepeatKey {
    /// `None` for chains that are never collapsed: explicit loads, and chains with nested ones.
    fn of(chain: &Chain) -> Option<Self> {
        let request = chain.request.as_ref().filter(|_| chain.nested.is_empty())?;
        let result = chain.result.as_ref()?;
        let process = &request.process;
        Some(Self {
            program: process.exe.as_ref().unwrap_or(&process.comm).clone(),
            uid: process.uid,
            alias: request.name.clone(),
            status: result.status,
            errno: result.errno.clone(),
            modules: chain.modules.iter().map(|module| module.load.module.clone()).collect(),
            incomplete: !chain.incomplete.is_empty(),
        })
    }
}

/// Repeats that are shown as a count.
#[derive(Clone, Debug)]
pub(super) struct Repeats {
    /// The last one.
    pub(super) last: Box<Chain>,
    /// The time of the last one.
    pub(super) time: Timestamp,
    /// Number of repeats.
    pub(super) count: u64,
    /// Time from the previously shown chain or count to the last one, nanoseconds.
    pub(super) span_ns: u64,
    /// More than one process sent them.
    pub(super) several_processes: bool,
}

#[derive(Debug)]
struct Storm {
    /// When a chain or count was last shown.
    shown_ns: u64,
    last_ns: u64,
    pid: u32,
    repeats: Option<Repeats>,
}

/// Finds repeats.
#[derive(Debug, Default)]
pub(super) struct Fold {
    storms: HashMap<RepeatKey, Storm>,
}

impl Fold {
    /// Adds a chain; true if it is to be shown now, false if it is counted.
    pub(super) fn is_new(&mut self, chain: &Chain) -> bool {
        let Some(key) = RepeatKey::of(chain) else { return true };
        let pid = chain.request.as_ref().map_or(0, |request| request.process.pid);
        let at_ns = chain.boot_ns;
        match self.storms.get_mut(&key) {
            Some(storm) if at_ns.saturating_sub(storm.last_ns) < WINDOW_NS => {
                let several = storm.repeats.as_ref().is_some_and(|repeats| repeats.several_processes);
                storm.repeats = Some(Repeats {
                    last: Box::new(chain.clone()),
                    time: chain.time,
                    count: storm.repeats.as_ref().map_or(1, |repeats| repeats.count + 1),
                    span_ns: at_ns.saturating_sub(storm.shown_ns),
                    several_processes: several || storm.pid != pid,
                });
                storm.last_ns = storm.last_ns.max(at_ns);
                false
            }
            _ => {
                self.storms.insert(key, Storm { shown_ns: at_ns, last_ns: at_ns, pid, repeats: None });
                true
            }
        }
    }

    /// The counts that are due at a time (nanoseconds since boot), oldest first.
    pub(super) fn due(&mut self, now_ns: u64) -> Vec<Repeats> {
        let mut due = Vec::new();
        self.storms.retain(|_, storm| {
            if now_ns.saturating_sub(storm.shown_ns) < WINDOW_NS {
                return true;
            }
            if let Some(repeats) = storm.repeats.take() {
                due.push(repeats);
                storm.shown_ns = storm.last_ns;
            }
            now_ns.saturating_sub(storm.last_ns) < WINDOW_NS
        });
        due.sort_by_key(|repeats| repeats.last.boot_ns);
        due
    }

    /// All counts that were not shown yet.
    pub(super) fn rest(&mut self) -> Vec<Repeats> {
        self.due(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::Fold;
    use crate::chain::{Chain, Item, samples};

    fn at(item: Item, boot_ns: u64, pid: u32) -> Chain {
        let Item::Chain(mut chain) = item else { unreachable!("it is a chain") };
        chain.boot_ns = boot_ns;
        chain.request.as_mut().unwrap().process.pid = pid;
        *chain
    }

    /// The first chain is shown, then a count once a second; after a pause the next chain is shown again.
    #[test]
    fn repeats_within_a_second_are_counted() {
        let mut fold = Fold::default();
        let mut shown = Vec::new();
        let mut counts = Vec::new();
        for number in 0..25 {
            let now_ns = number * 100_000_000;
            counts.extend(fold.due(now_ns).iter().map(|repeats| (now_ns, repeats.count, repeats.span_ns)));
            if fold.is_new(&at(samples::not_found(), now_ns, 800)) {
                shown.push(now_ns);
            }
        }
        assert_eq!(shown, [0]);
        assert_eq!(counts, [(1_000_000_000, 9, 900_000_000), (1_900_000_000, 9, 900_000_000)]);
        let rest = fold.rest();
        assert_eq!((rest[0].count, rest[0].several_processes), (6, false));
        assert!(fold.is_new(&at(samples::not_found(), 9_000_000_000, 800)), "the storm is over");
    }

    /// Chains that differ in requester, alias or outcome are not repeats.
    #[test]
    fn chains_that_differ_are_not_repeats() {
        let mut fold = Fold::default();
        assert!(fold.is_new(&at(samples::not_found(), 1, 800)));
        assert!(fold.is_new(&at(samples::outage(), 2, 557)));
        let mut other_user = at(samples::not_found(), 3, 800);
        other_user.request.as_mut().unwrap().process.uid = 1001;
        assert!(fold.is_new(&other_user));
        let mut other_end = at(samples::not_found(), 4, 800);
        other_end.result.as_mut().unwrap().status = crate::event::Status::Denied;
        assert!(fold.is_new(&other_end));
        assert!(!fold.is_new(&at(samples::not_found(), 5, 801)));
        assert!(fold.rest()[0].several_processes);
    }

    /// Chains with nested ones are never collapsed.
    #[test]
    fn chains_with_nested_ones_are_not_repeats() {
        let mut fold = Fold::default();
        assert!(fold.is_new(&at(samples::nested(), 1, 700)));
        assert!(fold.is_new(&at(samples::nested(), 2, 700)));
    }
}
