//! The aggregation table: one group for each combination of module, program, user, unit, container and host.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{
    interner::{Interner, NameId},
    requester::{Program, Requester},
};
use crate::event::Status;

/// Maximum number of groups. Aliases are chosen by unprivileged users, so the number of combinations is unbounded.
const GROUPS_LIMIT: usize = 1 << 16;

/// The kind of a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Kind {
    /// A module that arrived or failed to load.
    Module,
    /// A requested alias that loaded no module of its own.
    Alias,
    /// Everything beyond the limit.
    Overflow,
}

/// A module or an alias.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Subject {
    /// Module or alias.
    pub kind: Kind,
    /// Its name.
    pub name: NameId,
}

/// A requester as interned names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequesterIds {
    /// The kind of program, as returned by [`Program::parts`].
    pub(super) program_kind: u8,
    pub(super) program: NameId,
    pub(super) user: NameId,
    pub(super) login: NameId,
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
            login: names.optional(requester.login.as_deref()),
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

/// The key of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct GroupKey {
    /// The module or alias.
    pub subject: Subject,
    /// The requester.
    pub requester: RequesterIds,
    /// The machine.
    pub host: NameId,
}

/// One load, or one request that loaded no module of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Observation {
    /// Its group.
    pub key: GroupKey,
    /// Time of the request: nanoseconds since 1970.
    pub time_ns: i64,
    /// The outcome.
    pub status: Status,
    /// It represents its request; exactly one observation of a request does.
    pub is_request: bool,
    /// How long the requester was blocked; absent for dependencies and for requests without a waiting process.
    pub blocked_ns: Option<u64>,
}

/// Statistics of one or several groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Number of observations.
    pub count: u64,
    /// Number of kernel requests.
    pub requests: u64,
    /// Number of loads, including failed ones.
    pub loads: u64,
    /// Number of each outcome, in the order of [`Status::ALL`].
    statuses: [u64; Status::ALL.len()],
    /// Total time that processes were blocked.
    pub blocked_ns: u64,
    /// Longest time that a process was blocked.
    pub blocked_max_ns: u64,
    /// Number of observations with a blocked process.
    pub blocked_count: u64,
    /// Time of the first observation.
    pub first_ns: i64,
    /// Time of the last observation.
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

    /// Merges other statistics into these.
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

    /// The outcomes that occurred, with their counts.
    pub fn statuses(&self) -> impl Iterator<Item = (Status, u64)> {
        Status::ALL.into_iter().zip(self.statuses).filter(|(_, count)| *count > 0)
    }
}

/// All groups.
#[derive(Debug)]
pub struct Aggregates {
    groups: HashMap<GroupKey, Stats>,
    limit: usize,
    /// Modules that were loaded before tracing began, by host.
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

    /// Counts an observation and returns whether it is the first of its group.
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

    /// Time of the first observation of the same group; the observation's own time if its group is in the overflow.
    #[must_use]
    pub fn first_ns(&self, observation: &Observation) -> i64 {
        self.groups.get(&observation.key).map_or(observation.time_ns, |stats| stats.first_ns)
    }

    /// Records that a module was loaded on a host before tracing began.
    pub fn add_baseline(&mut self, host: NameId, module: NameId) {
        if self.baseline.len() < GROUPS_LIMIT {
            self.baseline.insert((host, module));
        }
    }

    /// The groups, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (&GroupKey, &Stats)> {
        self.groups.iter()
    }

    /// Time of the first observation of each module or alias on each host; `i64::MIN` for baseline modules.
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
    login: NameId::OVERFLOW,
    unit: NameId::OVERFLOW,
    container: NameId::OVERFLOW,
};

#[cfg(test)]
mod tests {
    use super::{Aggregates, GroupKey, Kind, OVERFLOW_REQUESTER, Observation, Subject};
    use crate::{event::Status, report::interner::Interner};

    /// Observations beyond the limit of groups are counted in the overflow group.
    #[test]
    fn observations_beyond_limit_count_as_overflow() {
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

    /// The discriminant of a status is its index in `Status::ALL`.
    #[test]
    fn status_discriminant_is_its_index() {
        for (place, status) in Status::ALL.into_iter().enumerate() {
            assert_eq!(status as usize, place);
        }
    }
}
