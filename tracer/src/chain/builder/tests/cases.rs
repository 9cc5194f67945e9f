//! Single cases, told by hand.

use super::{
    build, chain_of, chains, flat,
    history::{storm, tell},
};
use crate::{
    chain::{Builder, Chain, ChainKey, Issue, Item, Limits, Part, Single, growth::is_linear, samples},
    event::{Body, Event, Init, Loss, LossStage, ProcessId, RequestId, Status, Text},
};

/// The events of one request: request, helper, load, init, attempt, result, and the stream's end.
fn events() -> Vec<Event> {
    tell(&storm(1), &[0]).told.into_iter().map(|told| told.event).collect()
}

fn numbered(bodies: impl IntoIterator<Item = Event>) -> Vec<Event> {
    bodies.into_iter().enumerate().map(|(seq, event)| Event { seq: seq as u64, ..event }).collect()
}

fn only(chains: &[Chain]) -> &Chain {
    assert_eq!(chains.len(), 1, "{chains:#?}");
    &chains[0]
}

fn loss(like: &Event, cause: &str, count: u64) -> Event {
    let body = Body::Loss(Loss { stage: LossStage::Probe, cause: cause.to_owned(), count });
    Event { request: None, body, ..like.clone() }
}

/// As the events of a process that loads by itself.
fn by_loader(events: Vec<Event>) -> Vec<Event> {
    let mut events: Vec<Event> =
        events.into_iter().filter(|event| !matches!(event.body, Body::Request(_) | Body::Helper(_))).collect();
    let loader = events.iter().find_map(|event| match &event.body {
        Body::Load(load) => Some(load.process.id()),
        _ => None,
    });
    for event in &mut events {
        event.request = None;
        if let Body::Result(result) = &mut event.body {
            result.loader = loader;
        }
    }
    events
}

/// Check that losses of one cause add up to one sentence, only in chains that were open, and come out themselves.
#[test]
fn losses_mark_what_is_open() {
    let mut events = events();
    let (early, late) = (loss(&events[0], "ring_full", 7), loss(&events[0], "ring_full", 2));
    events.insert(0, early);
    events.insert(2, late.clone());
    events.insert(4, late.clone());
    events.insert(9, late);
    let mut builder = Builder::new();
    let mut losses = 0;
    let mut out = Vec::new();
    for event in numbered(events) {
        builder.push(event);
    }
    for item in builder.finish() {
        match item {
            Item::Event(event) if matches!(event.body, Body::Loss(_)) => losses += 1,
            Item::Event(_) => {}
            Item::Chain(chain) => out.push(*chain),
        }
    }
    assert_eq!(losses, 4);
    assert_eq!(only(&out).incomplete, ["4 events were lost while it ran (ring_full)"]);
}

/// Check that a loss which was found while older events still waited to be read marks the chains that these make.
#[test]
fn losses_told_in_front_mark_what_is_older() {
    let mut events = events();
    let mut found = loss(&events[0], "ring_full", 3);
    found.boot_ns += 1;
    events.insert(0, found);
    assert_eq!(
        only(&build(Builder::new(), numbered(events))).incomplete,
        ["3 events were lost while it ran (ring_full)"]
    );
}

/// Check that a chain without its request still knows when it was asked, from its id.
#[test]
fn a_lost_request_keeps_its_time() {
    let whole = build(Builder::new(), events());
    let out = build(Builder::new(), events().split_off(1));
    let chain = only(&out);
    assert_eq!((chain.time, chain.boot_ns), (whole[0].time, whole[0].boot_ns));
    assert_eq!(chain.incomplete, ["its request was not seen: who asked is unknown"]);
}

