//! Requests of which no record tells how they ended.

use tracer_ebpf::wire;
use zerocopy::FromZeros;

use super::{
    World, alive::helper, arrives_for, asks, drained, ends, enters, handed_over, header, key, returns, stalled_tick,
    tick, tracker,
};
use crate::{
    event::{Body, Event, LossStage, RequestId, Status},
    kernel::process::ThreadState,
    probe::Record,
    trace::correlate::Tracker,
};

const TICK_NS: u64 = 200_000_000;

pub(super) const SECOND: u64 = 1_000_000_000;

pub(super) fn admitted(pid: u32, asked_ns: u64) -> Record {
    let mut admitted = wire::Admitted::new_zeroed();
    admitted.header = header(pid, asked_ns + 1);
    admitted.request = key(pid, asked_ns);
    admitted.wait = 1;
    Record::Admitted(admitted)
}

pub(super) const FIRST: RequestId = RequestId { boot_ns: 1_000, tid: 7 };

fn detail(events: &[Event], id: RequestId) -> String {
    let of = |event: &Event| match &event.body {
        Body::Result(outcome) if event.request == Some(id) => outcome.detail.clone(),
        _ => None,
    };
    events.iter().find_map(of).unwrap_or_default()
}

/// Losses of a cause.
pub(super) fn losses(events: &[Event], cause: &str) -> u64 {
    let count = |event: &Event| match &event.body {
        Body::Loss(loss) if loss.cause == cause => Some(loss.count),
        _ => None,
    };
    events.iter().filter_map(count).sum()
}

/// Ticks five times a second, up to a time.
fn ticks(tracker: &mut Tracker<World>, from_ns: u64, to_ns: u64) {
    let mut at_ns = from_ns;
    while at_ns < to_ns {
        tick(tracker, at_ns);
        at_ns += TICK_NS;
    }
}

/// A request is admitted after 3.8 s, and the reader does not see that for long: it has one outcome, the kernel's own. Seen
/// in an emulated guest, where it was told as throttled before that.
#[test]
fn slow_admission_has_one_outcome() {
    for state in [ThreadState::Blocked, ThreadState::Running] {
        for is_stalled in [true, false] {
            let mut tracker = tracker();
            tracker.environment.threads.insert(7, state);
            tracker.record(asks(7, 1_000, "fs-x"));
            for second in 1..30 {
                if is_stalled {
                    stalled_tick(&mut tracker, second * SECOND);
                } else {
                    tick(&mut tracker, second * SECOND);
                }
            }
            let Record::Admitted(mut late) = admitted(7, 1_000) else { unreachable!("it is admitted") };
            late.header.boot_ns = 3_800_001_000;
            tracker.record(Record::Admitted(late));
            tick(&mut tracker, 31 * SECOND);
            tracker.record(handed_over(7, 1_000));
            tracker.record(returns(7, 1_000, 256));
            tick(&mut tracker, 32 * SECOND);
            tracker.finish(drained(33 * SECOND));
            assert_eq!(ends(&tracker.take_events()).get(&FIRST), Some(&Status::NotFound), "{state:?} {is_stalled}");
        }
    }
}

/// A thread that has ended has recorded what it did before; while that waits in the ring, nothing is concluded.
#[test]
fn thread_that_ended_is_no_proof_before_its_records_were_read() {
    let mut tracker = tracker();
    tracker.record(asks(7, 1_000, "fs-x"));
    ticks(&mut tracker, 0, 6 * SECOND);
    tracker.environment.dead.insert(7);
    tick(&mut tracker, 6 * SECOND);
    (7..20).for_each(|second| stalled_tick(&mut tracker, second * SECOND));
    assert!(ends(&tracker.take_events()).is_empty());
    for record in [admitted(7, 1_000), handed_over(7, 1_000), returns(7, 1_000, 256)] {
        tracker.record(record);
    }
    tick(&mut tracker, 20 * SECOND);
    tracker.finish(drained(21 * SECOND));
    assert_eq!(ends(&tracker.take_events()).get(&FIRST), Some(&Status::NotFound));
}

