//! Size limits of chains, and the time to build large ones.

use super::{
    build,
    cases::{by_loader, events, numbered, only},
    flat,
};
use crate::{
    chain::{Builder, Limits, Part, growth::is_linear},
    event::{Body, Event, RequestId, Text},
};

/// A chain that is too large is emitted in marked parts that contain all of its events, also for an explicit load.
#[test]
fn oversized_chain_is_emitted_in_parts() {
    let limits = Limits { chain_bytes: 20_000, ..Limits::default() };
    let loads = |is_explicit: bool| {
        let base = events();
        let many = (0..100).map(|number| {
            let mut load = base[2].clone();
            if let Body::Load(body) = &mut load.body {
                body.module = Text::from(format!("m{number}"));
            }
            load
        });
        let all: Vec<Event> = [base[0].clone()].into_iter().chain(many).chain(base[5..].to_vec()).collect();
        if is_explicit { numbered(by_loader(all)) } else { numbered(all) }
    };
    for is_explicit in [false, true] {
        let out = build(Builder::with_limits(limits), loads(is_explicit));
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
        // Later loads of the process do not belong to it.
        let mut builder = Builder::with_limits(limits);
        loads(is_explicit).into_iter().for_each(|event| builder.push(event));
        builder.finish();
        let mut again = numbered(by_loader(events()));
        again.iter_mut().for_each(|event| event.seq += 1_000);
        let later = build(builder, again);
        assert_eq!(only(&later).part, Part::Whole);
    }
}

/// Nested chains beyond the size limit of their parent are emitted separately.
#[test]
fn nested_chains_of_full_chain_are_emitted_separately() {
    let mut base = events();
    base.truncate(2);
    let parent = base[0].request.unwrap();
    for number in 0..50 {
        let mut nested = events();
        nested.pop();
        for event in &mut nested {
            event.request = Some(RequestId { boot_ns: parent.boot_ns + 1, tid: 100 + number });
            if let Body::Request(request) = &mut event.body {
                request.parent_request = Some(parent);
            }
        }
        base.extend(nested);
    }
    base.extend(events().split_off(2));
    let limits = Limits { chain_bytes: 100_000, ..Limits::default() };
    let out = build(Builder::with_limits(limits), numbered(base));
    let all = flat(&out);
    assert_eq!(all.iter().filter(|(_, chain)| chain.request.is_some()).count(), 51);
    assert_eq!(all.iter().map(|(_, chain)| chain.modules.len()).sum::<usize>(), 51);
    assert!(out.len() > 10 && out.iter().any(|chain| chain.nested.len() > 5), "{}", out.len());
    let full = out.iter().find(|chain| !chain.nested.is_empty()).unwrap();
    assert!(full.incomplete.iter().any(|note| note.contains("larger than 100000 bytes")), "{:?}", full.incomplete);
}

/// Building one large chain takes linear time, for inits that end in either order and nested chains that end in any
/// order.
#[test]
fn building_large_chain_is_linear() {
    let limits = Limits { chains: usize::MAX, bytes: usize::MAX, chain_bytes: usize::MAX };
    // The setup is not measured.
    let prepared = |events: Vec<Event>, first: usize| {
        let mut events = numbered(events);
        let rest = events.split_off(first);
        let mut builder = Builder::with_limits(limits);
        events.into_iter().for_each(|event| builder.push(event));
        (builder, rest)
    };
    let push = |(builder, events): (Builder, Vec<Event>)| assert_eq!(build(builder, events).len(), 1);
    let inits = |size: usize, is_reversed: bool| {
        let base = events();
        let named = |like: &Event, number: usize| {
            let mut event = like.clone();
            match &mut event.body {
                Body::Load(load) => load.module = Text::from(format!("m{number}")),
                Body::Init(init) => init.module = Text::from(format!("m{number}")),
                _ => {}
            }
            event
        };
        let loads = (0..size).map(|number| named(&base[2], number));
        let inits = (0..size).map(|number| named(&base[3], if is_reversed { size - number - 1 } else { number }));
        base[..2].iter().cloned().chain(loads).chain(inits).chain(base[5..].iter().cloned()).collect::<Vec<_>>()
    };
    let nested = |size: usize| {
        let base = events();
        let parent = base[0].request.unwrap();
        let inner = (0..size).rev().flat_map(|number| {
            let mut pair = [base[0].clone(), base[5].clone()];
            for event in &mut pair {
                event.request = Some(RequestId { boot_ns: parent.boot_ns + 1 + number as u64, tid: 1 });
                if let Body::Request(request) = &mut event.body {
                    request.parent_request = Some(parent);
                }
            }
            pair
        });
        base[..1].iter().cloned().chain(inner).chain(base[5..].iter().cloned()).collect::<Vec<_>>()
    };
    is_linear("inits in order", 2_000, |size| prepared(inits(size, false), 2 + size), push);
    is_linear("inits in the opposite order", 2_000, |size| prepared(inits(size, true), 2 + size), push);
    is_linear("nested chains", 1_000, |size| prepared(nested(size), 1), push);
}
