//! Single cases, told by hand.

use super::{
    build, chain_of, chains, flat,
    history::{storm, tell},
};
use crate::{
    chain::{Builder, Chain, ChainKey, Item, samples},
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
    assert!(notes.iter().any(|note| note.contains("too many chains were open")), "{notes:?}");
    assert!(notes.iter().any(|note| note.contains("its first part was handed out")), "{notes:?}");
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

/// A second request or result of one id does not replace the first, and the chain says that there is one; the same again
/// (a recorder that was resumed) is none.
#[test]
fn second_result_of_a_request_is_flagged() {
    let note = "the stream has another request or result of the same id: the first is shown";
    let mut told = events();
    let nested = RequestId { boot_ns: told[0].boot_ns + 1, tid: 4_000_000 };
    let mut inner = told[0].clone();
    inner.request = Some(nested);
    let Body::Request(request) = &mut inner.body else { panic!("the first event is the request") };
    request.parent_request = told[0].request;
    // What is nested in it keeps it open.
    told.insert(1, inner);
    let at = told.iter().position(|event| matches!(event.body, Body::Result(_))).unwrap();
    let first = told[at].clone();
    let mut second = first.clone();
    let Body::Result(result) = &mut second.body else { unreachable!("it is a result") };
    result.status = Status::Throttled;
    for (again, is_flagged) in [(first.clone(), false), (second, true)] {
        let mut told = told.clone();
        told.insert(at + 1, again);
        let out = build(Builder::new(), numbered(told));
        let Body::Result(result) = &first.body else { unreachable!("it is a result") };
        assert_eq!(only(&out).result.as_ref(), Some(result));
        assert_eq!(only(&out).incomplete.iter().any(|found| found == note), is_flagged, "{:?}", only(&out).incomplete);
    }
    let mut other = told[0].clone();
    let Body::Request(request) = &mut other.body else { panic!("the first event is the request") };
    request.name = Text::from("fs-other");
    told.insert(2, other);
    let out = build(Builder::new(), numbered(told));
    assert_ne!(only(&out).request.as_ref().unwrap().name, Text::from("fs-other"));
    assert!(only(&out).incomplete.iter().any(|found| found == note));
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
