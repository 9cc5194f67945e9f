//! Ends that depend on who still runs.

use tracer_ebpf::wire;
use zerocopy::FromZeros;

use super::{arrives_for, asks, ends, handed_over, header, key, returns, tracker};
use crate::{
    event::{Body, Status},
    probe::Record,
};

/// The helper of a request is born.
pub(super) fn helper(asker: u32, asked_ns: u64, pid: u32) -> Record {
    let mut helper = wire::Helper::new_zeroed();
    helper.header = header(pid, asked_ns + 2);
    helper.request = key(asker, asked_ns);
    Record::Helper(Box::new(helper))
}

/// Check that a request whose requester does not wait ends after all that its helper did, though the helper is found gone
/// before its last record was read.
#[test]
fn a_request_ends_after_its_helper() {
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
        tracker.knowledge.dead.insert(8);
        tracker.tick(2_010, 2_010);
        tracker.record(init);
        tracker.tick(3_000, 3_000);
        let events = tracker.take_events();
        assert!(matches!(events.last().unwrap().body, Body::Result(_)), "{events:?}");
        assert_eq!(events.iter().filter(|event| matches!(event.body, Body::Result(_))).count(), 1);
        assert_eq!(tracker.open(), 0);
    }
}

/// Check that a thread that waits for its turn is not told as killed because the first of its process has ended, and that
/// one which is gone is, though its process lives.
#[test]
fn the_thread_that_asks_is_looked_at() {
    let by_thread = |tid, asked_ns, name| {
        let Record::Request(mut request) = asks(7, asked_ns, name) else { unreachable!("it is a request") };
        (request.header.tid, request.request.tid, request.context.tid) = (tid, tid, tid);
        Record::Request(request)
    };
    for (dead, ended) in [(7, None), (8, Some(Status::Interrupted))] {
        let mut tracker = tracker();
        tracker.record(by_thread(8, 1_000, "fs-x"));
        tracker.knowledge.dead.insert(dead);
        tracker.tick(1_000_000_000, 1_000_000_000);
        tracker.tick(2_000_000_000, 2_000_000_000);
        assert_eq!(ends(&tracker.take_events()).into_values().next(), ended, "{dead}");
    }
}

/// Check that a helper that is born after its requester was killed still belongs to the request, however long that waited
/// for its turn.
#[test]
fn a_late_helper_belongs_to_its_request() {
    let mut tracker = tracker();
    tracker.record(asks(7, 1_000, "fs-x"));
    let Record::Result(mut result) = returns(7, 1_000, -512) else { unreachable!("it is a result") };
    result.header.boot_ns = 20_000_000_000;
    tracker.record(Record::Result(result));
    tracker.tick(20_100_000_000, 20_100_000_000);
    let Record::Helper(mut born) = helper(7, 1_000, 8) else { unreachable!("it is a helper") };
    born.header.boot_ns = 20_200_000_000;
    tracker.record(Record::Helper(born));
    assert!(ends(&tracker.take_events()).is_empty(), "its helper runs");
    tracker.knowledge.dead.insert(8);
    tracker.tick(30_000_000_000, 30_000_000_000);
    tracker.tick(31_000_000_000, 31_000_000_000);
    assert_eq!(ends(&tracker.take_events()).into_values().next(), Some(Status::Interrupted));
}