/// Check that a child whose parent's request was lost hangs under what is known of the parent.
#[test]
fn a_lost_parent_keeps_its_children() {
    let mut events = events();
    let parent = RequestId { boot_ns: 999_999_000, tid: 1 };
    let Body::Request(request) = &mut events[0].body else { panic!("the first event is the request") };
    request.parent_request = Some(parent);
    let out = build(Builder::new(), events);
    let chain = only(&out);
    assert_eq!((chain.key, chain.nested.len(), chain.boot_ns), (ChainKey::Request(parent), 1, 999_999_000));
    assert_eq!(
        chain.incomplete,
        [
            "its request was not seen: who asked is unknown",
            "its end was not seen: it still ran when tracing ended, or its end was lost"
        ]
    );
    assert!(chain.nested[0].incomplete.is_empty());
}

/// Check that a stream that stops without an end says so in what was open, and says nothing when it has one.
#[test]
fn a_cut_stream_is_told() {
    let mut events = events();
    events.truncate(3);
    let out = build(Builder::new(), events);
    assert_eq!(
        only(&out).incomplete,
        [
            "the events stop without an end while it ran: the last may be missing",
            "its end was not seen: it still ran when tracing ended, or its end was lost"
        ]
    );
}

/// Check that an init without its load is told, and not given to another module.
#[test]
fn an_init_alone_is_told() {
    let mut events = events();
    let Body::Init(Init { module, .. }) = &mut events[3].body else { panic!("the fourth event is the init") };
    *module = "other".into();
    let out = build(Builder::new(), events);
    let chain = only(&out);
    assert!(chain.modules[0].init.is_none());
    assert_eq!(chain.incomplete, ["the init of other ended, but its arrival was not seen"]);
}

/// Check that a process whose first load may be among the lost says so, and one that began later does not.
#[test]
fn a_loaders_beginning_may_be_lost() {
    let told = by_loader(events());
    let began_ns = told[0].boot_ns;
    for (start_ns, incomplete) in [(began_ns - 100, true), (began_ns - 10, false)] {
        let mut events = told.clone();
        events.insert(0, Event { boot_ns: began_ns - 50, ..loss(&told[0], "ring_full", 1) });
        for event in &mut events {
            match &mut event.body {
                Body::Load(load) => load.process.start_ns = start_ns,
                Body::Init(init) => init.start_ns = start_ns,
                Body::Attempt(attempt) => attempt.process.start_ns = start_ns,
                Body::Result(result) => {
                    result.loader = result.loader.map(|loader| ProcessId { start_ns, ..loader });
                }
                _ => {}
            }
        }
        let out = build(Builder::new(), numbered(events));
        assert_eq!(!only(&out).incomplete.is_empty(), incomplete, "{:?}", out[0].incomplete);
    }
}

/// Check that a loader's result without its loads is a chain that says what it misses.
#[test]
fn a_result_alone_is_told() {
    let events = by_loader(events()).into_iter().filter(|event| matches!(event.body, Body::Result(_) | Body::End(_)));
    let out = build(Builder::new(), numbered(events));
    assert_eq!(only(&out).incomplete, ["what this process loaded was not seen"]);
}

/// Check that what follows a chain that had to make room does not claim that its request was never seen.
#[test]
fn a_continued_chain_says_so() {
    let told = tell(&storm(2), &[0, 1]).told;
    let out = build(Builder::with_limit(1), told.into_iter().map(|told| told.event));
    let notes: Vec<&String> = out.iter().flat_map(|chain| &chain.incomplete).collect();
    assert!(notes.iter().any(|note| note.contains("too many open chains")), "{notes:?}");
    assert!(notes.iter().any(|note| note.contains("its first part was emitted")), "{notes:?}");
    assert!(!notes.iter().any(|note| note.contains("was not seen: who asked")), "{notes:?}");
}

