//! Storms: the same program asks for the same alias with the same end, again and again.
//!
//! The first is told; those that follow within a second are counted, and the count is told once a second.

use std::collections::HashMap;

use jiff::Timestamp;

use crate::{
    chain::Chain,
    event::{Status, Text},
};

/// Repeats within this time are one storm; its count is told as often.
const WINDOW_NS: u64 = 1_000_000_000;

/// What makes two chains the same to a reader.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Likeness {
    program: Text,
    uid: u32,
    alias: Text,
    status: Status,
    errno: Option<String>,
    modules: Vec<Text>,
    incomplete: bool,
}

impl Likeness {
    /// `None` for what is never folded: a load by hand, and a chain with others in it.
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

/// Repeats that were not told one by one.
#[derive(Clone, Debug)]
pub(super) struct Repeats {
    /// One of them: the last.
    pub(super) last: Box<Chain>,
    /// When it was asked.
    pub(super) time: Timestamp,
    /// How many.
    pub(super) count: u64,
    /// From the one told before to the last, nanoseconds.
    pub(super) span_ns: u64,
    /// They were not all of one process.
    pub(super) several_processes: bool,
}

#[derive(Debug)]
struct Storm {
    /// What was told last, be it a chain or a count.
    told_ns: u64,
    last_ns: u64,
    pid: u32,
    repeats: Option<Repeats>,
}

/// Finds repeats.
#[derive(Debug, Default)]
pub(super) struct Fold {
    storms: HashMap<Likeness, Storm>,
}

impl Fold {
    /// Takes a chain; true when it is to be told now, false when it is counted.
    pub(super) fn tells(&mut self, chain: &Chain) -> bool {
        let Some(likeness) = Likeness::of(chain) else { return true };
        let pid = chain.request.as_ref().map_or(0, |request| request.process.pid);
        let at_ns = chain.boot_ns;
        match self.storms.get_mut(&likeness) {
            Some(storm) if at_ns.saturating_sub(storm.last_ns) < WINDOW_NS => {
                let several = storm.repeats.as_ref().is_some_and(|repeats| repeats.several_processes);
                storm.repeats = Some(Repeats {
                    last: Box::new(chain.clone()),
                    time: chain.time,
                    count: storm.repeats.as_ref().map_or(1, |repeats| repeats.count + 1),
                    span_ns: at_ns.saturating_sub(storm.told_ns),
                    several_processes: several || storm.pid != pid,
                });
                storm.last_ns = storm.last_ns.max(at_ns);
                false
            }
            _ => {
                self.storms.insert(likeness, Storm { told_ns: at_ns, last_ns: at_ns, pid, repeats: None });
                true
            }
        }
    }

    /// Counts that are due at a time (nanoseconds since boot), oldest first.
    pub(super) fn due(&mut self, now_ns: u64) -> Vec<Repeats> {
        let mut due = Vec::new();
        self.storms.retain(|_, storm| {
            if now_ns.saturating_sub(storm.told_ns) < WINDOW_NS {
                return true;
            }
            if let Some(repeats) = storm.repeats.take() {
                due.push(repeats);
                storm.told_ns = storm.last_ns;
            }
            now_ns.saturating_sub(storm.last_ns) < WINDOW_NS
        });
        due.sort_by_key(|repeats| repeats.last.boot_ns);
        due
    }

    /// All counts that were not told yet.
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

    /// Check that a storm is told at once, then by its count once a second, and again when it comes back.
    #[test]
    fn repeats_are_counted() {
        let mut fold = Fold::default();
        let mut told = Vec::new();
        let mut counts = Vec::new();
        for number in 0..25 {
            let now_ns = number * 100_000_000;
            counts.extend(fold.due(now_ns).iter().map(|repeats| (now_ns, repeats.count, repeats.span_ns)));
            if fold.tells(&at(samples::not_found(), now_ns, 800)) {
                told.push(now_ns);
            }
        }
        assert_eq!(told, [0]);
        assert_eq!(counts, [(1_000_000_000, 9, 900_000_000), (1_900_000_000, 9, 900_000_000)]);
        let rest = fold.rest();
        assert_eq!((rest[0].count, rest[0].several_processes), (6, false));
        assert!(fold.tells(&at(samples::not_found(), 9_000_000_000, 800)), "a storm that is over is over");
    }

    /// Check that chains that differ in who asked, for what or how it ended are told each.
    #[test]
    fn what_differs_is_told() {
        let mut fold = Fold::default();
        assert!(fold.tells(&at(samples::not_found(), 1, 800)));
        assert!(fold.tells(&at(samples::outage(), 2, 557)));
        let mut other_user = at(samples::not_found(), 3, 800);
        other_user.request.as_mut().unwrap().process.uid = 1001;
        assert!(fold.tells(&other_user));
        let mut other_end = at(samples::not_found(), 4, 800);
        other_end.result.as_mut().unwrap().status = crate::event::Status::Denied;
        assert!(fold.tells(&other_end));
        assert!(!fold.tells(&at(samples::not_found(), 5, 801)));
        assert!(fold.rest()[0].several_processes);
    }

    /// Check that a chain with others in it is never folded away.
    #[test]
    fn trees_are_told() {
        let mut fold = Fold::default();
        assert!(fold.tells(&at(samples::nested(), 1, 700)));
        assert!(fold.tells(&at(samples::nested(), 2, 700)));
    }
}
