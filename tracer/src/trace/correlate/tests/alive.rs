//! Outcomes that depend on which processes are alive.

use tracer_ebpf::wire;
use zerocopy::FromZeros;

use super::{arrives_for, asks, drained, ends, handed_over, header, key, returns, stalled_tick, tick, tracker};
use crate::{
    event::{Body, Status},
    probe::Record,
};

/// The helper of a request is executed.
pub(super) fn helper(asker: u32, asked_ns: u64, pid: u32) -> Record {
    let mut helper = wire::Helper::new_zeroed();
    helper.header = header(pid, asked_ns + 2);
    helper.request = key(asker, asked_ns);
    Record::Helper(Box::new(helper))
}

/// A request whose requester does not wait ends after all records of its helper, even if the helper was found dead before
/// its last record was read.
#[test]
fn request_without_wait_ends_after_its_helper() {
    for ret in [0, -512] {
        let mut tracker = tracker();
        tracker.record(asks(7, 1_000, "fs-x"));
        tracker.record(handed_over(7, 1_000));
        tracker.record(helper(7, 1_000, 8));
        let Record::Result(mut result) = returns(7, 1_000, ret) else { unreachable!("it is a result") };
        result.wait = 0;
        tracker.record(Record::Result(result));
        let [load, init] = arrives_for(7, 1_000, 8, 2_000, "x");
        tracker.record(load);
        tracker.environment.dead.insert(8);
        tick(&mut tracker, 2_010);
        (1..100).for_each(|second| stalled_tick(&mut tracker, second * 1_000_000_000));
        tracker.record(init);
        tick(&mut tracker, 100_000_000_000);
        let events = tracker.take_events();
        assert!(matches!(events.last().unwrap().body, Body::Result(_)), "{events:?}");
        assert_eq!(events.iter().filter(|event| matches!(event.body, Body::Result(_))).count(), 1);
        assert_eq!(tracker.open(), 0);
    }
}

/// A waiting thread is not reported as killed because the main thread has exited, and an exited thread is although its
/// process is alive.
#[test]
fn waiting_request_is_resolved_by_its_own_thread() {
    let by_thread = |tid, asked_ns, name| {
        let Record::Request(mut request) = asks(7, asked_ns, name) else { unreachable!("it is a request") };
        (request.header.tid, request.request.tid, request.context.tid) = (tid, tid, tid);
        Record::Request(request)
    };
    for (dead, ended) in [(7, None), (8, Some(Status::Interrupted))] {
        let mut tracker = tracker();
        tracker.record(by_thread(8, 1_000, "fs-x"));
        tracker.environment.dead.insert(dead);
        tick(&mut tracker, 1_000_000_000);
        tick(&mut tracker, 2_000_000_000);
        assert_eq!(ends(&tracker.take_events()).into_values().next(), ended, "{dead}");
    }
}

/// A helper that starts after its requester was killed belongs to the request, however long that waited for a slot.
#[test]
fn late_helper_belongs_to_its_request() {
    let mut tracker = tracker();
    tracker.record(asks(7, 1_000, "fs-x"));
    let Record::Result(mut result) = returns(7, 1_000, -512) else { unreachable!("it is a result") };
    result.header.boot_ns = 20_000_000_000;
    tracker.record(Record::Result(result));
    tick(&mut tracker, 20_100_000_000);
    let Record::Helper(mut born) = helper(7, 1_000, 8) else { unreachable!("it is a helper") };
    born.header.boot_ns = 20_200_000_000;
    tracker.record(Record::Helper(born));
    assert!(ends(&tracker.take_events()).is_empty(), "its helper runs");
    tracker.environment.dead.insert(8);
    tick(&mut tracker, 30_000_000_000);
    tick(&mut tracker, 31_000_000_000);
    assert_eq!(ends(&tracker.take_events()).into_values().next(), Some(Status::Interrupted));
}

/// A helper that was never started does not keep its request open.
#[test]
fn request_without_helper_ends_after_a_while() {
    let mut tracker = tracker();
    tracker.record(asks(7, 1_000, "fs-x"));
    tracker.record(returns(7, 1_000, -512));
    (1..10).for_each(|second| tick(&mut tracker, second * 1_000_000_000));
    assert_eq!(ends(&tracker.take_events()).into_values().next(), Some(Status::Interrupted));
    assert_eq!(tracker.open(), 0);
}

/// An outcome is incomplete while the helper still runs, and complete after it has exited.
#[test]
fn outcome_before_helper_exit_is_incomplete() {
    for is_gone in [false, true] {
        let mut tracker = tracker();
        tracker.record(asks(7, 1_000, "fs-x"));
        tracker.record(helper(7, 1_000, 8));
        tracker.record(returns(7, 1_000, -512));
        tracker.environment.dead.extend(is_gone.then_some(8));
        tick(&mut tracker, 2_000);
        tracker.finish(drained(3_000));
        let events = tracker.take_events();
        let incomplete = |body: &Body| matches!(body, Body::Result(end) if end.incomplete);
        assert_eq!(events.iter().any(|event| incomplete(&event.body)), !is_gone);
        assert_eq!(ends(&events).into_values().next(), Some(Status::Interrupted));
    }
}
