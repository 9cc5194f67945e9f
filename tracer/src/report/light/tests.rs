use std::collections::BTreeMap;

use crate::report::{
    cells::CellKey,
    engine::{Engine, Plan, Sink, Told, Whole},
    names::Names,
    stream::Stream,
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
