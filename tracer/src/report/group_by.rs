//! Cells as rows: one for each combination, or rolled up by one of its parts.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap, HashSet},
};

use super::{
    cells::{CellKey, Kind, Tally, What},
    engine::Whole,
    names::{NameId, Ranks},
};

/// What rows are rolled up by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum By {
    /// Module, or alias where none came.
    Module,
    /// Program.
    Exe,
    /// User.
    User,
    /// Systemd unit.
    Unit,
    /// Container.
    Container,
    /// Machine.
    Host,
}

/// The order of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Sort {
    /// By name.
    Name,
    /// Most often first.
    Count,
    /// Earliest first time first.
    First,
    /// Latest last time first.
    Last,
    /// Longest blocked first.
    Blocked,
}

/// What is new of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum New {
    /// The part that rows are about: the module or alias on this host, or what rows are rolled up by.
    Part(By),
    /// A combination: that this requester brings this module.
    Requester,
}

impl New {
    /// Its public name.
    #[must_use]
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Part(By::Module) => "module",
            Self::Part(By::Exe) => "program",
            Self::Part(By::User) => "user",
            Self::Part(By::Unit) => "unit",
            Self::Part(By::Container) => "container",
            Self::Part(By::Host) => "host",
            Self::Requester => "requester",
        }
    }
}

/// How much of a combination a table shows: what it does not show does not make rows apart, since they would look alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// All of it.
    All,
    /// The container, or the unit where there is none.
    Place,
    /// Neither of them.
    NoPlace,
}

impl Shown {
    const fn of(self, mut key: CellKey) -> CellKey {
        let has_container = !matches!(key.who.container, NameId::NONE);
        if matches!(self, Self::NoPlace) {
            key.who.container = NameId::NONE;
        }
        if matches!(self, Self::NoPlace) || (matches!(self, Self::Place) && has_container) {
            key.who.unit = NameId::NONE;
        }
        key
    }
}

/// A combination.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    /// The combination.
    pub key: CellKey,
    /// Its counts.
    pub tally: Tally,
    /// What is new since the time that was asked for.
    pub new: Option<New>,
}

/// Combinations that share a part.
#[derive(Clone, Debug)]
pub(super) struct Group {
    /// One of its combinations: the shared part is the same in all.
    pub key: CellKey,
    /// Counts of all.
    pub tally: Tally,
    /// The other parts, most frequent first: modules, or programs where the modules are what is shared.
    pub others: Vec<(CellKey, u64)>,
    /// The hosts they are of, in order of their names.
    pub hosts: Vec<NameId>,
    /// What is new since the time that was asked for.
    pub new: Option<New>,
}

/// The part by which combinations are rolled up: equal parts are equal, and they sort by name.
type Part = (usize, u8);

/// What is new since a time.
struct Fresh {
    since_ns: i64,
    firsts: BTreeMap<(NameId, What), i64>,
}

impl Fresh {
    fn new(whole: &Whole<'_>) -> Option<Self> {
        whole.plan.new_since_ns.map(|since_ns| Self { since_ns, firsts: whole.cells.first_of_each() })
    }

    /// Whether a module or alias was never seen before on its host.
    fn is_module_new(&self, key: &CellKey) -> bool {
        self.firsts.get(&(key.host, key.what)).is_none_or(|first_ns| *first_ns >= self.since_ns)
    }

    fn of(&self, key: &CellKey, tally: &Tally) -> Option<New> {
        let new = if self.is_module_new(key) { New::Part(By::Module) } else { New::Requester };
        (tally.first_ns >= self.since_ns).then_some(new)
    }
}

/// All combinations that are wanted, as far as they are shown. Those of a module stand together.
#[must_use]
pub(super) fn rows(whole: &Whole<'_>, sort: Sort, shown: Shown) -> Vec<Row> {
    let fresh = Fresh::new(whole);
    let mut tallies: HashMap<(CellKey, Option<New>), Tally> = HashMap::new();
    let mut of_what: HashMap<What, Tally> = HashMap::new();
    for (key, tally) in whole.cells.iter() {
        let new = fresh.as_ref().and_then(|fresh| fresh.of(key, tally));
        if fresh.is_none() || new.is_some() {
            tallies.entry((shown.of(*key), new)).or_default().merge(tally);
            of_what.entry(key.what).or_default().merge(tally);
        }
    }
    let ranks = whole.names.ranks();
    let mut rows: Vec<Row> = tallies.into_iter().map(|((key, new), tally)| Row { key, tally, new }).collect();
    rows.sort_by_cached_key(|row| {
        let rank = of_what.get(&row.key.what).map(|tally| metric(tally, sort, By::Module));
        let name = (row.key.what.kind, ranks.of(row.key.what.name));
        (rank, name, metric(&row.tally, sort, By::Module), parts(&row.key, &ranks), row.new.map(New::name))
    });
    rows
}