/// Check that a stream can go on after its chains were handed out at its end.
#[test]
fn a_builder_outlives_a_finish() {
    let mut builder = Builder::new();
    let (first, second) = (events(), events());
    let end = first.len() as u64;
    for event in first {
        builder.push(event);
    }
    assert_eq!(builder.finish().into_iter().filter_map(chain_of).count(), 1);
    for mut event in second {
        event.seq += end;
        event.request = event.request.map(|id| RequestId { tid: id.tid + 1, ..id });
        builder.push(event);
    }
    let out = chains(&mut builder);
    assert_eq!(flat(&out).len(), 1);
    assert!(only(&out).incomplete.is_empty(), "{:?}", out[0].incomplete);
}

/// Check that an unload that failed is told at once and by itself, also of a process that loads, and leaves nothing open.
#[test]
fn a_failed_unload_is_a_story_of_its_own() {
    let Item::Event(mut failed) = samples::failed_unload() else { unreachable!("it is an event") };
    assert_eq!(ChainKey::of(&failed), None);
    let mut builder = Builder::new();
    failed.seq = 0;
    builder.push(*failed.clone());
    assert_eq!(builder.next_item(), Some(Item::Event(failed.clone())));
    assert!(builder.finish().is_empty());

    let mut events = by_loader(events());
    let loader = events.iter().find_map(|event| match &event.body {
        Body::Load(load) => Some(load.process.clone()),
        _ => None,
    });
    let Body::Attempt(attempt) = &mut failed.body else { unreachable!("it is an attempt") };
    attempt.process = loader.unwrap();
    events.insert(1, *failed);
    let chains = build(Builder::new(), numbered(events));
    let chain = only(&chains);
    assert!(chain.incomplete.is_empty() && chain.attempts.iter().all(|attempt| attempt.syscall != "delete_module"));
}

/// Check that an unload that a request's helper failed to do stays a part of it.
#[test]
fn a_failed_unload_of_a_helper_belongs_to_its_request() {
    let Item::Event(mut failed) = samples::failed_unload() else { unreachable!("it is an event") };
    let mut events = events();
    failed.request = events[0].request;
    events.insert(2, *failed);
    let chains = build(Builder::new(), numbered(events));
    let of_unload = only(&chains).attempts.iter().filter(|attempt| attempt.syscall == "delete_module");
    assert_eq!(of_unload.count(), 1);
}

/// Check that the same event again, as a recorder that was resumed may write it, is no second one.
#[test]
fn the_same_event_again_is_no_second_one() {
    for which in [0, 1, 5] {
        let mut told = events();
        told.insert(which + 1, told[which].clone());
        if which == 5 {
            // Something nested keeps the chain open.
            let mut nested = told[0].clone();
            nested.request = Some(RequestId { boot_ns: told[0].boot_ns + 1, tid: 4_000_000 });
            let Body::Request(request) = &mut nested.body else { panic!("the first event is the request") };
            request.parent_request = told[0].request;
            told.insert(1, nested);
        }
        let mut builder = Builder::new();
        numbered(told).into_iter().for_each(|event| builder.push(event));
        builder.finish();
        assert_eq!(builder.take_issues(), [], "{which}");
    }
}

/// A result that says that the end was not seen leaves the chain incomplete.
#[test]
fn result_without_its_end_is_incomplete() {
    let mut told = events();
    for event in &mut told {
        if let Body::Result(result) = &mut event.body {
            result.incomplete = true;
        }
    }
    let out = build(Builder::new(), numbered(told));
    let note = "its end was not seen: it still ran when tracing ended, or its end was lost";
    assert_eq!(only(&out).incomplete, [note]);
}

