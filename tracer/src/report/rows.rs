//! Cells as rows: one for each combination, or rolled up by one of its parts.

use std::collections::BTreeMap;

use super::{
    cells::{CellKey, Kind, Tally, What},
    engine::Whole,
    names::NameId,
};

/// What rows are rolled up by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum New {
    /// The module or alias itself.
    Module,
    /// That this requester brings it.
    Requester,
}

impl New {
    /// Its public name.
    #[must_use]
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Module => "module",
            Self::Requester => "requester",
        }
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
    /// Whether the shared part itself is new since the time that was asked for.
    pub is_new: bool,
}

/// All combinations that are wanted. Those of a module stand together.
#[must_use]
pub(super) fn rows(whole: &Whole<'_>, sort: Sort) -> Vec<Row> {
    let firsts = whole.plan.new_since_ns.map(|since_ns| (since_ns, whole.cells.first_of_each()));
    let mut rows: Vec<Row> = Vec::new();
    for (key, tally) in whole.cells.iter() {
        let new = firsts.as_ref().and_then(|(since_ns, firsts)| {
            let module_first_ns = firsts.get(&(key.host, key.what)).copied().unwrap_or(i64::MAX);
            (tally.first_ns >= *since_ns).then_some(if module_first_ns >= *since_ns {
                New::Module
            } else {
                New::Requester
            })
        });
        if firsts.is_none() || new.is_some() {
            rows.push(Row { key: *key, tally: *tally, new });
        }
    }
    let mut of_what: BTreeMap<What, Tally> = BTreeMap::new();
    for row in &rows {
        of_what.entry(row.key.what).or_default().merge(&row.tally);
    }
    let rank = |row: &Row| of_what.get(&row.key.what).map(|tally| metric(tally, sort));
    rows.sort_by_cached_key(|row| {
        let whats_name = (row.key.what.kind, whole.names.name(row.key.what.name).to_vec());
        (rank(row), whats_name, metric(&row.tally, sort), parts(&row.key, whole))
    });
    rows
}

/// All combinations rolled up.
#[must_use]
pub(super) fn groups(whole: &Whole<'_>, by: By, sort: Sort) -> Vec<Group> {
    let mut groups: BTreeMap<Vec<u8>, Group> = BTreeMap::new();
    for (key, tally) in whole.cells.iter() {
        let group = groups.entry(shared(key, by, whole)).or_insert_with(|| Group {
            key: *key,
            tally: Tally::default(),
            others: Vec::new(),
            is_new: false,
        });
        group.tally.merge(tally);
        group.others.push((*key, tally.count));
    }
    let mut groups: Vec<(Vec<u8>, Group)> = groups.into_iter().collect();
    for (_, group) in &mut groups {
        group.others = ranked(&group.others, by, whole);
    }
    if let Some(since_ns) = whole.plan.new_since_ns {
        let firsts = whole.cells.first_of_each();
        let was_there = |group: &Group| {
            by == By::Module
                && firsts.iter().any(|((_, what), first_ns)| *what == group.key.what && *first_ns < since_ns)
        };
        groups.retain(|(_, group)| group.tally.first_ns >= since_ns && !was_there(group));
        groups.iter_mut().for_each(|(_, group)| group.is_new = true);
    }
    groups.sort_by(|(name, group), (other_name, other)| {
        metric(&group.tally, sort).cmp(&metric(&other.tally, sort)).then_with(|| name.cmp(other_name))
    });
    groups.into_iter().map(|(_, group)| group).collect()
}

/// The other part of each combination, once each, with its count, most frequent first.
fn ranked(members: &[(CellKey, u64)], by: By, whole: &Whole<'_>) -> Vec<(CellKey, u64)> {
    let other = if by == By::Module { By::Exe } else { By::Module };
    let mut counts: BTreeMap<Vec<u8>, (CellKey, u64)> = BTreeMap::new();
    for (key, count) in members {
        counts.entry(shared(key, other, whole)).or_insert((*key, 0)).1 += count;
    }
    let mut ranked: Vec<(CellKey, u64)> = counts.into_values().collect();
    ranked.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    ranked
}

/// Smaller comes first.
fn metric(tally: &Tally, sort: Sort) -> i64 {
    let most_first = |number: u64| i64::try_from(number).unwrap_or(i64::MAX).saturating_neg();
    match sort {
        Sort::Name => 0,
        Sort::Count => most_first(tally.count),
        Sort::First => tally.first_ns,
        Sort::Last => tally.last_ns.saturating_neg(),
        Sort::Blocked => most_first(tally.blocked_ns),
    }
}

/// The part by which combinations are rolled up: equal parts are equal, and they sort by name.
fn shared(key: &CellKey, by: By, whole: &Whole<'_>) -> Vec<u8> {
    let named = |id: NameId, mark: u8| {
        let mut part = whole.names.name(id).to_vec();
        part.push(match id {
            NameId::NONE => 1,
            NameId::OTHERS => 2,
            _ => mark,
        });
        part
    };
    match by {
        By::Module => named(
            key.what.name,
            match key.what.kind {
                Kind::Module => 3,
                Kind::Alias => 4,
                Kind::Others => 5,
            },
        ),
        By::Exe => named(key.who.program, key.who.program_kind),
        By::User => named(key.who.user, 3),
        By::Unit => named(key.who.unit, 3),
        By::Container => named(key.who.container, 3),
        By::Host => named(key.host, 3),
    }
}

fn parts(key: &CellKey, whole: &Whole<'_>) -> [Vec<u8>; 5] {
    [By::Exe, By::User, By::Unit, By::Container, By::Host].map(|by| shared(key, by, whole))
}