/// A request that waits for a place: after the kernel's 5 s it was throttled if its thread went on, killed if that was gone
/// well before, and open as long as the thread may still wait.
#[test]
fn waiting_for_a_place_ends_as_its_thread_shows() {
    let mut tracker = tracker();
    for (tid, name) in
        [(7, "fs-asks"), (8, "fs-killed"), (9, "fs-either"), (10, "fs-sleeps"), (11, "fs-waits"), (12, "fs-exits")]
    {
        tracker.record(asks(tid, 1_000, name));
    }
    ticks(&mut tracker, TICK_NS, 2 * SECOND);
    tracker.environment.dead.insert(8);
    ticks(&mut tracker, 2 * SECOND, 4 * SECOND);
    tracker.environment.dead.insert(9);
    ticks(&mut tracker, 4 * SECOND, 5_100_000_000);
    tracker.environment.dead.insert(12);
    tracker.environment.threads.insert(10, ThreadState::Asleep);
    tracker.record(enters(7, 5_110_000_000, "fs-again"));
    ticks(&mut tracker, 5_200_000_000, 60 * SECOND);
    let ended = ends(&tracker.take_events());
    let status = |tid| ended.get(&RequestId { boot_ns: 1_000, tid }).copied();
    assert_eq!(status(7), Some(Status::Throttled));
    assert_eq!(status(8), Some(Status::Interrupted));
    assert_eq!(status(9), Some(Status::Unknown));
    assert_eq!(status(10), Some(Status::Throttled));
    assert_eq!(status(11), None);
    assert_eq!(status(12), Some(Status::Throttled));
    tracker.finish(drained(61 * SECOND));
    let events = tracker.take_events();
    let waits = RequestId { boot_ns: 1_000, tid: 11 };
    assert_eq!(ends(&events).get(&waits), Some(&Status::Unknown));
    assert!(detail(&events, waits).contains("still ran when tracing ended"));
}

/// The rules have their public names.
#[test]
fn rules_are_named() {
    let mut tracker = tracker();
    tracker.record(asks(7, 1_000, "fs-x"));
    tracker.record(asks(8, 1_000, "fs-y"));
    tracker.record(asks(7, 6 * SECOND, "fs-x"));
    tracker.environment.dead.insert(8);
    tick(&mut tracker, 2 * SECOND);
    tick(&mut tracker, 2_200_000_000);
    let events = tracker.take_events();
    let rules = events.iter().filter_map(|event| match &event.body {
        Body::Result(outcome) => outcome.attribution.rule.as_deref(),
        _ => None,
    });
    assert_eq!(rules.collect::<Vec<_>>(), ["admission-timeout", "killed-before-admission"]);
}

/// A reader that looks late cannot tell a request that was killed early from one that was given up.
#[test]
fn late_look_is_no_early_end() {
    let mut tracker = tracker();
    tracker.record(asks(7, 1_000, "fs-x"));
    tracker.environment.dead.insert(7);
    tick(&mut tracker, 4 * SECOND);
    tick(&mut tracker, 5_300_000_000);
    assert_eq!(ends(&tracker.take_events()).get(&FIRST), Some(&Status::Unknown));
}

/// A request that went no further is not called throttled where its verdict may have been missed and there was room for it,
/// and it is where all places were taken.
#[test]
fn missed_verdict_is_not_a_throttled_request() {
    let mut tracker = tracker();
    tracker.record(asks(7, 1_000, "fs-x"));
    tracker.verdicts_missed(1_500);
    tracker.record(asks(7, 6 * SECOND, "fs-again"));
    tick(&mut tracker, 6 * SECOND);
    let events = tracker.take_events();
    assert_eq!(ends(&events).get(&FIRST), Some(&Status::Unknown));
    assert_eq!(losses(&events, "verdict"), 1);

    for tid in 100..150 {
        tracker.record(asks(tid, 7 * SECOND, "fs-y"));
        tracker.record(handed_over(tid, 7 * SECOND));
    }
    tracker.record(asks(8, 7 * SECOND, "fs-z"));
    tracker.verdicts_missed(7 * SECOND + 1);
    tracker.record(asks(8, 13 * SECOND, "fs-again"));
    tick(&mut tracker, 13 * SECOND);
    let late = RequestId { boot_ns: 7 * SECOND, tid: 8 };
    assert_eq!(ends(&tracker.take_events()).get(&late), Some(&Status::Throttled));
}

