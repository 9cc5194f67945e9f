//! Requests without a result record.

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

/// Number of losses with a cause.
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

/// A request is admitted after 3.8 s, and the reader sees that much later: it has one outcome, the kernel's. Observed in
/// an emulated guest, where it was reported as throttled first.
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

/// An exited thread may have records in the ring; until these are read, nothing is concluded.
#[test]
fn exited_thread_proves_nothing_before_its_records_are_read() {
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

/// A request that waits for a slot: throttled after the kernel's 5 s if its thread continued, killed if that exited well
/// before, and open as long as the thread may still wait.
#[test]
fn waiting_request_ends_as_its_thread_shows() {
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
    assert!(detail(&events, waits).contains("in flight when tracing ended"));
}

/// The inference rules have their public names.
#[test]
fn inferred_outcomes_name_their_rule() {
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

/// A late check cannot distinguish a request that was killed early from one that the kernel gave up.
#[test]
fn late_check_does_not_prove_an_early_end() {
    let mut tracker = tracker();
    tracker.record(asks(7, 1_000, "fs-x"));
    tracker.environment.dead.insert(7);
    tick(&mut tracker, 4 * SECOND);
    tick(&mut tracker, 5_300_000_000);
    assert_eq!(ends(&tracker.take_events()).get(&FIRST), Some(&Status::Unknown));
}

/// A request without further records is not reported as throttled if its verdict may have been missed and a slot was free,
/// and is if all slots were in use.
#[test]
fn missed_verdict_is_not_reported_as_throttled() {
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

/// If records were lost meanwhile, the admission may be among them, so the request is not reported as throttled.
#[test]
fn lost_records_do_not_prove_throttling() {
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

/// A request whose result was lost ends as unknown once its requester has exited, and not before.
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

/// A request whose result was lost ends although its thread is blocked, once its helper has exited; a thread that may still wait
/// for its helper keeps it open.
#[test]
fn lost_result_of_a_blocked_thread_ends_after_its_helper() {
    for is_helper_gone in [true, false] {
        let mut tracker = tracker();
        tracker.record(asks(7, 1_000, "fs-x"));
        tracker.record(handed_over(7, 1_000));
        tracker.record(helper(7, 1_000, 8));
        tracker.environment.threads.insert(7, ThreadState::Blocked);
        if is_helper_gone {
            tracker.environment.dead.insert(8);
        }
        ticks(&mut tracker, SECOND, 50 * SECOND);
        assert!(ends(&tracker.take_events()).is_empty());
        ticks(&mut tracker, 50 * SECOND, 130 * SECOND);
        let ended = ends(&tracker.take_events()).get(&FIRST).copied();
        assert_eq!(ended, is_helper_gone.then_some(Status::Unknown));
    }
}

/// A request whose result was lost ends although its thread is alive: a daemon sleeps elsewhere, or is always running.
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

/// If processes cannot be checked, none counts as exited; a request without activity ends as unknown.
#[test]
fn process_that_cannot_be_checked_has_not_exited() {
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

/// A request for which no modprobe was started ends when its thread makes another request or continues, and is not
/// reported as lost.
#[test]
fn duplicate_ends_when_its_thread_continues() {
    for thread_calls_again in [true, false] {
        let mut tracker = tracker();
        tracker.record(asks(7, 1_000, "fs-x"));
        tracker.record(admitted(7, 1_000));
        ticks(&mut tracker, TICK_NS, 60 * SECOND);
        assert!(
            ends(&tracker.take_events()).is_empty(),
            "it may wait for the first request, or its modprobe may still start"
        );
        if thread_calls_again {
            tracker.record(enters(7, 60 * SECOND, "fs-y"));
        } else {
            tracker.environment.threads.insert(7, ThreadState::Asleep);
        }
        ticks(&mut tracker, 60 * SECOND, 61 * SECOND);
        let events = tracker.take_events();
        assert_eq!(ends(&events).get(&FIRST), Some(&Status::Unknown));
        assert!(detail(&events, FIRST).contains("no modprobe was started"), "{events:?}");
        assert_eq!(tracker.open(), 0);
    }
}

/// A request whose result was lost ends when its thread makes another request, after all records of its helper.
#[test]
fn lost_result_ends_when_its_thread_makes_another_request() {
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
    assert_eq!(tracker.open(), 1, "the second is in flight");
}

/// A request that was not admitted ends when its thread makes another request: throttled after 5 s, and before that missed
/// or unknown.
#[test]
fn unadmitted_request_ends_when_its_thread_makes_another() {
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

/// Requests that are over occupy no slot: a verdict that is missed later is not reported as the kernel's limit.
#[test]
fn ended_request_occupies_no_slot() {
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

/// A request with a helper was admitted, so it is not reported as throttled.
#[test]
fn request_with_helper_was_admitted() {
    let mut tracker = tracker();
    tracker.record(asks(7, 1_000, "fs-x"));
    tracker.record(helper(7, 1_000, 8));
    tracker.environment.dead.extend([7, 8]);
    ticks(&mut tracker, SECOND, 60 * SECOND);
    let events = tracker.take_events();
    assert_eq!(ends(&events).get(&FIRST), Some(&Status::Unknown));
    assert!(detail(&events, FIRST).contains("was lost"));
}

/// Requests in flight end with the stream, unless the next reader reports them.
#[test]
fn requests_in_flight_end_with_the_stream() {
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
