//! Who loaded what: one cell for each combination of module, program, user, place and host.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{
    interner::{Interner, NameId},
    requester::{Program, Requester},
};
use crate::event::Status;

/// Combinations that are kept apart; an unprivileged user can make up as many as there are aliases.
const GROUPS_LIMIT: usize = 1 << 16;

/// What a cell is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Kind {
    /// A module that arrived, or could not be loaded.
    Module,
    /// An alias that was asked for and brought no module of its own.
    Alias,
    /// More than is kept apart.
    Overflow,
}

/// A module or an alias.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Subject {
    /// Which of the two.
    pub kind: Kind,
    /// Its name.
    pub name: NameId,
}

/// Who is behind it, as numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequesterIds {
    /// The kind of program, as [`Program::parts`] gives it.
    pub(super) program_kind: u8,
    pub(super) program: NameId,
    pub(super) user: NameId,
    pub(super) unit: NameId,
    pub(super) container: NameId,
}

impl RequesterIds {
    pub(super) fn new(requester: &Requester<'_>, names: &mut Interner) -> Self {
        let (program_kind, program) = requester.program.parts();
        Self {
            program_kind,
            program: names.id(program),
            user: names.optional(requester.user.as_deref()),
            unit: names.optional(requester.unit.as_deref()),
            container: names.optional(requester.container.as_deref()),
        }
    }

    /// The program.
    #[must_use]
    pub fn program<'a>(&self, names: &'a Interner) -> Program<'a> {
        Program::from_parts(self.program_kind, names.name(self.program))
    }
}

/// What makes a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct GroupKey {
    /// The module or alias.
    pub subject: Subject,
    /// Who is behind it.
    pub requester: RequesterIds,
    /// The machine.
    pub host: NameId,
}

/// One load, or one request that brought no module of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Observation {
    /// Where it counts.
    pub key: GroupKey,
    /// When it was asked for: nanoseconds since 1970.
    pub time_ns: i64,
    /// How it ended.
    pub status: Status,
    /// It stands for its request: of the facts of a request one does.
    pub is_request: bool,
    /// How long a process was blocked by it; absent for what came along, and for nobody who waits.
    pub blocked_ns: Option<u64>,
}

/// Counts of a cell, or of several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats {
    /// How often.
    pub count: u64,
    /// Requests of the kernel.
    pub requests: u64,
    /// Modules that arrived, or that somebody tried to load.
    pub loads: u64,
    /// How it ended, in order of [`Status::ALL`].
    statuses: [u64; Status::ALL.len()],
    /// Time that processes were blocked, in all.
    pub blocked_ns: u64,
    /// The longest of it.
    pub blocked_max_ns: u64,
    /// How often somebody was blocked.
    pub blocked_count: u64,
    /// First time.
    pub first_ns: i64,
    /// Last time.
    pub last_ns: i64,
}

impl Default for Stats {
    fn default() -> Self {
        Self {
            count: 0,
            requests: 0,
            loads: 0,
            statuses: [0; Status::ALL.len()],
            blocked_ns: 0,
            blocked_max_ns: 0,
            blocked_count: 0,
            first_ns: i64::MAX,
            last_ns: i64::MIN,
        }
    }
}

impl Stats {
    fn add(&mut self, observation: &Observation) {
        self.count += 1;
        self.requests += u64::from(observation.is_request);
        self.loads += u64::from(observation.key.subject.kind == Kind::Module);
        if let Some(count) = self.statuses.get_mut(observation.status as usize) {
            *count += 1;
        }
        if let Some(ns) = observation.blocked_ns {
            self.blocked_ns = self.blocked_ns.saturating_add(ns);
            self.blocked_max_ns = self.blocked_max_ns.max(ns);
            self.blocked_count += 1;
        }
        self.first_ns = self.first_ns.min(observation.time_ns);
        self.last_ns = self.last_ns.max(observation.time_ns);
    }

    /// Adds another's counts.
    pub fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.requests += other.requests;
        self.loads += other.loads;
        for (own, more) in self.statuses.iter_mut().zip(other.statuses) {
            *own += more;
        }
        self.blocked_ns = self.blocked_ns.saturating_add(other.blocked_ns);
        self.blocked_max_ns = self.blocked_max_ns.max(other.blocked_max_ns);
        self.blocked_count += other.blocked_count;
        self.first_ns = self.first_ns.min(other.first_ns);
        self.last_ns = self.last_ns.max(other.last_ns);
    }

    /// How it ended and how often, without what never happened.
    pub fn statuses(&self) -> impl Iterator<Item = (Status, u64)> {
        Status::ALL.into_iter().zip(self.statuses).filter(|(_, count)| *count > 0)
    }
}