/// Where records were lost meanwhile, that a request was admitted may be among them.
#[test]
fn lost_records_prove_no_throttling() {
    for is_killed in [false, true] {
        let mut tracker = tracker();
        tracker.record(asks(7, 1_000, "fs-x"));
        tracker.loss(2_000, LossStage::Probe, "ring-stage", 1);
        if is_killed {
            tracker.environment.dead.insert(7);
        } else {
            tracker.record(asks(7, 6 * SECOND, "fs-again"));
        }
        tick(&mut tracker, SECOND);
        tick(&mut tracker, 2 * SECOND);
        assert_eq!(ends(&tracker.take_events()).get(&FIRST), Some(&Status::Unknown));
    }
}

/// A request whose result was lost ends as unknown once its requester is gone, and not before.
#[test]
fn lost_result_ends_with_its_thread() {
    let mut tracker = tracker();
    tracker.record(asks(7, 1_000, "fs-x"));
    tracker.record(handed_over(7, 1_000));
    tick(&mut tracker, 60 * SECOND);
    assert!(ends(&tracker.take_events()).is_empty(), "the requester still waits");
    tracker.environment.dead.insert(7);
    tick(&mut tracker, 60 * SECOND + TICK_NS);
    assert!(ends(&tracker.take_events()).is_empty(), "its record may be on its way");
    ticks(&mut tracker, 61 * SECOND, 68 * SECOND);
    let events = tracker.take_events();
    assert_eq!(ends(&events).get(&FIRST), Some(&Status::Unknown));
    assert!(events.iter().any(|event| matches!(&event.body, Body::Result(outcome) if outcome.incomplete)));
    assert_eq!(tracker.open(), 0);
}

/// A request whose result was lost ends although its thread lives on: a daemon sleeps elsewhere, or never stops running.
#[test]
fn lost_result_of_a_daemon_ends() {
    for (state, until) in [(ThreadState::Asleep, 70), (ThreadState::Running, 130)] {
        let mut tracker = tracker();
        tracker.record(asks(7, 1_000, "fs-x"));
        tracker.record(handed_over(7, 1_000));
        tracker.record(helper(7, 1_000, 8));
        tracker.environment.threads.insert(7, state);
        if state == ThreadState::Running {
            ticks(&mut tracker, SECOND, 59 * SECOND);
            assert!(ends(&tracker.take_events()).is_empty());
        }
        tracker.environment.dead.insert(8);
        ticks(&mut tracker, 60 * SECOND, until * SECOND);
        assert_eq!(ends(&tracker.take_events()).get(&FIRST), Some(&Status::Unknown), "{state:?}");
        assert!(tracker.is_idle());
    }
}

/// Where processes cannot be looked up, nothing is taken for gone; what nothing comes of any more ends as unknown.
#[test]
fn process_that_cannot_be_looked_up_is_not_gone() {
    let mut tracker = tracker();
    tracker.environment.cannot_look = true;
    tracker.record(asks(7, 1_000, "fs-x"));
    tracker.record(asks(8, 1_000, "fs-y"));
    tracker.record(handed_over(8, 1_000));
    ticks(&mut tracker, SECOND, 50 * SECOND);
    assert!(ends(&tracker.take_events()).is_empty());
    ticks(&mut tracker, 50 * SECOND, 70 * SECOND);
    assert_eq!(ends(&tracker.take_events()).into_values().collect::<Vec<_>>(), [Status::Unknown; 2]);
}

/// A request for which no modprobe was run ends when its thread asks again or goes on, and is not said to be lost.
#[test]
fn duplicate_ends_when_its_thread_goes_on() {
    for thread_calls_again in [true, false] {
        let mut tracker = tracker();
        tracker.record(asks(7, 1_000, "fs-x"));
        tracker.record(admitted(7, 1_000));
        ticks(&mut tracker, TICK_NS, 60 * SECOND);
        assert!(ends(&tracker.take_events()).is_empty(), "it may wait for the first, or its modprobe may come");
        if thread_calls_again {
            tracker.record(enters(7, 60 * SECOND, "fs-y"));
        } else {
            tracker.environment.threads.insert(7, ThreadState::Asleep);
        }
        ticks(&mut tracker, 60 * SECOND, 61 * SECOND);
        let events = tracker.take_events();
        assert_eq!(ends(&events).get(&FIRST), Some(&Status::Unknown));
        assert!(detail(&events, FIRST).contains("no modprobe was seen"), "{events:?}");
        assert_eq!(tracker.open(), 0);
    }
}