/// All combinations rolled up. Where only what is new is wanted: of modules those that are new on a host, with the hosts
/// on which they are; of all else what it brought for the first time.
#[must_use]
pub(super) fn groups(whole: &Whole<'_>, by: By, sort: Sort) -> Vec<Group> {
    let ranks = whole.names.ranks();
    let fresh = Fresh::new(whole);
    let mut groups: BTreeMap<Part, Group> = BTreeMap::new();
    let mut known: HashSet<Part> = HashSet::new();
    for (key, tally) in whole.cells.iter() {
        let part = shared(key, by, &ranks);
        let is_wanted = match &fresh {
            None => true,
            Some(fresh) if by == By::Module => fresh.is_module_new(key),
            Some(fresh) => tally.first_ns >= fresh.since_ns,
        };
        if !is_wanted {
            known.insert(part);
            continue;
        }
        let group = groups.entry(part).or_insert_with(|| Group {
            key: *key,
            tally: Tally::default(),
            others: Vec::new(),
            hosts: Vec::new(),
            new: None,
        });
        group.tally.merge(tally);
        group.others.push((*key, tally.count));
    }
    let mut groups: Vec<(Part, Group)> = groups.into_iter().collect();
    for (part, group) in &mut groups {
        group.hosts = group.others.iter().map(|(key, _)| key.host).collect();
        group.hosts.sort_unstable_by_key(|host| ranks.of(*host));
        group.hosts.dedup();
        group.others = ranked(&group.others, by, &ranks);
        let is_known = by != By::Module && known.contains(part);
        group.new = fresh.as_ref().map(|_| if is_known { New::Requester } else { New::Part(by) });
    }
    groups.sort_by_key(|(part, group)| (metric(&group.tally, sort, by), *part));
    groups.into_iter().map(|(_, group)| group).collect()
}

/// The other part of each combination, once each, with its count, most frequent first.
fn ranked(members: &[(CellKey, u64)], by: By, ranks: &Ranks) -> Vec<(CellKey, u64)> {
    let other = if by == By::Module { By::Exe } else { By::Module };
    let mut counts: BTreeMap<Part, (CellKey, u64)> = BTreeMap::new();
    for (key, count) in members {
        counts.entry(shared(key, other, ranks)).or_insert((*key, 0)).1 += count;
    }
    let mut ranked: Vec<(CellKey, u64)> = counts.into_values().collect();
    ranked.sort_by_key(|(_, count)| Reverse(*count));
    ranked
}

/// Smaller comes first. A module is loaded some times; a program, a user or a machine makes requests and loads.
fn metric(tally: &Tally, sort: Sort, by: By) -> (i64, i64) {
    let most_first = |number: u64| i64::try_from(number).unwrap_or(i64::MAX).saturating_neg();
    let one = |number| (number, 0);
    match sort {
        Sort::Name => one(0),
        Sort::Count if by == By::Module => one(most_first(tally.count)),
        Sort::Count => (most_first(tally.requests), most_first(tally.loads)),
        Sort::First => one(tally.first_ns),
        Sort::Last => one(tally.last_ns.saturating_neg()),
        Sort::Blocked => one(most_first(tally.blocked_ns)),
    }
}

fn shared(key: &CellKey, by: By, ranks: &Ranks) -> Part {
    let named = |id: NameId, mark: u8| (ranks.of(id), mark);
    match by {
        By::Module => named(
            key.what.name,
            match key.what.kind {
                Kind::Module => 0,
                Kind::Alias => 1,
                Kind::Others => 2,
            },
        ),
        By::Exe => named(key.who.program, key.who.program_kind),
        By::User => named(key.who.user, 0),
        By::Unit => named(key.who.unit, 0),
        By::Container => named(key.who.container, 0),
        By::Host => named(key.host, 0),
    }
}

fn parts(key: &CellKey, ranks: &Ranks) -> [Part; 5] {
    [By::Exe, By::User, By::Unit, By::Container, By::Host].map(|by| shared(key, by, ranks))
}

#[cfg(test)]
mod tests {
    use super::{By, New, Shown, Sort, groups, rows};
    use crate::{
        chain::growth::is_linear,
        event::Status,
        report::{
            Cells, Names, Plan, Whole,
            cells::{CellKey, Fact, Kind, What, WhoIds},
        },
    };

