//! Groups as sorted rows: one for each combination, or grouped by one field.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap, HashSet},
};

use super::{
    aggregates::{GroupKey, Kind, Stats, Subject},
    interner::{NameId, Ranks},
    query::ReportData,
};

/// The field that rows are grouped by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum By {
    /// Module, or alias if no module was loaded.
    Module,
    /// Program.
    Exe,
    /// User.
    User,
    /// User who logged in.
    Login,
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
    /// Most frequent first.
    Count,
    /// By the first observation, earliest first.
    First,
    /// By the last observation, latest first.
    Last,
    /// By the total blocked time, longest first.
    Blocked,
}

/// What is new about a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum New {
    /// The subject: the module or alias on this host, or the value of the group-by field.
    Part(By),
    /// The combination of this requester and this module.
    Requester,
}

impl New {
    /// Its name in the output.
    #[must_use]
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Part(By::Module) => "module",
            Self::Part(By::Exe) => "program",
            Self::Part(By::User) => "user",
            Self::Part(By::Login) => "login",
            Self::Part(By::Unit) => "unit",
            Self::Part(By::Container) => "container",
            Self::Part(By::Host) => "host",
            Self::Requester => "requester",
        }
    }
}

/// The fields that a table shows. Rows that differ only in hidden fields are merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shown {
    /// Container and unit.
    pub place: Place,
    /// The user who logged in.
    pub login: bool,
}

/// How much of container and unit is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Both.
    Both,
    /// The container, or the unit if there is none.
    One,
    /// Neither.
    None,
}

impl Shown {
    /// All fields.
    pub(super) const ALL: Self = Self { place: Place::Both, login: true };

    const fn of(self, mut key: GroupKey) -> GroupKey {
        let has_container = !matches!(key.requester.container, NameId::NONE);
        if matches!(self.place, Place::None) {
            key.requester.container = NameId::NONE;
        }
        if matches!(self.place, Place::None) || (matches!(self.place, Place::One) && has_container) {
            key.requester.unit = NameId::NONE;
        }
        if !self.login {
            key.requester.login = NameId::NONE;
        }
        key
    }
}

/// A combination.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    /// The combination.
    pub key: GroupKey,
    /// Its statistics.
    pub stats: Stats,
    /// What is new since the requested time.
    pub new: Option<New>,
}

/// Combinations with the same value of the group-by field.
#[derive(Clone, Debug)]
pub(super) struct Group {
    /// One of its combinations.
    pub key: GroupKey,
    /// Statistics of all its combinations.
    pub stats: Stats,
    /// Modules of the group (or programs, if grouped by module), most frequent first.
    pub others: Vec<(GroupKey, u64)>,
    /// Their hosts, sorted by name.
    pub hosts: Vec<NameId>,
    /// What is new since the requested time.
    pub new: Option<New>,
}

/// The sort key of a group-by value: the rank of its name and a kind.
type Part = (usize, u8);

/// Determines what is new since a time.
struct Fresh {
    since_ns: i64,
    firsts: BTreeMap<(NameId, Subject), i64>,
}

impl Fresh {
    fn new(data: &ReportData<'_>) -> Option<Self> {
        data.query.new_since_ns.map(|since_ns| Self { since_ns, firsts: data.aggregates.first_of_each() })
    }

    /// Returns whether a module or alias was not seen before on its host.
    fn is_module_new(&self, key: &GroupKey) -> bool {
        self.firsts.get(&(key.host, key.subject)).is_none_or(|first_ns| *first_ns >= self.since_ns)
    }

    fn of(&self, key: &GroupKey, stats: &Stats) -> Option<New> {
        let new = if self.is_module_new(key) { New::Part(By::Module) } else { New::Requester };
        (stats.first_ns >= self.since_ns).then_some(new)
    }
}

