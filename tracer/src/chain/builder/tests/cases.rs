//! Single cases.

use super::{
    build, chain_of, chains, flat,
    history::{generate, storm},
};
use crate::{
    chain::{Builder, Chain, ChainKey, Issue, Item, Part, Single, samples},
    event::{Body, Event, Init, Loss, LossStage, ProcessId, RequestId, Status, Text},
};

/// The events of one request: request, helper, load, init, attempt, result, and the end of the stream.
pub(super) fn events() -> Vec<Event> {
    generate(&storm(1), &[0]).events.into_iter().map(|base| base.event).collect()
}

pub(super) fn numbered(bodies: impl IntoIterator<Item = Event>) -> Vec<Event> {
    bodies.into_iter().enumerate().map(|(seq, event)| Event { seq: seq as u64, ..event }).collect()
}

pub(super) fn only(chains: &[Chain]) -> &Chain {
    assert_eq!(chains.len(), 1, "{chains:#?}");
    &chains[0]
}

fn loss(like: &Event, cause: &str, count: u64) -> Event {
    let body = Body::Loss(Loss { stage: LossStage::Probe, cause: cause.to_owned(), count });
    Event { request: None, body, ..like.clone() }
}

/// The same events for an explicit load.
pub(super) fn by_loader(events: Vec<Event>) -> Vec<Event> {
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

/// Losses with one cause are summed up in one note of the chains that were open, and the loss events are emitted.
#[test]
fn losses_mark_open_chains() {
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

/// A loss that is reported before older events marks the chains of those events.
#[test]
fn early_reported_loss_marks_older_chains() {
    let mut events = events();
    let mut found = loss(&events[0], "ring_full", 3);
    found.boot_ns += 1;
    events.insert(0, found);
    assert_eq!(
        only(&build(Builder::new(), numbered(events))).incomplete,
        ["3 events were lost while it ran (ring_full)"]
    );
}

/// A chain without its request event has the time from its id.
#[test]
fn chain_without_request_event_has_time_of_its_id() {
    let whole = build(Builder::new(), events());
    let out = build(Builder::new(), events().split_off(1));
    let chain = only(&out);
    assert_eq!((chain.time, chain.boot_ns), (whole[0].time, whole[0].boot_ns));
    assert_eq!(chain.incomplete, ["its request was not seen: unknown requester"]);
}

/// A child whose parent's request event was lost is nested in the rest of the parent's chain.
#[test]
fn child_of_lost_parent_is_nested() {
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
            "its request was not seen: unknown requester",
            "its end was not seen: it was in flight when tracing ended, or its end was lost"
        ]
    );
    assert!(chain.nested[0].incomplete.is_empty());
}

/// A stream without an end marks its open chains; a stream with an end does not.
#[test]
fn truncated_stream_marks_open_chains() {
    let mut events = events();
    events.truncate(3);
    let out = build(Builder::new(), events);
    assert_eq!(
        only(&out).incomplete,
        [
            "the stream stopped without an end while it ran: the last events may be missing",
            "its end was not seen: it was in flight when tracing ended, or its end was lost"
        ]
    );
}

/// An init without its load becomes a note and is not attributed to another module.
#[test]
fn init_without_load_becomes_a_note() {
    let mut events = events();
    let Body::Init(Init { module, .. }) = &mut events[3].body else { panic!("the fourth event is the init") };
    *module = "other".into();
    let out = build(Builder::new(), events);
    let chain = only(&out);
    assert!(chain.modules[0].init.is_none());
    assert_eq!(chain.incomplete, ["the init of other ended, but its load was not seen"]);
}