/// All cells.
#[derive(Debug)]
pub struct Aggregates {
    groups: HashMap<GroupKey, Stats>,
    limit: usize,
    /// Modules that were there before tracing began, by host.
    baseline: HashSet<(NameId, NameId)>,
}

impl Default for Aggregates {
    fn default() -> Self {
        Self::with_limit(GROUPS_LIMIT)
    }
}

impl Aggregates {
    pub(super) fn with_limit(limit: usize) -> Self {
        Self { groups: HashMap::new(), limit, baseline: HashSet::new() }
    }

    /// Counts a fact. True when it is the first of its cell.
    pub fn add(&mut self, observation: &Observation) -> bool {
        if let Some(stats) = self.groups.get_mut(&observation.key) {
            stats.add(observation);
            return false;
        }
        let full = self.groups.len() >= self.limit;
        let key = if full {
            GroupKey { subject: OVERFLOW, requester: OVERFLOW_REQUESTER, ..observation.key }
        } else {
            observation.key
        };
        self.groups.entry(key).or_default().add(observation);
        !full
    }

    /// When what a fact counts for came first; the time of the fact itself where it is not kept apart.
    #[must_use]
    pub fn first_ns(&self, observation: &Observation) -> i64 {
        self.groups.get(&observation.key).map_or(observation.time_ns, |stats| stats.first_ns)
    }

    /// A module was there before tracing began on a host.
    pub fn add_baseline(&mut self, host: NameId, module: NameId) {
        if self.baseline.len() < GROUPS_LIMIT {
            self.baseline.insert((host, module));
        }
    }

    /// The cells, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&GroupKey, &Stats)> {
        self.groups.iter()
    }

    /// When each module or alias came first on each host; `i64::MIN` for what was there before.
    #[must_use]
    pub fn first_of_each(&self) -> BTreeMap<(NameId, Subject), i64> {
        let mut firsts = BTreeMap::new();
        for (key, stats) in &self.groups {
            let first = firsts.entry((key.host, key.subject)).or_insert(i64::MAX);
            *first = stats.first_ns.min(*first);
        }
        for (host, module) in &self.baseline {
            firsts.insert((*host, Subject { kind: Kind::Module, name: *module }), i64::MIN);
        }
        firsts
    }
}

const OVERFLOW: Subject = Subject { kind: Kind::Overflow, name: NameId::OVERFLOW };

const OVERFLOW_REQUESTER: RequesterIds = RequesterIds {
    program_kind: b'u',
    program: NameId::OVERFLOW,
    user: NameId::OVERFLOW,
    unit: NameId::OVERFLOW,
    container: NameId::OVERFLOW,
};

#[cfg(test)]
mod tests {
    use super::{Aggregates, GroupKey, Kind, OVERFLOW_REQUESTER, Observation, Subject};
    use crate::{event::Status, report::interner::Interner};

    /// Check that facts of a kind are counted together, and that there is a limit to kinds but not to counts.
    #[test]
    fn facts_are_counted_within_the_limit() {
        let mut names = Interner::default();
        let mut aggregates = Aggregates::with_limit(2);
        let host = names.id(b"lb1");
        let mut add = |name: &[u8], time_ns, status, blocked_ns: Option<u64>| {
            let subject = Subject { kind: Kind::Module, name: names.id(name) };
            let key = GroupKey { subject, requester: OVERFLOW_REQUESTER, host };
            aggregates.add(&Observation { key, time_ns, status, is_request: blocked_ns.is_some(), blocked_ns })
        };
        assert!(add(b"a", 7, Status::Loaded, Some(5)));
        assert!(!add(b"a", 3, Status::Failed, Some(6)));
        assert!(add(b"b", 4, Status::Loaded, None));
        assert!(!add(b"c", 5, Status::Loaded, None));
        assert!(!add(b"d", 6, Status::Loaded, None));
        let mut counts: Vec<_> = aggregates.iter().map(|(key, stats)| (key.subject.kind, *stats)).collect();
        counts.sort_by_key(|(kind, stats)| (*kind, stats.first_ns));
        assert_eq!(counts.len(), 3);
        let (_, a) = counts[0];
        assert_eq!((a.count, a.first_ns, a.last_ns, a.blocked_ns, a.blocked_max_ns), (2, 3, 7, 11, 6));
        assert_eq!(a.statuses().collect::<Vec<_>>(), [(Status::Loaded, 1), (Status::Failed, 1)]);
        assert_eq!((counts[2].0, counts[2].1.count), (Kind::Overflow, 2));
        assert_eq!((a.requests, a.loads), (2, 2));
    }

    /// Check that the position of a status is its place in the list.
    #[test]
    fn statuses_are_in_order() {
        for (place, status) in Status::ALL.into_iter().enumerate() {
            assert_eq!(status as usize, place);
        }
    }
}
