//! Snapshots are stable, and differences name the requester.

use proptest::prelude::*;

use super::{Diff, Kind, Recorder, Slower, Snapshot, SnapshotError, diff};
use crate::{
    chain::{Chain, Item, growth::is_linear, samples},
    event::{Status, Text},
};

const TWICE: Slower = Slower { factor: 2.0 };

fn chain(item: Item) -> Chain {
    match item {
        Item::Chain(chain) => *chain,
        Item::Event(_) => unreachable!("it is a chain"),
    }
}

fn snapshot(chains: &[Chain]) -> Snapshot {
    let mut recorder = Recorder::default();
    chains.iter().for_each(|chain| recorder.chain(chain));
    recorder.finish()
}

fn usual() -> Vec<Chain> {
    vec![chain(samples::by_hand()), chain(samples::outage()), chain(samples::not_found()), chain(samples::nested())]
}

fn compare(now: &[Chain]) -> Diff {
    diff(&snapshot(&usual()), &snapshot(now), TWICE)
}

/// A snapshot is parsed from its own text, which does not depend on the order and process ids of a run.
#[test]
fn snapshot_of_the_same_workload_has_the_same_text() {
    let text = serde_json::to_string_pretty(&snapshot(&usual())).unwrap();
    assert_eq!(text.parse::<Snapshot>().unwrap(), snapshot(&usual()));
    let mut other = usual();
    other.reverse();
    let request = other[2].request.as_mut().unwrap();
    (request.process.pid, request.process.start_ns) = (1, 2);
    other[2].modules.reverse();
    assert_eq!(snapshot(&other).compared, snapshot(&usual()).compared);
    assert_eq!(compare(&other), Diff::default());
    assert!("{}".parse::<Snapshot>().is_err());
    assert!(text.replacen("\"snapshot\": 1", "\"snapshot\": 9", 1).parse::<Snapshot>().is_err());
}

/// A snapshot with invalid outcomes or duplicate entries is rejected.
#[test]
fn forged_snapshot_is_rejected() {
    let read = |change: &dyn Fn(&mut Snapshot)| {
        let mut forged = snapshot(&usual());
        change(&mut forged);
        serde_json::to_string(&forged).unwrap().parse::<Snapshot>().map(|_| ()).map_err(|error| error.to_string())
    };
    assert_eq!(read(&|_| {}), Ok(()));
    let result = |name: &str| {
        let name = name.to_owned();
        read(&move |forged| forged.compared[1].results = [name.clone()].into())
    };
    for (name, is_one) in
        [("loaded", true), ("built-in", true), ("Loaded", false), ("", false), ("loaded\u{1b}[2J", false)]
    {
        assert_eq!(result(name).is_ok(), is_one, "{name:?}: {:?}", result(name));
    }
    let escape = result("loaded\u{1b}]0;x\u{7}\u{202e}").unwrap_err();
    assert!(!escape.contains(|character| char::is_control(character) || character == '\u{202e}'), "{escape}");
    assert!(read(&|forged| forged.compared[0].origin = "kernel".to_owned()).unwrap_err().contains("unknown origin"));
    let twice = read(&|forged| {
        let (entry, seen) = (forged.compared[0].clone(), forged.seen[0].clone());
        forged.compared.push(entry);
        forged.compared.last_mut().unwrap().modules = ["evil".to_owned()].into();
        forged.seen.push(seen);
    });
    assert!(twice.unwrap_err().contains("two entries for"));
    let member =
        serde_json::to_string(&snapshot(&usual())).unwrap().replacen("\"origin\"", "\"origin\":\"udev\",\"origin\"", 1);
    assert!(matches!(member.parse::<Snapshot>(), Err(SnapshotError::Form { .. })));
}

/// The time to compare many changed aliases grows linearly.
#[test]
fn diff_of_many_changed_aliases_is_linear() {
    let aliases = |size: usize, prefix: &str| {
        let mut one = snapshot(&usual()[1..2]);
        let (entry, seen) = (one.compared.remove(0), one.seen.remove(0));
        for number in 0..size {
            let modules = [format!("m{number}")].into();
            one.compared.push(super::Entry { alias: Some(format!("{prefix}{number}")), modules, ..entry.clone() });
            one.seen.push(seen.clone());
        }
        one
    };
    let make = |size| (aliases(size, "a"), aliases(size, "z"));
    is_linear("other aliases", 2_000, make, |(before, now)| {
        let diff = diff(&before, &now, TWICE);
        assert_eq!(diff.changes.len(), before.compared.len());
        assert!(diff.changes.iter().all(|change| change.kind == Kind::OtherAlias));
    });
}

