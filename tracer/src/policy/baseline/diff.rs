//! Differences between two kernels with the same workload.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use serde::Serialize;

use super::snapshot::{Entry, Seen, Snapshot};

/// Differences in time below this are noise, nanoseconds.
const NOISE_NS: u64 = 20_000_000;

/// The kind of a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Kind {
    /// Modules are loaded that were not loaded before.
    NowLoads,
    /// Modules are not loaded that were loaded before.
    NoLongerLoads,
    /// The same request loads other modules.
    LoadsOthers,
    /// The same request has another outcome.
    ResultChanged,
    /// The same modules are loaded for the same requester, by another alias.
    OtherAlias,
    /// A new request loads nothing.
    NowAsks,
    /// A request that loaded nothing is no longer made.
    NoLongerAsks,
    /// The requester is blocked longer.
    Slower,
}

/// A difference.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Change {
    /// Its kind.
    pub kind: Kind,
    /// The requester.
    pub requester: String,
    /// The origin of the load.
    pub origin: String,
    /// The requested alias.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
    /// The previous alias, if only that changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alias_before: Option<String>,
    /// The user action that causes the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explanation: Option<String>,
    /// A command with this effect.
    pub command: Vec<String>,
    /// The parent of that command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_by: Option<String>,
    /// Modules that are loaded only now.
    pub gained: BTreeSet<String>,
    /// Modules that were loaded only before.
    pub lost: BTreeSet<String>,
    /// The previous outcomes; empty if it was not requested.
    pub results_before: BTreeSet<String>,
    /// The current outcomes; empty if it is not requested.
    pub results_now: BTreeSet<String>,
    /// How long the requester was blocked before, nanoseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blocked_before_ns: Option<u64>,
    /// How long the requester is blocked now, nanoseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blocked_now_ns: Option<u64>,
}

/// The threshold for slower requests.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Slower {
    /// A multiple of the previous time.
    pub factor: f64,
}

/// All differences, by requester.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Diff {
    /// Differences in loaded modules.
    pub changes: Vec<Change>,
    /// Requests that load nothing and were made on one side only.
    pub unsuccessful: Vec<Change>,
    /// Slower requests.
    pub slower: Vec<Change>,
}

/// Compares the entries of two snapshots.
#[must_use]
pub fn diff(before: &Snapshot, now: &Snapshot, slower: Slower) -> Diff {
    let (before, now) = (by_key(before), by_key(now));
    let keys: BTreeSet<_> = before.keys().chain(now.keys()).collect();
    let mut diff = Diff::default();
    for key in keys {
        let (was, is) = (before.get(key).copied(), now.get(key).copied());
        match change(was, is) {
            Some(change) if matches!(change.kind, Kind::NowAsks | Kind::NoLongerAsks) => diff.unsuccessful.push(change),
            Some(change) => diff.changes.push(change),
            None => {}
        }
        diff.slower.extend(slowdown(was, is, slower));
    }
    diff.changes = with_renamed(diff.changes);
    diff
}

/// Joins an alias that a requester no longer loads with the alias that loads the same modules now.
fn with_renamed(changes: Vec<Change>) -> Vec<Change> {
    let mut merged: Vec<Option<Change>> = Vec::with_capacity(changes.len());
    // Unpaired entries by requester, origin and modules, in order.
    let mut halves: HashMap<(Kind, String, String, BTreeSet<String>), VecDeque<usize>> = HashMap::new();
    for change in changes {
        // An alias that was requested on both sides is not unpaired.
        let (other, modules) = match change.kind {
            Kind::NoLongerLoads if change.results_now.is_empty() => (Kind::NowLoads, &change.lost),
            Kind::NowLoads if change.results_before.is_empty() => (Kind::NoLongerLoads, &change.gained),
            _ => {
                merged.push(Some(change));
                continue;
            }
        };
        let key = |kind| (kind, change.requester.clone(), change.origin.clone(), modules.clone());
        let other = halves.get_mut(&key(other)).and_then(VecDeque::pop_front);
        match other.and_then(|at| merged.get_mut(at)).and_then(Option::take) {
            Some(other) => {
                let (gone, new) = if change.kind == Kind::NowLoads { (other, change) } else { (change, other) };
                merged.push(Some(Change {
                    kind: Kind::OtherAlias,
                    alias_before: gone.alias,
                    lost: gone.lost,
                    results_before: gone.results_before,
                    ..new
                }));
            }
            None => {
                halves.entry(key(change.kind)).or_default().push_back(merged.len());
                merged.push(Some(change));
            }
        }
    }
    merged.into_iter().flatten().collect()
}

type One<'a> = (&'a Entry, &'a Seen);
type Key<'a> = (&'a str, &'a str, Option<&'a str>);

fn by_key(snapshot: &Snapshot) -> BTreeMap<Key<'_>, One<'_>> {
    snapshot.compared.iter().zip(&snapshot.seen).map(|(entry, seen)| (entry.key(), (entry, seen))).collect()
}

fn change(was: Option<One<'_>>, is: Option<One<'_>>) -> Option<Change> {
    let none = BTreeSet::new();
    let modules = |one: Option<One<'_>>| one.map(|(entry, _)| entry.modules.clone()).unwrap_or_default();
    let results = |one: Option<One<'_>>| one.map_or_else(|| none.clone(), |(entry, _)| entry.results.clone());
    let (modules_before, modules_now) = (modules(was), modules(is));
    let gained: BTreeSet<String> = modules_now.difference(&modules_before).cloned().collect();
    let lost: BTreeSet<String> = modules_before.difference(&modules_now).cloned().collect();
    let (results_before, results_now) = (results(was), results(is));
    let kind = match (gained.is_empty(), lost.is_empty(), was.is_some(), is.is_some()) {
        (false, true, ..) => Kind::NowLoads,
        (true, false, ..) => Kind::NoLongerLoads,
        (false, false, ..) => Kind::LoadsOthers,
        (true, true, false, true) => Kind::NowAsks,
        (true, true, true, false) => Kind::NoLongerAsks,
        (true, true, ..) if results_before != results_now => Kind::ResultChanged,
        (true, true, ..) => return None,
    };
    let (entry, seen) = is.or(was)?;
    Some(Change { kind, gained, lost, results_before, results_now, ..change_of(kind, entry, seen) })
}

fn slowdown(was: Option<One<'_>>, is: Option<One<'_>>, slower: Slower) -> Option<Change> {
    let (entry, seen) = is?;
    let (before_ns, now_ns) = (was?.1.blocked_ns?, seen.blocked_ns?);
    #[expect(clippy::cast_precision_loss, reason = "a ratio of times needs no more digits than a double has")]
    let ratio = now_ns as f64 / before_ns.max(1) as f64;
    let is_slower = ratio >= slower.factor && now_ns.saturating_sub(before_ns) >= NOISE_NS;
    is_slower.then(|| Change {
        blocked_before_ns: Some(before_ns),
        blocked_now_ns: Some(now_ns),
        ..change_of(Kind::Slower, entry, seen)
    })
}

fn change_of(kind: Kind, entry: &Entry, seen: &Seen) -> Change {
    Change {
        kind,
        requester: entry.requester.clone(),
        origin: entry.origin.clone(),
        alias: entry.alias.clone(),
        alias_before: None,
        explanation: seen.explanation.clone(),
        command: seen.command.clone(),
        run_by: seen.run_by.clone(),
        gained: BTreeSet::new(),
        lost: BTreeSet::new(),
        results_before: BTreeSet::new(),
        results_now: BTreeSet::new(),
        blocked_before_ns: None,
        blocked_now_ns: None,
    }
}
