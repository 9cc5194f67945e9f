//! Requests of which nothing told how they ended.

use tracer_ebpf::wire;
use zerocopy::FromZeros;

use super::{alive::helper, arrives_for, asks, ends, enters, handed_over, header, key, returns, tracker};
use crate::{
    event::{Body, LossStage, RequestId, Status},
    probe::Record,
};

const TICK_NS: u64 = 200_000_000;

fn admitted(pid: u32, asked_ns: u64) -> Record {
    let mut admitted = wire::Admitted::new_zeroed();
    admitted.header = header(pid, asked_ns + 1);
    admitted.request = key(pid, asked_ns);
    admitted.wait = 1;
    Record::Admitted(admitted)
}

const FIRST: RequestId = RequestId { boot_ns: 1_000, tid: 7 };

fn detail(events: &[crate::event::Event], id: RequestId) -> String {
    let of = |event: &crate::event::Event| match &event.body {
        Body::Result(outcome) if event.request == Some(id) => outcome.detail.clone(),
        _ => None,
    };
    events.iter().find_map(of).unwrap_or_default()
}

/// Check that a request for which no modprobe was run ends when its thread asks again, and is not said to be lost.
#[test]
fn a_duplicate_ends_when_its_thread_asks_again() {
    let mut tracker = tracker();
    tracker.record(asks(7, 1_000, "fs-x"));
    tracker.record(admitted(7, 1_000));
    tracker.tick(TICK_NS, TICK_NS);
    assert!(ends(&tracker.take_events()).is_empty(), "its modprobe may come");
    tracker.record(enters(7, 2 * TICK_NS, "fs-y"));
    tracker.tick(3 * TICK_NS, 3 * TICK_NS);
    let events = tracker.take_events();
    assert_eq!(ends(&events).get(&FIRST), Some(&Status::Unknown));
    assert!(detail(&events, FIRST).contains("no modprobe was seen"), "{events:?}");
    assert_eq!(tracker.open(), 0);
}

/// Check that it ends after a while by itself, but not while the one that it may wait for is under way.
#[test]
fn a_duplicate_ends_after_the_first() {
    let mut tracker = tracker();
    tracker.record(asks(6, 900, "fs-x"));
    tracker.record(handed_over(6, 900));
    tracker.record(asks(7, 1_000, "fs-x"));
    tracker.record(admitted(7, 1_000));
    tracker.tick(60_000_000_000, 60_000_000_000);
    assert!(ends(&tracker.take_events()).is_empty());
    tracker.record(returns(6, 900, 0));
    tracker.tick(60_200_000_000, 60_200_000_000);
    assert_eq!(ends(&tracker.take_events()).get(&FIRST), Some(&Status::Unknown));
    assert_eq!(tracker.open(), 0);
}

/// Check that a request whose result was lost ends when its thread asks again, after all that its helper did.
#[test]
fn a_lost_result_is_told_when_its_thread_asks_again() {
    let mut tracker = tracker();
    tracker.record(asks(7, 1_000, "fs-x"));
    tracker.record(handed_over(7, 1_000));
    tracker.record(helper(7, 1_000, 8));
    tracker.record(asks(7, 2_000, "fs-y"));
    tracker.tick(TICK_NS, TICK_NS);
    arrives_for(7, 1_000, 8, 3_000, "x").into_iter().for_each(|record| tracker.record(record));
    assert!(ends(&tracker.take_events()).is_empty());
    tracker.knowledge.dead.insert(8);
    (2..5).for_each(|turn| tracker.tick(turn * TICK_NS, turn * TICK_NS));
    let events = tracker.take_events();
    assert_eq!(ends(&events).get(&FIRST), Some(&Status::Unknown));
    assert!(detail(&events, FIRST).contains("was lost"));
    assert_eq!(tracker.open(), 1, "the second is under way");
}

/// Check that what never got a place is told as far as it is known: after 5 s the kernel gave up, and before that what
/// stopped it was missed or not seen.
#[test]
fn one_that_got_no_place_is_told_when_its_thread_asks_again() {
    for (again_ns, is_missed, status, losses) in [
        (5_100_000_000, false, Status::Throttled, 0),
        (2_000_000, false, Status::Unknown, 0),
        (2_000_000, true, Status::Unknown, 1),
    ] {
        let mut tracker = tracker();
        tracker.record(asks(7, 1_000, "fs-x"));
        tracker.record(asks(7, again_ns, "fs-y"));
        if is_missed {
            tracker.may_have_missed(again_ns);
        }
        tracker.tick(again_ns + 1, again_ns + 1);
        let events = tracker.take_events();
        assert_eq!(ends(&events).get(&FIRST), Some(&status), "{again_ns} {is_missed}");
        let asked = |body: &Body| matches!(body, Body::Request(_));
        assert!(events.iter().any(|event| event.request == Some(FIRST) && asked(&event.body)), "{events:?}");
        let lost = |body: &Body| matches!(body, Body::Loss(loss) if loss.stage == LossStage::Missed);
        assert_eq!(events.iter().filter(|event| lost(&event.body)).count(), losses);
    }
}

/// Check that requests that are over take no place: a verdict that was missed later is not told as the kernel's limit.
#[test]
fn what_is_over_takes_no_place() {
    let mut tracker = tracker();
    for tid in 100..160 {
        tracker.record(asks(tid, 1_000, "fs-y"));
        tracker.record(admitted(tid, 1_000));
        tracker.record(enters(tid, 2_000, "fs-z"));
        tracker.record(asks(tid, 2_001, "fs-z"));
    }
    tracker.record(asks(7, 3_000, "fs-x"));
    tracker.may_have_missed(3_001);
    tracker.tick(6_000_000_000, 6_000_000_000);
    let late = RequestId { boot_ns: 3_000, tid: 7 };
    assert_eq!(ends(&tracker.take_events()).get(&late), Some(&Status::Unknown));
}

/// Check that whoever has a helper is not told as one that waited in vain for a place.
#[test]
fn a_helper_tells_of_a_place() {
    let mut tracker = tracker();
    tracker.record(asks(7, 1_000, "fs-x"));
    tracker.record(helper(7, 1_000, 8));
    tracker.tick(60_000_000_000, 60_000_000_000);
    assert!(ends(&tracker.take_events()).is_empty());
}

/// Check that what is over at the end of the stream has its end there.
#[test]
fn what_is_over_ends_with_the_stream() {
    for is_run in [false, true] {
        let mut tracker = tracker();
        tracker.record(asks(7, 1_000, "fs-x"));
        tracker.record(if is_run { handed_over(7, 1_000) } else { admitted(7, 1_000) });
        tracker.record(asks(7, 2_000, "fs-y"));
        tracker.finish(3_000);
        let second = RequestId { boot_ns: 2_000, tid: 7 };
        let ended = ends(&tracker.take_events());
        assert_eq!((ended.get(&FIRST), ended.get(&second)), (Some(&Status::Unknown), None));
    }
}