/// A request whose result was lost ends when its thread asks again, after all that its helper did.
#[test]
fn lost_result_is_told_when_its_thread_asks_again() {
    let mut tracker = tracker();
    tracker.record(asks(7, 1_000, "fs-x"));
    tracker.record(handed_over(7, 1_000));
    tracker.record(helper(7, 1_000, 8));
    tracker.record(asks(7, 2_000, "fs-y"));
    tick(&mut tracker, TICK_NS);
    arrives_for(7, 1_000, 8, 3_000, "x").into_iter().for_each(|record| tracker.record(record));
    assert!(ends(&tracker.take_events()).is_empty());
    tracker.environment.dead.insert(8);
    (2..5).for_each(|turn| tick(&mut tracker, turn * TICK_NS));
    let events = tracker.take_events();
    assert_eq!(ends(&events).get(&FIRST), Some(&Status::Unknown));
    assert!(detail(&events, FIRST).contains("was lost"));
    assert_eq!(tracker.open(), 1, "the second is under way");
}

/// What never got a place is told as far as it is known when its thread asks again: after 5 s the kernel gave up, and before
/// that what stopped it was missed or not seen.
#[test]
fn request_without_a_place_ends_when_its_thread_asks_again() {
    for (again_ns, is_missed, status, missed) in [
        (5_100_000_000, false, Status::Throttled, 0),
        (2_000_000, false, Status::Unknown, 0),
        (2_000_000, true, Status::Unknown, 1),
    ] {
        let mut tracker = tracker();
        tracker.record(asks(7, 1_000, "fs-x"));
        tracker.record(asks(7, again_ns, "fs-y"));
        if is_missed {
            tracker.verdicts_missed(again_ns);
        }
        tick(&mut tracker, again_ns + 1);
        let events = tracker.take_events();
        assert_eq!(ends(&events).get(&FIRST), Some(&status), "{again_ns} {is_missed}");
        let asked = |body: &Body| matches!(body, Body::Request(_));
        assert!(events.iter().any(|event| event.request == Some(FIRST) && asked(&event.body)), "{events:?}");
        assert_eq!(losses(&events, "verdict"), missed);
    }
}

/// Requests that are over take no place: a verdict that was missed later is not told as the kernel's limit.
#[test]
fn request_that_is_over_takes_no_place() {
    let mut tracker = tracker();
    for tid in 100..160 {
        tracker.record(asks(tid, 1_000, "fs-y"));
        tracker.record(admitted(tid, 1_000));
        tracker.record(enters(tid, 2_000, "fs-z"));
        tracker.record(asks(tid, 2_001, "fs-z"));
    }
    tracker.record(asks(7, 3_000, "fs-x"));
    tracker.verdicts_missed(3_001);
    tracker.record(asks(7, 6 * SECOND, "fs-again"));
    tick(&mut tracker, 6 * SECOND);
    let late = RequestId { boot_ns: 3_000, tid: 7 };
    assert_eq!(ends(&tracker.take_events()).get(&late), Some(&Status::Unknown));
}

/// A request that has a helper is not told as one that waited in vain for a place.
#[test]
fn helper_proves_a_place() {
    let mut tracker = tracker();
    tracker.record(asks(7, 1_000, "fs-x"));
    tracker.record(helper(7, 1_000, 8));
    tracker.environment.dead.extend([7, 8]);
    ticks(&mut tracker, SECOND, 60 * SECOND);
    let events = tracker.take_events();
    assert_eq!(ends(&events).get(&FIRST), Some(&Status::Unknown));
    assert!(detail(&events, FIRST).contains("was lost"));
}

/// What is under way at the end of the stream ends there; unless the next reader tells of it.
#[test]
fn everything_ends_with_the_stream() {
    for is_left in [false, true] {
        let mut tracker = tracker();
        tracker.record(asks(7, 1_000, "fs-x"));
        tracker.record(handed_over(7, 1_000));
        tracker.record(asks(7, 2_000, "fs-y"));
        if is_left {
            tracker.leave();
        }
        tracker.finish(drained(3_000));
        let ended = ends(&tracker.take_events());
        let second = RequestId { boot_ns: 2_000, tid: 7 };
        assert_eq!(ended.get(&FIRST), Some(&Status::Unknown));
        assert_eq!(ended.get(&second).copied(), (!is_left).then_some(Status::Unknown));
    }
}