/// All selected combinations, merged by the shown fields. Those of one module are adjacent.
#[must_use]
pub(super) fn rows(data: &ReportData<'_>, sort: Sort, shown: Shown) -> Vec<Row> {
    let fresh = Fresh::new(data);
    let mut combined: HashMap<(GroupKey, Option<New>), Stats> = HashMap::new();
    let mut by_subject: HashMap<Subject, Stats> = HashMap::new();
    for (key, stats) in data.aggregates.iter() {
        let new = fresh.as_ref().and_then(|fresh| fresh.of(key, stats));
        if fresh.is_none() || new.is_some() {
            combined.entry((shown.of(*key), new)).or_default().merge(stats);
            by_subject.entry(key.subject).or_default().merge(stats);
        }
    }
    let ranks = data.names.ranks();
    let mut rows: Vec<Row> = combined.into_iter().map(|((key, new), stats)| Row { key, stats, new }).collect();
    rows.sort_by_cached_key(|row| {
        let rank = by_subject.get(&row.key.subject).map(|stats| metric(stats, sort, By::Module));
        let name = (row.key.subject.kind, ranks.of(row.key.subject.name));
        (rank, name, metric(&row.stats, sort, By::Module), parts(&row.key, &ranks), row.new.map(New::name))
    });
    rows
}