/// Check that of two events of which a request has one neither takes the place of the other, wherever the second is told,
/// that both say so, and that it is an issue.
#[test]
fn a_second_event_with_an_id_is_not_hidden() {
    for (which, event) in [(0, Single::Request), (1, Single::Helper), (5, Single::Result)] {
        let told = events();
        let mut second = told[which].clone();
        match &mut second.body {
            Body::Request(request) => request.process.comm = Text::from("planted"),
            Body::Helper(helper) => helper.path = Text::from("/planted"),
            Body::Result(result) => result.status = Status::NotFound,
            _ => unreachable!("it is one of these"),
        }
        for at in which + 1..told.len() {
            for is_first in [false, true] {
                let mut events = told.clone();
                events.insert(at, second.clone());
                if is_first {
                    events.swap(which, at);
                }
                let mut builder = Builder::new();
                numbered(events).into_iter().for_each(|event| builder.push(event));
                let out: Vec<Chain> = builder.finish().into_iter().filter_map(chain_of).collect();
                let id = told[0].request.unwrap();
                assert_eq!(builder.take_issues(), [Issue::SharedId { event, id, count: 1 }], "{event:?} at {at}");
                assert!(builder.take_issues().is_empty());
                let note = format!("two {} events share the id {id}", event.name());
                let shared = out.iter().filter(|chain| chain.incomplete.contains(&note)).count();
                let both: Vec<&Chain> = out.iter().filter(|chain| super::has(chain, event)).collect();
                assert_eq!(both.len(), 2, "{event:?} at {at}: {out:#?}");
                // What came out before the second one was told cannot say so.
                let is_out = at > 5;
                assert_eq!(shared, if is_out { 1 } else { 2 }, "{event:?} at {at}: {out:#?}");
                assert!(out.iter().any(|chain| chain.part == if is_out { Part::Rest } else { Part::Duplicate }));
                assert_eq!(out.iter().map(|chain| chain.modules.len()).sum::<usize>(), 1);
            }
        }
    }
}

/// Check that an event that belongs to a request and does not say to which comes out, and is an issue.
#[test]
fn events_without_an_id_are_told() {
    let mut told = events();
    told.iter_mut().for_each(|event| {
        if matches!(event.body, Body::Request(_) | Body::Helper(_) | Body::Result(_)) {
            event.request = None;
        }
    });
    let mut builder = Builder::new();
    told.into_iter().for_each(|event| builder.push(event));
    let items = builder.finish();
    let alone = items.iter().filter(|item| matches!(item, Item::Event(event) if !matches!(event.body, Body::End(_))));
    assert_eq!(alone.count(), 3);
    let wanted = [Single::Request, Single::Helper, Single::Result].map(|event| Issue::NoId { event, count: 1 });
    assert_eq!(builder.take_issues(), wanted);
}

/// Check that a chain that is too large comes out in parts that have all of it, that each part says so, and that what is
/// loaded without a request says it too.
#[test]
fn a_large_chain_comes_out_in_parts() {
    let limits = Limits { chain_bytes: 20_000, ..Limits::default() };
    let loads = |by_itself: bool| {
        let told = events();
        let many = (0..100).map(|number| {
            let mut load = told[2].clone();
            if let Body::Load(body) = &mut load.body {
                body.module = Text::from(format!("m{number}"));
            }
            load
        });
        let all: Vec<Event> = [told[0].clone()].into_iter().chain(many).chain(told[5..].to_vec()).collect();
        if by_itself { numbered(by_loader(all)) } else { numbered(all) }
    };
    for by_itself in [false, true] {
        let out = build(Builder::with_limits(limits), loads(by_itself));
        assert!(out.len() > 3, "{}", out.len());
        let names: Vec<String> =
            out.iter().flat_map(|chain| &chain.modules).map(|module| module.load.module.field()).collect();
        assert_eq!(names, (0..100).map(|number| format!("m{number}")).collect::<Vec<_>>());
        let (last, first) = out.split_last().unwrap();
        for chain in first {
            assert_eq!(chain.incomplete.last().unwrap(), "emitted early: the chain is larger than 20000 bytes");
        }
        assert!(last.result.is_some());
        for (number, chain) in out.iter().enumerate() {
            assert_eq!(chain.part, if number == 0 { Part::Whole } else { Part::Rest });
            assert!(!chain.incomplete.is_empty(), "{chain:?}");
        }
        // What the process loads later is no part of that.
        let mut builder = Builder::with_limits(limits);
        loads(by_itself).into_iter().for_each(|event| builder.push(event));
        builder.finish();
        let mut again = numbered(by_loader(events()));
        again.iter_mut().for_each(|event| event.seq += 1_000);
        let later = build(builder, again);
        assert_eq!(only(&later).part, Part::Whole);
    }
}