/// The chain of a process whose first load may have been lost is marked; that of a later process is not.
#[test]
fn loader_with_possibly_lost_beginning_is_marked() {
    let base = by_loader(events());
    let began_ns = base[0].boot_ns;
    for (start_ns, incomplete) in [(began_ns - 100, true), (began_ns - 10, false)] {
        let mut events = base.clone();
        events.insert(0, Event { boot_ns: began_ns - 50, ..loss(&base[0], "ring_full", 1) });
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

/// A result of an explicit load without its load events yields an incomplete chain.
#[test]
fn result_without_loads_is_incomplete() {
    let events = by_loader(events()).into_iter().filter(|event| matches!(event.body, Body::Result(_) | Body::End(_)));
    let out = build(Builder::new(), numbered(events));
    assert_eq!(only(&out).incomplete, ["the modules that this process loaded were not seen"]);
}

/// The remainder of a chain that was emitted early does not report a missing request.
#[test]
fn remainder_of_early_chain_reports_no_missing_request() {
    let base = generate(&storm(2), &[0, 1]).events;
    let out = build(Builder::with_limit(1), base.into_iter().map(|base| base.event));
    let notes: Vec<&String> = out.iter().flat_map(|chain| &chain.incomplete).collect();
    assert!(notes.iter().any(|note| note.contains("too many open chains")), "{notes:?}");
    assert!(notes.iter().any(|note| note.contains("its first part was emitted")), "{notes:?}");
    assert!(!notes.iter().any(|note| note.contains("was not seen: unknown requester")), "{notes:?}");
}

/// A stream can continue after `finish`.
#[test]
fn stream_can_continue_after_finish() {
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

/// A failed unload is emitted immediately and separately, also for a loading process, and leaves no chain open.
#[test]
fn failed_unload_is_emitted_separately() {
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

/// A failed unload by the helper of a request belongs to its chain.
#[test]
fn failed_unload_by_helper_belongs_to_its_request() {
    let Item::Event(mut failed) = samples::failed_unload() else { unreachable!("it is an event") };
    let mut events = events();
    failed.request = events[0].request;
    events.insert(2, *failed);
    let chains = build(Builder::new(), numbered(events));
    let of_unload = only(&chains).attempts.iter().filter(|attempt| attempt.syscall == "delete_module");
    assert_eq!(of_unload.count(), 1);
}

/// An identical repetition of an event, as a resumed recorder may write it, is ignored.
#[test]
fn repeated_event_is_ignored() {
    for which in [0, 1, 5] {
        let mut base = events();
        base.insert(which + 1, base[which].clone());
        if which == 5 {
            // A nested chain keeps the chain open.
            let mut nested = base[0].clone();
            nested.request = Some(RequestId { boot_ns: base[0].boot_ns + 1, tid: 4_000_000 });
            let Body::Request(request) = &mut nested.body else { panic!("the first event is the request") };
            request.parent_request = base[0].request;
            base.insert(1, nested);
        }
        let mut builder = Builder::new();
        numbered(base).into_iter().for_each(|event| builder.push(event));
        builder.finish();
        assert_eq!(builder.take_issues(), [], "{which}");
    }
}

/// A result without an observed end leaves the chain incomplete.
#[test]
fn result_without_observed_end_is_incomplete() {
    let mut base = events();
    for event in &mut base {
        if let Body::Result(result) = &mut event.body {
            result.incomplete = true;
        }
    }
    let out = build(Builder::new(), numbered(base));
    let note = "its end was not seen: it was in flight when tracing ended, or its end was lost";
    assert_eq!(only(&out).incomplete, [note]);
}

/// Of two events that a request has only once, at any position, neither replaces the other, both are marked, and an
/// issue is reported.
#[test]
fn second_event_with_same_id_is_reported() {
    for (which, event) in [(0, Single::Request), (1, Single::Helper), (5, Single::Result)] {
        let base = events();
        let mut second = base[which].clone();
        match &mut second.body {
            Body::Request(request) => request.process.comm = Text::from("planted"),
            Body::Helper(helper) => helper.path = Text::from("/planted"),
            Body::Result(result) => result.status = Status::NotFound,
            _ => unreachable!("it is one of these"),
        }
        for at in which + 1..base.len() {
            for is_first in [false, true] {
                let mut events = base.clone();
                events.insert(at, second.clone());
                if is_first {
                    events.swap(which, at);
                }
                let mut builder = Builder::new();
                numbered(events).into_iter().for_each(|event| builder.push(event));
                let out: Vec<Chain> = builder.finish().into_iter().filter_map(chain_of).collect();
                let id = base[0].request.unwrap();
                assert_eq!(builder.take_issues(), [Issue::SharedId { event, id, count: 1 }], "{event:?} at {at}");
                assert!(builder.take_issues().is_empty());
                let note = format!("two {} events share the id {id}", event.name());
                let shared = out.iter().filter(|chain| chain.incomplete.contains(&note)).count();
                let both: Vec<&Chain> = out.iter().filter(|chain| super::has(chain, event)).collect();
                assert_eq!(both.len(), 2, "{event:?} at {at}: {out:#?}");
                // A chain that was emitted before the second event cannot be marked.
                let is_out = at > 5;
                assert_eq!(shared, if is_out { 1 } else { 2 }, "{event:?} at {at}: {out:#?}");
                assert!(out.iter().any(|chain| chain.part == if is_out { Part::Rest } else { Part::Duplicate }));
                assert_eq!(out.iter().map(|chain| chain.modules.len()).sum::<usize>(), 1);
            }
        }
    }
}

/// An event that lacks its request id is emitted and reported as an issue.
#[test]
fn event_without_request_id_is_an_issue() {
    let mut base = events();
    base.iter_mut().for_each(|event| {
        if matches!(event.body, Body::Request(_) | Body::Helper(_) | Body::Result(_)) {
            event.request = None;
        }
    });
    let mut builder = Builder::new();
    base.into_iter().for_each(|event| builder.push(event));
    let items = builder.finish();
    let alone = items.iter().filter(|item| matches!(item, Item::Event(event) if !matches!(event.body, Body::End(_))));
    assert_eq!(alone.count(), 3);
    let wanted = [Single::Request, Single::Helper, Single::Result].map(|event| Issue::NoId { event, count: 1 });
    assert_eq!(builder.take_issues(), wanted);
}
