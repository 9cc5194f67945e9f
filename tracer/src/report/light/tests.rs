use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::{
    chain::{Item, samples},
    report::{
        cells::CellKey,
        engine::{Engine, Plan, Sink, Told, Whole},
        names::Names,
        stream::Stream,
    },
};

/// A sink makes the engine build chains.
struct Nothing;

impl Sink for Nothing {
    fn chain(&mut self, _: &Told<'_>, _: &Names) -> std::io::Result<()> {
        Ok(())
    }

    fn event(&mut self, _: &crate::event::Event, _: &Stream, _: usize) -> std::io::Result<()> {
        Ok(())
    }

    fn finish(&mut self, _: &Whole<'_>) -> std::io::Result<()> {
        Ok(())
    }
}

/// Cells and what is missing, by name.
fn counted(lines: &str, plan: &Plan, by_chains: bool) -> (BTreeMap<String, String>, Vec<String>) {
    let sinks: Vec<Box<dyn Sink>> = if by_chains { vec![Box::new(Nothing)] } else { Vec::new() };
    let mut engine = Engine::new(plan.clone(), sinks);
    engine.begin("test");
    engine.block(lines.as_bytes()).unwrap();
    engine.finish().unwrap();
    let whole = engine.whole();
    let name = |id| String::from_utf8_lossy(whole.names.name(id)).into_owned();
    let told = |key: &CellKey| {
        let who = key.who;
        let place = [who.user, who.unit, who.container, key.host].map(name);
        format!("{:?} {:?} {:?} {place:?}", key.what.kind, name(key.what.name), who.program(whole.names))
    };
    let cells = whole.cells.iter().map(|(key, tally)| (told(key), format!("{tally:?}"))).collect();
    (cells, whole.streams.iter().flat_map(|stream| stream.missing(false)).collect())
}

const GENERATED: &str = include_str!("../../../../tests/fixtures/captures/generated.jsonl");

/// Check that the quick way and the way by chains count the same, with nested requests, failures and losses.
#[test]
fn both_ways_count_the_same() {
    let plan = Plan::default();
    let quick = counted(GENERATED, &plan, false);
    assert_eq!(quick, counted(GENERATED, &plan, true));
    assert!(quick.0.len() > 20, "{}", quick.0.len());
}

/// Check that the quick way reads lines whose members stand in any order.
#[test]
fn members_may_stand_in_any_order() {
    let moved = |line: &str| -> String {
        let (common, rest) = line.split_once("\"type\":").unwrap();
        format!("{{\"type\":{},{}}}\n", rest.strip_suffix('}').unwrap(), common[1..].trim_end_matches(','))
    };
    let text: String = GENERATED.lines().map(moved).collect();
    let plan = Plan::default();
    let quick = counted(&text, &plan, false);
    assert_eq!(quick, counted(&text, &plan, true));
    assert_eq!(quick, counted(GENERATED, &plan, false));
}

/// Check that both ways leave a failed unload out, and what it would have begun.
#[test]
fn both_ways_leave_failed_unloads_out() {
    let Item::Event(failed) = samples::failed_unload() else { unreachable!("it is an event") };
    let line = serde_json::to_string(&*failed).unwrap() + "\n";
    let plan = Plan::default();
    let quick = counted(&line, &plan, false);
    assert_eq!(quick, counted(&line, &plan, true));
    assert!(quick.0.is_empty(), "{:?}", quick.0);
}

/// Names that look like what surrounds them.
const HOSTILE: [&str; 7] = [
    "\"},{\"type\":\"request\"",
    "a\\\\\"b",
    "[[[{",
    "\u{202e}x",
    "caf\u{e9}, =1+1",
    "\"behalf\":{\"pid\":1",
    ",\"reason\":\"asked\"}",
];

/// The generated capture with lines left out, and with other names.
fn damaged(left_out: &[usize], names: &[usize]) -> String {
    let mut out = String::new();
    for (place, line) in GENERATED.lines().enumerate() {
        if left_out.contains(&place) {
            continue;
        }
        let mut line = line.to_owned();
        for (number, old) in
            names.iter().zip(["/usr/bin/mount", "iptable_nat", "\"alice\"", "bash", "ssh.service", "sshd"])
        {
            let Some(new) = HOSTILE.get(*number) else { continue };
            let new = serde_json::to_string(new).unwrap();
            let new = if old.starts_with('"') { new.as_str() } else { &new[1..new.len() - 1] };
            line = line.replace(old, new);
        }
        out.push_str(&line);
        out.push('\n');
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Check that both ways count the same whatever was lost and whatever the names, in any range of time.
    #[test]
    fn both_ways_count_the_same_of_what_is_left(
        left_out in proptest::collection::vec(0_usize..400, 0..60),
        names in proptest::collection::vec(0_usize..10, 6),
        since_ns in proptest::option::of(0_i64..30_000_000_000),
        until_ns in proptest::option::of(0_i64..30_000_000_000),
    ) {
        const BEGAN_NS: i64 = 1_772_323_200_000_000_000;
        let plan = Plan {
            since_ns: since_ns.map(|ns| BEGAN_NS + ns),
            until_ns: until_ns.map(|ns| BEGAN_NS + ns),
            ..Plan::default()
        };
        let text = damaged(&left_out, &names);
        let (quick, by_chains) = (counted(&text, &plan, false), counted(&text, &plan, true));
        let only = |one: &BTreeMap<String, String>, other: &BTreeMap<String, String>| -> Vec<String> {
            one.iter().filter(|(name, tally)| other.get(*name) != Some(tally)).map(|both| format!("{both:?}")).collect()
        };
        prop_assert_eq!(only(&quick.0, &by_chains.0), only(&by_chains.0, &quick.0));
        prop_assert_eq!(quick.1, by_chains.1);
    }
}
