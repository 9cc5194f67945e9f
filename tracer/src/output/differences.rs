//! Differences between two snapshots, one line each, always with the requester.

use super::words::duration;
use crate::text::{argument, escape_str, name, quoted};
use crate::{
    event::Text,
    policy::{Change, Kind, Snapshot},
};

/// The label of a snapshot: its kernels, or its file name if both snapshots have the same kernels.
#[must_use]
pub fn label(snapshot: &Snapshot, file: &str, other: &Snapshot) -> String {
    let kernels: Vec<String> = snapshot.source.kernels.iter().map(|kernel| escape_str(kernel)).collect();
    if kernels.is_empty() || snapshot.source.kernels == other.source.kernels {
        return escape_str(file);
    }
    kernels.join("+")
}

/// A difference in one line; `now` is the label of the newer snapshot.
#[must_use]
pub fn difference(change: &Change, now: &str) -> String {
    let by = by(change);
    let on = on(change);
    let list = |names: &std::collections::BTreeSet<String>| {
        names.iter().map(|module| name(&Text::from(module.as_str()))).collect::<Vec<_>>().join(", ")
    };
    let results = |names: &std::collections::BTreeSet<String>| {
        names.iter().map(|name| escape_str(name)).collect::<Vec<_>>().join("+")
    };
    let (before, after) = (results(&change.results_before), results(&change.results_now));
    let ends = match (change.results_now.is_empty(), before == after) {
        (true, _) => ": no longer requested".to_owned(),
        (false, true) => String::new(),
        (false, false) if before.is_empty() => format!(": was not requested, now {after}"),
        (false, false) => format!(": was {before}, now {after}"),
    };
    let verb = if change.origin == "request" { "auto-loads" } else { "loads" };
    match change.kind {
        Kind::NowLoads => format!("{now} now {verb} {}{on} by {by}{ends}", list(&change.gained)),
        Kind::NoLongerLoads => format!("{now} no longer {verb} {}{on} by {by}{ends}", list(&change.lost)),
        Kind::LoadsOthers => {
            format!("{now} {verb} others{on} by {by}: was {}, now {}", list(&change.lost), list(&change.gained))
        }
        Kind::OtherAlias => {
            let before = change.alias_before.as_ref().map(|alias| quoted(&Text::from(alias.as_str())));
            let before = before.unwrap_or_else(|| "no alias".to_owned());
            format!("{now} {verb} {} by another alias{on} by {by}: was {before}", list(&change.gained))
        }
        Kind::ResultChanged => format!("{now} has another result{on} by {by}: was {before}, now {after}"),
        Kind::NowAsks => format!("{now} now has a failing request{on} by {by}: {after}"),
        Kind::NoLongerAsks => format!("{now} no longer has a failing request{on} by {by}: was {before}"),
        Kind::Slower => {
            let time = |ns: Option<u64>| ns.map_or_else(|| "-".to_owned(), duration);
            let (was, is) = (time(change.blocked_before_ns), time(change.blocked_now_ns));
            let more = change.blocked_now_ns.zip(change.blocked_before_ns).map(|(now, was)| now.saturating_sub(was));
            format!("{now} is slower by {}{on} by {by}: blocked {was} before, {is} now", time(more))
        }
    }
}

/// ` on socket(AF_TIPC) ("net-pf-30")`.
fn on(change: &Change) -> String {
    let alias = change.alias.as_ref().map(|alias| quoted(&Text::from(alias.as_str())));
    // The text after the colon is the same for all requests of an action.
    let action = change.explanation.as_deref().map(|words| words.split_once(": ").map_or(words, |(action, _)| action));
    match (action, alias) {
        (Some(action), Some(alias)) => format!(" on {} ({alias})", escape_str(action)),
        (None, Some(alias)) => format!(" on {alias}"),
        (_, None) => String::new(),
    }
}