/// Check that nested chains of a chain that has no more room for them come out by themselves.
#[test]
fn what_is_nested_in_a_full_chain_comes_out() {
    let mut told = events();
    told.truncate(2);
    let parent = told[0].request.unwrap();
    for number in 0..50 {
        let mut nested = events();
        nested.pop();
        for event in &mut nested {
            event.request = Some(RequestId { boot_ns: parent.boot_ns + 1, tid: 100 + number });
            if let Body::Request(request) = &mut event.body {
                request.parent_request = Some(parent);
            }
        }
        told.extend(nested);
    }
    told.extend(events().split_off(2));
    let limits = Limits { chain_bytes: 100_000, ..Limits::default() };
    let out = build(Builder::with_limits(limits), numbered(told));
    let all = flat(&out);
    assert_eq!(all.iter().filter(|(_, chain)| chain.request.is_some()).count(), 51);
    assert_eq!(all.iter().map(|(_, chain)| chain.modules.len()).sum::<usize>(), 51);
    assert!(out.len() > 10 && out.iter().any(|chain| chain.nested.len() > 5), "{}", out.len());
    let full = out.iter().find(|chain| !chain.nested.is_empty()).unwrap();
    assert!(full.incomplete.iter().any(|note| note.contains("larger than 100000 bytes")), "{:?}", full.incomplete);
}

/// Check that one chain with much in it takes a time that grows with it: inits that end in the order of their loads or in the
/// opposite one, and nested chains that end in any order.
#[test]
fn one_large_chain_grows_linearly() {
    let limits = Limits { chains: usize::MAX, bytes: usize::MAX, chain_bytes: usize::MAX };
    // What comes first is not part of what is measured.
    let prepared = |events: Vec<Event>, first: usize| {
        let mut events = numbered(events);
        let rest = events.split_off(first);
        let mut builder = Builder::with_limits(limits);
        events.into_iter().for_each(|event| builder.push(event));
        (builder, rest)
    };
    let push = |(builder, events): (Builder, Vec<Event>)| assert_eq!(build(builder, events).len(), 1);
    let inits = |size: usize, is_reversed: bool| {
        let told = events();
        let named = |like: &Event, number: usize| {
            let mut event = like.clone();
            match &mut event.body {
                Body::Load(load) => load.module = Text::from(format!("m{number}")),
                Body::Init(init) => init.module = Text::from(format!("m{number}")),
                _ => {}
            }
            event
        };
        let loads = (0..size).map(|number| named(&told[2], number));
        let inits = (0..size).map(|number| named(&told[3], if is_reversed { size - number - 1 } else { number }));
        told[..2].iter().cloned().chain(loads).chain(inits).chain(told[5..].iter().cloned()).collect::<Vec<_>>()
    };
    let nested = |size: usize| {
        let told = events();
        let parent = told[0].request.unwrap();
        let inner = (0..size).rev().flat_map(|number| {
            let mut pair = [told[0].clone(), told[5].clone()];
            for event in &mut pair {
                event.request = Some(RequestId { boot_ns: parent.boot_ns + 1 + number as u64, tid: 1 });
                if let Body::Request(request) = &mut event.body {
                    request.parent_request = Some(parent);
                }
            }
            pair
        });
        told[..1].iter().cloned().chain(inner).chain(told[5..].iter().cloned()).collect::<Vec<_>>()
    };
    is_linear("inits in order", 2_000, |size| prepared(inits(size, false), 2 + size), push);
    is_linear("inits in the opposite order", 2_000, |size| prepared(inits(size, true), 2 + size), push);
    is_linear("nested chains", 1_000, |size| prepared(nested(size), 1), push);
}
