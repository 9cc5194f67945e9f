//! Who loaded what: one cell for each combination of module, program, user, place and host.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{
    names::{NameId, Names},
    who::{Program, Who},
};
use crate::event::Status;

/// Combinations that are kept apart; an unprivileged user can make up as many as there are aliases.
const CELLS_LIMIT: usize = 1 << 16;

/// What a cell is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Kind {
    /// A module that arrived, or could not be loaded.
    Module,
    /// An alias that was asked for and brought no module of its own.
    Alias,
    /// More than is kept apart.
    Others,
}

/// A module or an alias.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub struct What {
    /// Which of the two.
    pub kind: Kind,
    /// Its name.
    pub name: NameId,
}

/// Who is behind it, as numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WhoIds {
    /// The kind of program, as [`Program::parts`] gives it.
    pub(super) program_kind: u8,
    pub(super) program: NameId,
    pub(super) user: NameId,
    pub(super) unit: NameId,
    pub(super) container: NameId,
}

impl WhoIds {
    pub(super) fn new(who: &Who<'_>, names: &mut Names) -> Self {
        let (program_kind, program) = who.program.parts();
        Self {
            program_kind,
            program: names.id(program),
            user: names.optional(who.user.as_deref()),
            unit: names.optional(who.unit.as_deref()),
            container: names.optional(who.container.as_deref()),
        }
    }

    /// The program.
    #[must_use]
    pub fn program<'a>(&self, names: &'a Names) -> Program<'a> {
        Program::from_parts(self.program_kind, names.name(self.program))
    }
}

/// What makes a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct CellKey {
    /// The module or alias.
    pub what: What,
    /// Who is behind it.
    pub who: WhoIds,
    /// The machine.
    pub host: NameId,
}

/// One load, or one request that brought no module of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fact {
    /// Where it counts.
    pub key: CellKey,
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
pub struct Tally {
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

impl Default for Tally {
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

impl Tally {
    fn add(&mut self, fact: &Fact) {
        self.count += 1;
        self.requests += u64::from(fact.is_request);
        self.loads += u64::from(fact.key.what.kind == Kind::Module);
        if let Some(count) = self.statuses.get_mut(fact.status as usize) {
            *count += 1;
        }
        if let Some(ns) = fact.blocked_ns {
            self.blocked_ns = self.blocked_ns.saturating_add(ns);
            self.blocked_max_ns = self.blocked_max_ns.max(ns);
            self.blocked_count += 1;
        }
        self.first_ns = self.first_ns.min(fact.time_ns);
        self.last_ns = self.last_ns.max(fact.time_ns);
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
pub struct Cells {
    cells: HashMap<CellKey, Tally>,
    limit: usize,
    /// Modules that were there before tracing began, by host.
    baseline: HashSet<(NameId, NameId)>,
}

impl Default for Cells {
    fn default() -> Self {
        Self::with_limit(CELLS_LIMIT)
    }
}

impl Cells {
    pub(super) fn with_limit(limit: usize) -> Self {
        Self { cells: HashMap::new(), limit, baseline: HashSet::new() }
    }

    /// Counts a fact. True when it is the first of its cell.
    pub fn add(&mut self, fact: &Fact) -> bool {
        if let Some(tally) = self.cells.get_mut(&fact.key) {
            tally.add(fact);
            return false;
        }
        let full = self.cells.len() >= self.limit;
        let key = if full { CellKey { what: OTHERS, who: NOBODY, ..fact.key } } else { fact.key };
        self.cells.entry(key).or_default().add(fact);
        !full
    }

    /// When what a fact counts for came first; the time of the fact itself where it is not kept apart.
    #[must_use]
    pub fn first_ns(&self, fact: &Fact) -> i64 {
        self.cells.get(&fact.key).map_or(fact.time_ns, |tally| tally.first_ns)
    }

    /// A module was there before tracing began on a host.
    pub fn add_baseline(&mut self, host: NameId, module: NameId) {
        if self.baseline.len() < CELLS_LIMIT {
            self.baseline.insert((host, module));
        }
    }

    /// The cells, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&CellKey, &Tally)> {
        self.cells.iter()
    }

    /// When each module or alias came first on each host; `i64::MIN` for what was there before.
    #[must_use]
    pub fn first_of_each(&self) -> BTreeMap<(NameId, What), i64> {
        let mut firsts = BTreeMap::new();
        for (key, tally) in &self.cells {
            let first = firsts.entry((key.host, key.what)).or_insert(i64::MAX);
            *first = tally.first_ns.min(*first);
        }
        for (host, module) in &self.baseline {
            firsts.insert((*host, What { kind: Kind::Module, name: *module }), i64::MIN);
        }
        firsts
    }
}

const OTHERS: What = What { kind: Kind::Others, name: NameId::OTHERS };

const NOBODY: WhoIds = WhoIds {
    program_kind: b'u',
    program: NameId::OTHERS,
    user: NameId::OTHERS,
    unit: NameId::OTHERS,
    container: NameId::OTHERS,
};

#[cfg(test)]
mod tests {
    use super::{CellKey, Cells, Fact, Kind, NOBODY, What};
    use crate::{event::Status, report::names::Names};

    /// Check that facts of a kind are counted together, and that there is a limit to kinds but not to counts.
    #[test]
    fn facts_are_counted_within_the_limit() {
        let mut names = Names::default();
        let mut cells = Cells::with_limit(2);
        let host = names.id(b"lb1");
        let mut add = |name: &[u8], time_ns, status, blocked_ns: Option<u64>| {
            let what = What { kind: Kind::Module, name: names.id(name) };
            let key = CellKey { what, who: NOBODY, host };
            cells.add(&Fact { key, time_ns, status, is_request: blocked_ns.is_some(), blocked_ns })
        };
        assert!(add(b"a", 7, Status::Loaded, Some(5)));
        assert!(!add(b"a", 3, Status::Failed, Some(6)));
        assert!(add(b"b", 4, Status::Loaded, None));
        assert!(!add(b"c", 5, Status::Loaded, None));
        assert!(!add(b"d", 6, Status::Loaded, None));
        let mut counts: Vec<_> = cells.iter().map(|(key, tally)| (key.what.kind, *tally)).collect();
        counts.sort_by_key(|(kind, tally)| (*kind, tally.first_ns));
        assert_eq!(counts.len(), 3);
        let (_, a) = counts[0];
        assert_eq!((a.count, a.first_ns, a.last_ns, a.blocked_ns, a.blocked_max_ns), (2, 3, 7, 11, 6));
        assert_eq!(a.statuses().collect::<Vec<_>>(), [(Status::Loaded, 1), (Status::Failed, 1)]);
        assert_eq!((counts[2].0, counts[2].1.count), (Kind::Others, 2));
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