/// ``/usr/bin/ss (`ss -tlnp` run by net.sh)``.
fn by(change: &Change) -> String {
    let requester = argument(&Text::from(change.requester.as_str()));
    let words: Vec<String> = change.command.iter().map(|word| argument(&Text::from(word.as_str()))).collect();
    let run_by = change.run_by.as_ref().map(|parent| format!(" run by {}", name(&Text::from(parent.as_str()))));
    if words.is_empty() {
        return requester;
    }
    format!("{requester} (`{}`{})", words.join(" "), run_by.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::difference;
    use crate::policy::{Change, Kind};

    fn change(kind: Kind) -> Change {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        Change {
            kind,
            requester: "/usr/bin/nc".to_owned(),
            origin: "request".to_owned(),
            alias: Some("net-pf-30".to_owned()),
            alias_before: Some("tipc".to_owned()),
            explanation: Some("socket(AF_TIPC): no socket of this address family was ever opened".to_owned()),
            command: vec!["nc".to_owned(), "a b".to_owned()],
            run_by: Some("net.sh".to_owned()),
            gained: set(&["tipc", "udp_tunnel"]),
            lost: set(&["dummy"]),
            results_before: set(&["loaded"]),
            results_now: set(&["not-found"]),
            blocked_before_ns: Some(10_000_000),
            blocked_now_ns: Some(250_000_000),
        }
    }

    /// Every kind of difference names kernel, action, alias and requester.
    #[test]
    fn difference_names_kernel_action_and_requester() {
        let tail = "on socket(AF_TIPC) (\"net-pf-30\") by /usr/bin/nc (`nc 'a b'` run by net.sh)";
        for (kind, head, end) in [
            (Kind::NowLoads, "6.12 now auto-loads tipc, udp_tunnel", ": was loaded, now not-found"),
            (Kind::NoLongerLoads, "6.12 no longer auto-loads dummy", ": was loaded, now not-found"),
            (Kind::LoadsOthers, "6.12 auto-loads others", ": was dummy, now tipc, udp_tunnel"),
            (Kind::OtherAlias, "6.12 auto-loads tipc, udp_tunnel by another alias", ": was \"tipc\""),
            (Kind::ResultChanged, "6.12 has another result", ": was loaded, now not-found"),
            (Kind::NowAsks, "6.12 now has a failing request", ": not-found"),
            (Kind::NoLongerAsks, "6.12 no longer has a failing request", ": was loaded"),
            (Kind::Slower, "6.12 is slower by 240 ms", ": blocked 10.0 ms before, 250 ms now"),
        ] {
            assert_eq!(difference(&change(kind), "6.12"), format!("{head} {tail}{end}"));
        }
    }

    /// Hostile names add no control characters or lines.
    #[test]
    fn difference_hostile_names_are_escaped() {
        let evil = "x\n6.12 now auto-loads".to_owned();
        let mut change = change(Kind::NowLoads);
        (change.requester, change.run_by, change.alias) = (evil.clone(), Some(evil.clone()), Some(evil.clone()));
        change.gained = BTreeSet::from([evil.clone()]);
        change.command = vec![evil.clone()];
        change.explanation = Some(evil.clone());
        change.results_before = BTreeSet::from([evil.clone()]);
        change.results_now = BTreeSet::from(["\u{1b}]0;t\u{7}".to_owned(), "\u{9b}2J".to_owned()]);
        (change.origin, change.alias_before, change.lost) = (evil.clone(), Some(evil.clone()), BTreeSet::from([evil]));
        for kind in [
            Kind::NowLoads,
            Kind::NoLongerLoads,
            Kind::LoadsOthers,
            Kind::OtherAlias,
            Kind::ResultChanged,
            Kind::NowAsks,
            Kind::NoLongerAsks,
            Kind::Slower,
        ] {
            change.kind = kind;
            let line = difference(&change, "6.12");
            assert!(!line.contains(char::is_control), "{line:?}");
        }
    }
}