/// Each kind of difference names the requester and both sides.
#[test]
fn diff_of_each_kind_names_the_requester() {
    let kinds = |now: &[Chain]| -> Vec<(Kind, String)> {
        compare(now).changes.into_iter().map(|change| (change.kind, change.requester)).collect()
    };
    let iptables = "/usr/sbin/xtables-legacy-multi".to_owned();

    // The alias no longer resolves to a module.
    let mut now = usual();
    now[1].modules.clear();
    now[1].result.as_mut().unwrap().status = Status::NotFound;
    let change = compare(&now).changes.remove(0);
    assert_eq!((change.kind, &change.requester), (Kind::NoLongerLoads, &iptables));
    assert_eq!(change.lost.into_iter().collect::<Vec<_>>(), ["iptable_nat", "nf_conntrack", "nf_defrag_ipv4"]);
    assert_eq!(change.results_now.into_iter().collect::<Vec<_>>(), ["not-found"]);
    assert_eq!(change.command, ["iptables", "-t", "nat", "-L"]);

    // It resolves to another module.
    let mut now = usual();
    now[1].modules.truncate(1);
    now[1].modules[0].load.module = Text::from("dummy");
    now[1].modules[0].init.as_mut().unwrap().module = Text::from("dummy");
    assert_eq!(kinds(&now), [(Kind::LoadsOthers, iptables.clone())]);

    let mut now = usual();
    now[1].modules.remove(0);
    assert_eq!(kinds(&now), [(Kind::NoLongerLoads, iptables.clone())]);
    assert_eq!(kinds(&usual()[..3]).len(), 2, "one of the two requests of cryptsetup failed");
    let mut now = usual();
    now[2].result.as_mut().unwrap().status = Status::Denied;
    assert_eq!(kinds(&now), [(Kind::ResultChanged, "/usr/bin/mount".to_owned())]);
    let fewer = compare(&[&usual()[..2], &usual()[3..]].concat());
    assert_eq!((fewer.changes.len(), fewer.unsuccessful[0].kind), (0, Kind::NoLongerAsks));
    let backwards = diff(&snapshot(&usual()[..2]), &snapshot(&usual()[..3]), TWICE);
    assert_eq!((backwards.changes.len(), backwards.unsuccessful[0].kind), (0, Kind::NowAsks));
    let backwards = diff(&snapshot(&usual()[..1]), &snapshot(&usual()[..2]), TWICE).changes;
    assert_eq!((backwards[0].kind, backwards[0].gained.len()), (Kind::NowLoads, 3));
}

/// The same modules loaded by another alias are one difference, whichever alias sorts first.
#[test]
fn changed_alias_is_one_difference() {
    for alias in ["aaa", "zzz"] {
        let mut now = usual();
        now[1].request.as_mut().unwrap().name = Text::from(alias);
        let changes = compare(&now).changes;
        assert_eq!((changes.len(), changes[0].kind), (1, Kind::OtherAlias));
        assert_eq!(
            (changes[0].alias.as_deref(), changes[0].alias_before.as_deref()),
            (Some(alias), Some("iptable_nat"))
        );
        now[1].modules.pop();
        assert_eq!(compare(&now).changes.len(), 2, "not the same modules");
    }
}

/// Slower requests are reported, and noise is not.
#[test]
fn slower_request_above_noise_is_reported() {
    let with = |ns: u64| {
        let mut now = usual();
        now[1].result.as_mut().unwrap().duration_ns = Some(ns);
        compare(&now)
    };
    assert!(with(57_000_000).slower.is_empty(), "38 ms before");
    let slower = with(90_000_000).slower;
    assert_eq!((slower[0].blocked_before_ns, slower[0].blocked_now_ns), (Some(38_000_000), Some(90_000_000)));
    assert!(with(90_000_000).changes.is_empty());
}

proptest! {
    /// Names that are not UTF-8 stay distinct and are preserved.
    #[test]
    fn snapshot_of_any_name_preserves_it(names in proptest::collection::hash_set(proptest::collection::vec(any::<u8>(), 1..6), 2..6)) {
        let chains: Vec<Chain> = names.iter().map(|name| {
            let mut outage = chain(samples::outage());
            outage.request.as_mut().unwrap().name = Text::from(name.as_slice());
            outage
        }).collect();
        let snapshot = snapshot(&chains);
        prop_assert_eq!(snapshot.compared.len(), names.len());
        let text = serde_json::to_string(&snapshot).unwrap();
        prop_assert_eq!(text.parse::<Snapshot>().unwrap(), snapshot);
    }
}