/// All combinations, grouped. If only new ones are requested: modules that are new on a host, with these hosts, and for other
/// groups their combinations that occurred for the first time.
#[must_use]
pub(super) fn groups(data: &ReportData<'_>, by: By, sort: Sort) -> Vec<Group> {
    let ranks = data.names.ranks();
    let fresh = Fresh::new(data);
    let mut groups: BTreeMap<Part, Group> = BTreeMap::new();
    let mut known: HashSet<Part> = HashSet::new();
    for (key, stats) in data.aggregates.iter() {
        let part = shared(key, by, &ranks);
        let is_wanted = match &fresh {
            None => true,
            Some(fresh) if by == By::Module => fresh.is_module_new(key),
            Some(fresh) => stats.first_ns >= fresh.since_ns,
        };
        if !is_wanted {
            known.insert(part);
            continue;
        }
        let group = groups.entry(part).or_insert_with(|| Group {
            key: *key,
            stats: Stats::default(),
            others: Vec::new(),
            hosts: Vec::new(),
            new: None,
        });
        group.stats.merge(stats);
        group.others.push((*key, stats.count));
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
    groups.sort_by_key(|(part, group)| (metric(&group.stats, sort, by), *part));
    groups.into_iter().map(|(_, group)| group).collect()
}

/// The distinct values of the other field with their counts, most frequent first.
fn ranked(members: &[(GroupKey, u64)], by: By, ranks: &Ranks) -> Vec<(GroupKey, u64)> {
    let other = if by == By::Module { By::Exe } else { By::Module };
    let mut counts: BTreeMap<Part, (GroupKey, u64)> = BTreeMap::new();
    for (key, count) in members {
        counts.entry(shared(key, other, ranks)).or_insert((*key, 0)).1 += count;
    }
    let mut ranked: Vec<(GroupKey, u64)> = counts.into_values().collect();
    ranked.sort_by_key(|(_, count)| Reverse(*count));
    ranked
}

/// The sort key; smaller sorts first. Modules are counted by observations, requesters by requests and loads.
fn metric(stats: &Stats, sort: Sort, by: By) -> (i64, i64) {
    let most_first = |number: u64| i64::try_from(number).unwrap_or(i64::MAX).saturating_neg();
    let one = |number| (number, 0);
    match sort {
        Sort::Name => one(0),
        Sort::Count if by == By::Module => one(most_first(stats.count)),
        Sort::Count => (most_first(stats.requests), most_first(stats.loads)),
        Sort::First => one(stats.first_ns),
        Sort::Last => one(stats.last_ns.saturating_neg()),
        Sort::Blocked => one(most_first(stats.blocked_ns)),
    }
}

fn shared(key: &GroupKey, by: By, ranks: &Ranks) -> Part {
    let named = |id: NameId, mark: u8| (ranks.of(id), mark);
    match by {
        By::Module => named(
            key.subject.name,
            match key.subject.kind {
                Kind::Module => 0,
                Kind::Alias => 1,
                Kind::Overflow => 2,
            },
        ),
        By::Exe => named(key.requester.program, key.requester.program_kind),
        By::User => named(key.requester.user, 0),
        By::Login => named(key.requester.login, 0),
        By::Unit => named(key.requester.unit, 0),
        By::Container => named(key.requester.container, 0),
        By::Host => named(key.host, 0),
    }
}

fn parts(key: &GroupKey, ranks: &Ranks) -> [Part; 6] {
    [By::Exe, By::User, By::Login, By::Unit, By::Container, By::Host].map(|by| shared(key, by, ranks))
}

#[cfg(test)]
mod tests {
    use super::{By, New, Place, Shown, Sort, groups, rows};
    use crate::{
        chain::growth::is_linear,
        event::Status,
        report::{
            Aggregates, Interner, ReportData, ReportQuery,
            aggregates::{GroupKey, Kind, Observation, RequesterIds, Subject},
        },
    };

    /// Aggregated test observations: host, module, program, unit, time.
    #[derive(Default)]
    struct Counted {
        names: Interner,
        aggregates: Aggregates,
    }

    impl Counted {
        fn add(&mut self, [host, module, program, unit]: [&str; 4], time_ns: i64) {
            let mut id = |name: &str| self.names.id(name.as_bytes());
            let subject = Subject { kind: Kind::Module, name: id(module) };
            let [program, user, unit, host] = [id(program), id("root"), id(unit), id(host)];
            let container = super::NameId::NONE;
            let login = super::NameId::NONE;
            let requester = RequesterIds { program_kind: b'p', program, user, login, unit, container };
            let key = GroupKey { subject, requester, host };
            self.aggregates.add(&Observation {
                key,
                time_ns,
                status: Status::Loaded,
                is_request: true,
                blocked_ns: None,
            });
        }

        fn groups(&self, by: By, new_since_ns: Option<i64>) -> Vec<(String, u64, Option<New>, usize)> {
            let query = ReportQuery { new_since_ns, ..ReportQuery::default() };
            let data = ReportData { aggregates: &self.aggregates, names: &self.names, streams: &[], query: &query };
            let shown = |group: &super::Group| crate::report::format::shared(&group.key, by, &self.names);
            let record = |group: &super::Group| (shown(group), group.stats.count, group.new, group.hosts.len());
            groups(&data, by, Sort::First).iter().map(record).collect()
        }

        fn rows(&self, shown: Shown) -> Vec<u64> {
            let query = ReportQuery::default();
            let data = ReportData { aggregates: &self.aggregates, names: &self.names, streams: &[], query: &query };
            rows(&data, Sort::First, shown).iter().map(|row| row.stats.count).collect()
        }
    }

    /// A module that is new on one host only is shown with the counts of that host.
    #[test]
    fn module_new_on_one_host_is_shown() {
        let mut counted = Counted::default();
        counted.add(["h1", "tipc", "/a", "u"], 10);
        counted.add(["h1", "tipc", "/b", "u"], 25);
        counted.add(["h2", "tipc", "/a", "u"], 30);
        counted.add(["h2", "xfs", "/a", "u"], 5);
        let module = Some(New::Part(By::Module));
        assert_eq!(counted.groups(By::Module, Some(20)), [("tipc".to_owned(), 1, module, 1)]);
        let h2 = counted.names.id(b"h2");
        let tipc = counted.names.id(b"tipc");
        counted.aggregates.add_baseline(h2, tipc);
        assert_eq!(counted.groups(By::Module, Some(20)), []);
    }

    /// A known program, user or host shows only combinations that are new.
    #[test]
    fn known_requester_shows_only_new_combinations() {
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

    /// Rows that differ only in hidden fields are merged.
    #[test]
    fn rows_equal_in_shown_fields_are_merged() {
        let mut counted = Counted::default();
        for unit in ["u1", "u2", "u1"] {
            counted.add(["h", "xfs", "/a", unit], 10);
        }
        assert_eq!(counted.rows(Shown::ALL), [2, 1]);
        assert_eq!(counted.rows(Shown { place: Place::One, login: true }), [2, 1]);
        assert_eq!(counted.rows(Shown { place: Place::None, login: true }), [3]);
    }

    /// Finding new modules takes linear time.
    #[test]
    fn finding_new_modules_is_linear() {
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
