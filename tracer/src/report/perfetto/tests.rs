use std::{cell::RefCell, collections::BTreeMap, io, rc::Rc};

use proptest::prelude::*;
use serde_json::Value;

use super::{ChainRecord, Perfetto, ReportSink};
use crate::{
    chain::{Chain, Item, growth::is_linear, samples},
    report::{Interner, Stream},
};

#[derive(Clone, Default)]
struct Written(Rc<RefCell<Vec<u8>>>);

impl io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn of(item: Item) -> Chain {
    let Item::Chain(chain) = item else { unreachable!("it is a chain") };
    *chain
}

fn moved(chain: &mut Chain, begin_ns: u64, duration_ns: u64) {
    let by = jiff::SignedDuration::from_nanos(i64::try_from(begin_ns).unwrap());
    chain.time = "2026-11-23T06:30:49.000000001Z".parse::<jiff::Timestamp>().unwrap() + by;
    chain.boot_ns = 1_000_000 + begin_ns;
    if let Some(result) = &mut chain.result {
        result.duration_ns = Some(duration_ns);
    }
}

/// A request with inits and nested requests, given as begin and duration.
fn chain(own: (u64, u64), inits: &[(u64, u64)], nested: &[(u64, u64)]) -> Chain {
    let mut chain = of(samples::outage());
    let template = chain.modules.swap_remove(0);
    chain.modules.clear();
    moved(&mut chain, own.0, own.1);
    for (begin_ns, duration_ns) in inits {
        let mut module = template.clone();
        module.boot_ns = chain.boot_ns + begin_ns;
        module.init.as_mut().unwrap().duration_ns = *duration_ns;
        chain.modules.push(module);
    }
    for (begin_ns, duration_ns) in nested {
        let mut inner = of(samples::not_found());
        moved(&mut inner, own.0 + begin_ns, *duration_ns);
        chain.nested.push(inner);
    }
    chain
}

fn trace(chains: &[Chain]) -> Vec<Value> {
    let written = Written::default();
    let mut perfetto = Perfetto::new(Box::new(written.clone()));
    let stream = Stream::new("a.jsonl");
    for chain in chains {
        let item = Item::Chain(Box::new(chain.clone()));
        let record =
            ChainRecord { chain, item: &item, observations: &[], is_first: false, stream: &stream, stream_number: 0 };
        perfetto.chain(&record, &Interner::default()).unwrap();
    }
    let mut text = written.0.borrow().clone();
    text.extend_from_slice(b"]}");
    let trace: Value = serde_json::from_slice(&text).unwrap();
    trace["traceEvents"].as_array().unwrap().clone()
}

/// Nanoseconds of a time, by the arithmetic that Perfetto uses for text.
#[expect(clippy::cast_possible_truncation, reason = "it is what Perfetto does")]
fn nanoseconds(time: &Value) -> i64 {
    let (whole, fraction) = time.as_str().unwrap().split_once('.').unwrap();
    assert_eq!(fraction.len(), 3);
    whole.parse::<i64>().unwrap() * 1000 + (format!("0.{fraction}").parse::<f64>().unwrap() * 1000.0) as i64
}

/// Counts the slices and checks that those of each track are nested or disjoint: Perfetto drops all others.
fn slices(events: &[Value]) -> usize {
    let mut tracks: BTreeMap<(u64, u64), Vec<(i64, i64)>> = BTreeMap::new();
    for event in events.iter().filter(|event| event["ph"] == "X") {
        let begin = nanoseconds(&event["ts"]);
        let track = (event["pid"].as_u64().unwrap(), event["tid"].as_u64().unwrap());
        tracks.entry(track).or_default().push((begin, begin + nanoseconds(&event["dur"])));
    }
    let mut count = 0;
    for (track, mut slices) in tracks {
        // Stable: of slices with the same begin the one that is written first is the outer one.
        slices.sort_by_key(|(begin, _)| *begin);
        let mut open: Vec<i64> = Vec::new();
        for (begin, end) in slices {
            open.retain(|open_end| *open_end > begin);
            assert!(open.iter().all(|open_end| *open_end >= end), "{track:?} at {begin}: {end} beyond {open:?}");
            open.push(end);
            count += 1;
        }
    }
    count
}

/// Timestamps are exact to the nanosecond.
#[test]
fn timestamps_are_exact_to_the_nanosecond() {
    for ns in (0..1000).chain([1_795_415_449_858_123_457, i64::MAX]) {
        assert_eq!(nanoseconds(&Value::from(super::micros(ns))), ns);
    }
}

/// Distant timestamps do not wrap, and one before 1970 is clamped.
#[test]
fn distant_timestamps_do_not_wrap() {
    let at = |time: &str| {
        let mut chain = of(samples::outage());
        chain.time = time.parse().unwrap();
        chain
    };
    let events = trace(&["2026-11-23T00:00:00Z", "1700-01-01T00:00:00Z", "2261-12-31T00:00:00Z"].map(at));
    let begins: Vec<i64> =
        events.iter().filter(|event| event["cat"] == "request").map(|event| nanoseconds(&event["ts"])).collect();
    assert_eq!(begins, [1_795_392_000_000_000_000, 0, 9_214_560_000_000_000_000]);
}

/// Units and containers are escaped like all other names.
#[test]
fn slice_arguments_are_escaped() {
    let mut chain = of(samples::outage());
    let process = &mut chain.request.as_mut().unwrap().process;
    process.unit = Some("a\u{202e}\u{1b}[2J.service".to_owned());
    process.container = Some("b\u{9b}".to_owned());
    let text = serde_json::to_string(&trace(&[chain])).unwrap();
    assert!(text.contains("a\\\\u{202e}\\\\x1b[2J.service") && text.contains("b\\\\u{9b}"), "{text}");
}

proptest! {
    /// Slices that overlap, touch or have no duration are nested or disjoint, and none is lost.
    #[test]
    fn slices_are_nested_or_disjoint(
        chains in proptest::collection::vec((
            (0_u64..40, 0_u64..20),
            proptest::collection::vec((0_u64..20, 0_u64..8), 0..5),
            proptest::collection::vec((0_u64..20, 0_u64..8), 0..5),
        ), 1..6),
    ) {
        let wanted: usize = chains.iter().map(|(_, inits, nested)| 1 + inits.len() + nested.len()).sum();
        let chains: Vec<Chain> = chains.iter().map(|(own, inits, nested)| chain(*own, inits, nested)).collect();
        prop_assert_eq!(slices(&trace(&chains)), wanted);
    }
}

/// Writing takes linear time in the number of slices, nested or adjacent.
#[test]
fn writing_slices_is_linear() {
    let within = |count: u64| {
        let all: Vec<(u64, u64)> = (0..count).map(|number| (number, 10 * count)).collect();
        vec![chain((0, 20 * count), &all, &all)]
    };
    let adjacent = |count: u64| (0..count).map(|number| chain((number, 10 * count), &[], &[])).collect::<Vec<_>>();
    for (what, make) in [("slices within each other", &within as &dyn Fn(u64) -> Vec<Chain>), ("slices", &adjacent)] {
        is_linear(what, 500, |size| make(size as u64), |chains| assert!(slices_of(&chains) > 0));
    }
}

fn slices_of(chains: &[Chain]) -> usize {
    trace(chains).iter().filter(|event| event["ph"] == "X").count()
}
