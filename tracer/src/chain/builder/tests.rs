//! Chains compared with an independent model: complete, damaged and inconsistent streams.

mod cases;
mod history;
mod limits;
mod model;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use proptest::prelude::*;

use super::{Builder, DEPTH_LIMIT, Limits, has};
use crate::{
    chain::{Chain, ChainKey, Item, Part},
    event::{Body, Event, RequestId, Text},
};
use history::{Parent, TaggedEvent, generate, scenarios, storm};
use model::{Model, mark};

/// Takes the chains that are ready.
fn chains(builder: &mut Builder) -> Vec<Chain> {
    let mut chains = Vec::new();
    while let Some(item) = builder.next_item() {
        chains.extend(chain_of(item));
    }
    chains
}

fn chain_of(item: Item) -> Option<Chain> {
    match item {
        Item::Chain(chain) => Some(*chain),
        Item::Event(_) => None,
    }
}

/// Feeds events and returns all emitted chains.
fn build(mut builder: Builder, events: impl IntoIterator<Item = Event>) -> Vec<Chain> {
    for event in events {
        builder.push(event);
    }
    builder.finish().into_iter().filter_map(chain_of).collect()
}

/// Every chain and nested chain with the key of its parent.
fn flat(chains: &[Chain]) -> Vec<(Option<ChainKey>, &Chain)> {
    let mut all: Vec<(Option<ChainKey>, &Chain)> = chains.iter().map(|chain| (None, chain)).collect();
    let mut next = 0;
    while let Some((_, chain)) = all.get(next).copied() {
        all.extend(chain.nested.iter().map(|nested| (Some(chain.key), nested)));
        next += 1;
    }
    all
}

/// The numbers that identify the events of the histories, for all events of a chain.
fn marks(chain: &Chain) -> Vec<String> {
    let mut marks = Vec::new();
    marks.extend(chain.request.iter().map(|request| format!("request by {}", request.process.tid)));
    marks.extend(chain.helper.iter().map(|helper| format!("helper {}", helper.pid)));
    marks.extend(chain.modules.iter().map(|module| format!("load {}", mark(&module.load))));
    marks.extend(chain.modules.iter().filter_map(|module| Some(format!("init {}", module.init.as_ref()?.duration_ns))));
    marks.extend(chain.attempts.iter().map(|attempt| format!("attempt {}", attempt.ret)));
    marks.extend(chain.result.iter().map(|result| format!("result {:?}", result.code)));
    marks
}

fn mark_of(tagged: &TaggedEvent) -> Option<String> {
    Some(match &tagged.event.body {
        Body::Request(request) => format!("request by {}", request.process.tid),
        Body::Helper(helper) => format!("helper {}", helper.pid),
        Body::Load(load) => format!("load {}", mark(load)),
        Body::Init(init) => format!("init {}", init.duration_ns),
        Body::Attempt(attempt) => format!("attempt {}", attempt.ret),
        Body::Result(result) => format!("result {:?}", result.code),
        _ => return None,
    })
}