    /// What was counted of facts: host, module, program, unit, time.
    #[derive(Default)]
    struct Counted {
        names: Names,
        cells: Cells,
    }

    impl Counted {
        fn add(&mut self, [host, module, program, unit]: [&str; 4], time_ns: i64) {
            let mut id = |name: &str| self.names.id(name.as_bytes());
            let what = What { kind: Kind::Module, name: id(module) };
            let [program, user, unit, host] = [id(program), id("root"), id(unit), id(host)];
            let container = super::NameId::NONE;
            let who = WhoIds { program_kind: b'p', program, user, unit, container };
            let key = CellKey { what, who, host };
            self.cells.add(&Fact { key, time_ns, status: Status::Loaded, is_request: true, blocked_ns: None });
        }

        fn groups(&self, by: By, new_since_ns: Option<i64>) -> Vec<(String, u64, Option<New>, usize)> {
            let plan = Plan { new_since_ns, ..Plan::default() };
            let whole = Whole { cells: &self.cells, names: &self.names, streams: &[], plan: &plan };
            let shown = |group: &super::Group| crate::report::words::shared(&group.key, by, &self.names);
            let told = |group: &super::Group| (shown(group), group.tally.count, group.new, group.hosts.len());
            groups(&whole, by, Sort::First).iter().map(told).collect()
        }

        fn rows(&self, shown: Shown) -> Vec<u64> {
            let plan = Plan::default();
            let whole = Whole { cells: &self.cells, names: &self.names, streams: &[], plan: &plan };
            rows(&whole, Sort::First, shown).iter().map(|row| row.tally.count).collect()
        }
    }

    /// Check that a module that is new on one host is shown, though another one knows it, and with that host's counts alone.
    #[test]
    fn what_is_new_on_one_host_is_shown() {
        let mut counted = Counted::default();
        counted.add(["h1", "tipc", "/a", "u"], 10);
        counted.add(["h1", "tipc", "/b", "u"], 25);
        counted.add(["h2", "tipc", "/a", "u"], 30);
        counted.add(["h2", "xfs", "/a", "u"], 5);
        let module = Some(New::Part(By::Module));
        assert_eq!(counted.groups(By::Module, Some(20)), [("tipc".to_owned(), 1, module, 1)]);
        let h2 = counted.names.id(b"h2");
        let tipc = counted.names.id(b"tipc");
        counted.cells.add_baseline(h2, tipc);
        assert_eq!(counted.groups(By::Module, Some(20)), []);
    }

    /// Check that a program, user or host that is known shows what it does for the first time, and nothing else.
    #[test]
    fn new_deeds_of_known_ones_are_shown() {
        let mut counted = Counted::default();
        counted.add(["h", "xfs", "/a", "u"], 10);
        counted.add(["h", "xfs", "/a", "u"], 30);
        counted.add(["h", "tipc", "/a", "u"], 31);
        counted.add(["h", "sctp", "/b", "u"], 32);
        let program = Some(New::Part(By::Exe));
        assert_eq!(
            counted.groups(By::Exe, Some(20)),
            [("/a".to_owned(), 1, Some(New::Requester), 1), ("/b".to_owned(), 1, program, 1)]
        );
        assert_eq!(counted.groups(By::User, Some(20)), [("root".to_owned(), 2, Some(New::Requester), 1)]);
        assert_eq!(counted.groups(By::User, None), [("root".to_owned(), 4, None, 1)]);
    }

    /// Check that rows that differ in what is not shown are one.
    #[test]
    fn what_looks_the_same_is_merged() {
        let mut counted = Counted::default();
        for unit in ["u1", "u2", "u1"] {
            counted.add(["h", "xfs", "/a", unit], 10);
        }
        assert_eq!(counted.rows(Shown::All), [2, 1]);
        assert_eq!(counted.rows(Shown::Place), [2, 1]);
        assert_eq!(counted.rows(Shown::NoPlace), [3]);
    }

    /// Check that what is new is found in time that grows with the number of modules.
    #[test]
    fn finding_what_is_new_is_linear() {
        let make = |modules: usize| {
            let mut counted = Counted::default();
            for number in 0..modules {
                counted.add(["h", &format!("m{number}"), "/a", "u"], 30);
            }
            (counted, modules)
        };
        is_linear("new modules", 5_000, make, |(counted, modules)| {
            assert_eq!(counted.groups(By::Module, Some(20)).len(), modules);
        });
    }
}