fn whole(scenarios: &[history::Scenario], choices: &[u8]) -> Result<(), TestCaseError> {
    let history = generate(scenarios, choices);
    let model = Model::new(&history);
    let mut due: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    for tag in 0..history.plans.len() {
        if let Some(at) = model.comes_out(tag) {
            due.entry(at).or_default().insert(tag);
        }
    }
    let mut builder = Builder::new();
    for (at, tagged) in history.events.iter().enumerate() {
        builder.push(tagged.event.clone());
        let wanted: Vec<Chain> = due.remove(&at).into_iter().flatten().map(|tag| model.chain(tag)).collect();
        prop_assert_eq!(chains(&mut builder), wanted, "after event {}", at);
    }
    prop_assert!(builder.finish().is_empty() && due.is_empty());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// For any order of events, each chain equals that of the model and is emitted when it ends.
    #[test]
    fn complete_stream_yields_chains_of_the_model(
        scenarios in scenarios(),
        choices in proptest::collection::vec(any::<u8>(), 1..200),
    ) {
        whole(&scenarios, &choices)?;
    }

    /// 62 requests for the same name yield separate chains in any order.
    #[test]
    fn concurrent_requests_for_one_name_yield_separate_chains(choices in proptest::collection::vec(any::<u8>(), 1..400)) {
        whole(&storm(62), &choices)?;
    }

    /// If any events are missing, every incomplete chain is marked, no event is in a wrong chain, and chains that were
    /// not open meanwhile are complete.
    #[test]
    fn missing_events_mark_chains_as_incomplete(
        scenarios in scenarios(),
        choices in proptest::collection::vec(any::<u8>(), 1..200),
        missing in proptest::collection::vec(proptest::bool::weighted(0.15), 1..300),
    ) {
        let history = generate(&scenarios, &choices);
        let model = Model::new(&history);
        let is_missing =
            |at: usize| history.events[at].tag != usize::MAX && missing.get(at % missing.len()).copied().unwrap_or(false);
        let kept: Vec<usize> = (0..history.events.len()).filter(|at| !is_missing(*at)).collect();
        // Each gap is detected at the next event.
        let gaps: Vec<usize> = kept
            .iter()
            .copied()
            .filter(|at| *at > 0 && is_missing(*at - 1) || *at == 0 && is_missing(0))
            .collect();
        let out = build(Builder::new(), kept.iter().map(|at| history.events[*at].event.clone()));
        let all = flat(&out);

        let owner: HashMap<String, usize> =
            history.events.iter().filter_map(|tagged| Some((mark_of(tagged)?, tagged.tag))).collect();
        let mut seen = BTreeSet::new();
        for (parent, chain) in &all {
            for mark in marks(chain) {
                let tag = owner[&mark];
                prop_assert_eq!(history.key(tag), chain.key, "{} is in the wrong chain", mark);
                prop_assert!(seen.insert(mark.clone()), "{} is in two chains", mark);
                let misses = (0..history.events.len()).any(|at| history.events[at].tag == tag && is_missing(at));
                prop_assert!(!misses || !chain.incomplete.is_empty(), "{:?} has no note on what it lacks", chain);
            }
            for module in &chain.modules {
                let other = module.init.as_ref().is_some_and(|init| init.duration_ns != mark(&module.load));
                prop_assert!(!other || !chain.incomplete.is_empty(), "another load's init in {:?}", chain);
            }
            if let (Some(parent), Some(request)) = (parent, &chain.request) {
                let tag = owner[&format!("request by {}", request.process.tid)];
                let wanted = match history.plans[tag].parent {
                    Parent::None => None,
                    Parent::Chain(tag) => Some(history.key(tag)),
                    Parent::Process(process) => Some(ChainKey::Loader(process)),
                };
                prop_assert_eq!(Some(*parent), wanted, "it hangs under another's chain");
            }
        }
        let alone = all.iter().flat_map(|(_, chain)| &chain.incomplete).filter(|note| note.contains("the init of")).count();
        let wanted = kept.iter().filter(|at| mark_of(&history.events[**at]).is_some()).count();
        prop_assert_eq!(seen.len() + alone, wanted, "an event is in no chain");

        for tag in 0..history.plans.len() {
            // A parent whose child is missing completely is marked as well.
            let child_missing = |child: &usize| is_missing(model.first(*child));
            if model.children(tag).iter().any(child_missing) {
                for (_, chain) in all.iter().filter(|(_, chain)| chain.key == history.key(tag)) {
                    let holds = marks(chain).iter().any(|mark| owner[mark] == tag);
                    prop_assert!(!holds || !chain.incomplete.is_empty(), "{:?} has no note on its missing child", chain);
                }
            }
            let Some(end) = model.comes_out(tag) else { continue };
            let is_loader = history.plans[tag].loader.is_some();
            let begin = if is_loader { 0 } else { model.first(tag) };
            let untouched = !(begin..=end).any(is_missing) && !gaps.iter().any(|gap| begin < *gap && *gap <= end);
            if untouched && !is_missing(model.first(tag)) {
                let wanted = model.chain(tag);
                prop_assert!(all.iter().any(|(_, chain)| **chain == wanted), "{:?} is not complete", wanted);
            }
        }
    }

    /// The number of open chains is limited, chains that are emitted early are marked, and no event is lost or in a
    /// wrong chain.
    #[test]
    fn open_chains_stay_within_the_limit(
        scenarios in scenarios(),
        choices in proptest::collection::vec(any::<u8>(), 1..200),
        limit in 1..6usize,
    ) {
        let history = generate(&scenarios, &choices);
        let mut builder = Builder::with_limit(limit);
        let mut out = Vec::new();
        for tagged in &history.events {
            builder.push(tagged.event.clone());
            prop_assert!(builder.open.len() <= limit && builder.current.len() <= limit);
            out.extend(chains(&mut builder));
        }
        out.extend(builder.finish().into_iter().filter_map(chain_of));
        let owner: HashMap<String, usize> =
            history.events.iter().filter_map(|tagged| Some((mark_of(tagged)?, tagged.tag))).collect();
        let mut count = 0;
        for (_, chain) in flat(&out) {
            count += chain.incomplete.iter().filter(|note| note.contains("the init of")).count();
            for mark in marks(chain) {
                count += 1;
                prop_assert_eq!(history.key(owner[&mark]), chain.key);
            }
            prop_assert!(!chain.incomplete.is_empty() || chain.result.is_some());
        }
        prop_assert_eq!(count, owner.len());
    }

    /// With names of any length the builder stays within its memory limits, accounts for its memory correctly, and no
    /// event is lost or in a wrong chain.
    #[test]
    fn memory_stays_within_the_limits(
        scenarios in scenarios(),
        choices in proptest::collection::vec(any::<u8>(), 1..200),
        padding in proptest::collection::vec(0..40_000_usize, 1..20),
        bytes in 0..100_000_usize,
        chain_bytes in 0..60_000_usize,
    ) {
        let history = generate(&scenarios, &choices);
        let limits = Limits { chains: 1_000, bytes, chain_bytes };
        let mut builder = Builder::with_limits(limits);
        let mut out = Vec::new();
        for (at, tagged) in history.events.iter().enumerate() {
            let mut event = tagged.event.clone();
            let long = Text::from("x".repeat(padding[at % padding.len()]));
            match &mut event.body {
                Body::Request(request) => request.process.argv.push(long),
                Body::Helper(helper) => helper.path = long,
                Body::Load(load) => load.process.exe = Some(long),
                Body::Init(init) => init.effect = Some(long.field()),
                Body::Attempt(attempt) => attempt.file = Some(long),
                Body::Result(result) => result.detail = Some(long.field()),
                _ => {}
            }
            builder.push(event);
            prop_assert!(builder.bytes() <= bytes, "{} of {}", builder.bytes(), bytes);
            prop_assert_eq!(builder.bytes(), builder.open.values().map(|open| open.bytes).sum::<usize>());
            prop_assert_eq!(builder.sizes.len(), builder.open.len());
            prop_assert!(builder.open.values().all(|open| open.bytes <= chain_bytes));
            out.extend(chains(&mut builder));
        }
        out.extend(builder.finish().into_iter().filter_map(chain_of));
        prop_assert_eq!((builder.bytes(), builder.sizes.len(), builder.current.len()), (0, 0, 0));
        prop_assert!(builder.take_issues().is_empty(), "a part of a chain is not a second event");
        let owner: HashMap<String, usize> =
            history.events.iter().filter_map(|tagged| Some((mark_of(tagged)?, tagged.tag))).collect();
        let mut count = 0;
        for (_, chain) in flat(&out) {
            count += chain.incomplete.iter().filter(|note| note.contains("the init of")).count();
            for mark in marks(chain) {
                count += 1;
                prop_assert_eq!(history.key(owner[&mark]), chain.key);
            }
            prop_assert!(!chain.incomplete.is_empty() || (chain.result.is_some() && chain.part == Part::Whole));
        }
        prop_assert_eq!(count, owner.len());
    }

    /// An inconsistent stream (cycles of parents, results before requests, arbitrary numbers) yields each event once,
    /// in trees of bounded depth.
    #[test]
    fn inconsistent_stream_yields_each_event_once(
        scenarios in scenarios(),
        picks in proptest::collection::vec((any::<prop::sample::Index>(), 0..200u64, 0..12u32, 0..12u32), 0..200),
    ) {
        let history = generate(&scenarios, &[0]);
        let id = |tid: u32| RequestId { boot_ns: 7, tid };
        let mut results = 0;
        let events: Vec<Event> = picks
            .iter()
            .map(|(pick, seq, own, parent)| {
                let mut event = history.events[pick.index(history.events.len())].event.clone();
                event.seq = *seq;
                event.request = event.request.map(|_| id(*own));
                match &mut event.body {
                    Body::Request(request) => request.parent_request = Some(id(*parent)),
                    Body::Load(_) => results += 1,
                    _ => {}
                }
                event
            })
            .collect();
        let out = build(Builder::with_limit(8), events);
        let loads: usize = flat(&out).iter().map(|(_, chain)| chain.modules.len()).sum();
        prop_assert_eq!(loads, results);
    }

    /// A long line of parents in any order stays within the depth limit and loses no event.
    #[test]
    fn nesting_depth_is_bounded(order in Just((0..200u32).collect::<Vec<_>>()).prop_shuffle()) {
        let history = generate(&storm(1), &[0]);
        let request = history.events[0].event.clone();
        let id = |tid: u32| RequestId { boot_ns: 7, tid };
        let events = order.iter().enumerate().map(|(seq, number)| {
            let mut event = Event { seq: seq as u64, request: Some(id(*number)), ..request.clone() };
            if let Body::Request(request) = &mut event.body {
                request.parent_request = number.checked_sub(1).map(id);
            }
            event
        });
        let out = build(Builder::new(), events);
        prop_assert_eq!(flat(&out).len(), 200);
        fn depth(chain: &Chain) -> usize {
            1 + chain.nested.iter().map(depth).max().unwrap_or(0)
        }
        prop_assert!(out.iter().all(|chain| depth(chain) <= DEPTH_LIMIT + 1));
    }
}
