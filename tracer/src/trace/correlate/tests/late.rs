//! Late records, records of another thread with the same id, and more requests than fit.

use tracer_ebpf::wire;

use super::{
    arrives_for, asks, drained, ends, handed_over, process, returns, tick, tracker,
    unresolved::{FIRST, SECOND, admitted, losses},
};
use crate::{
    event::{Body, Event, RequestId, Status},
    probe::Record,
    trace::correlate::{checks, in_flight},
};

/// A thread whose id belongs to another process now has exited; records of the new one do not belong to it.
#[test]
fn reused_thread_id_inherits_no_state() {
    let by_another = |record: Record| match record {
        Record::Request(mut request) => {
            (request.header.process, request.context.process) = (process(900), process(900));
            Record::Request(request)
        }
        Record::Admitted(mut admitted) => {
            admitted.header.process = process(900);
            Record::Admitted(admitted)
        }
        Record::Result(mut result) => {
            result.header.process = process(900);
            Record::Result(result)
        }
        other => other,
    };
    // Stages that the BPF side attributed to the old request: none was followed by a result.
    let mut tracker = tracker();
    tracker.record(asks(7, 1_000, "fs-x"));
    tracker.record(by_another(admitted(7, 1_000)));
    tracker.record(by_another(returns(7, 1_000, 0)));
    tick(&mut tracker, 2_000);
    let events = tracker.take_events();
    assert!(ends(&events).is_empty());
    assert_eq!(losses(&events, "late-record"), 2);

    // A new request with the old thread id: the old thread has exited and did not wait for 5 s.
    tracker.record(by_another(asks(7, 9 * SECOND, "fs-y")));
    tick(&mut tracker, 9 * SECOND);
    assert_eq!(ends(&tracker.take_events()).get(&FIRST), Some(&Status::Unknown));
    assert_eq!(tracker.open(), 1);
}

/// Late and repeated records change no emitted event, and are counted.
#[test]
fn late_record_is_counted_and_ignored() {
    let mut tracker = tracker();
    tracker.record(asks(7, 1_000, "fs-x"));
    tracker.record(handed_over(7, 1_000));
    tracker.record(returns(7, 1_000, 256));
    assert_eq!(ends(&tracker.take_events()).get(&FIRST), Some(&Status::NotFound));
    tracker.record(returns(7, 1_000, 0));
    tracker.record(handed_over(7, 1_000));
    tracker.record(asks(7, 1_000, "fs-x"));
    tick(&mut tracker, 2_000);
    tracker.record(admitted(7, 1_000));
    tracker.finish(drained(3_000));
    let events = tracker.take_events();
    assert!(ends(&events).is_empty());
    assert!(!events.iter().any(|event| matches!(event.body, Body::Request(_))));
    assert_eq!(losses(&events, "late-record"), 4);
    let Some(Body::End(end)) = events.last().map(|event| &event.body) else { panic!("no end: {events:?}") };
    assert_eq!((end.requests, end.lost), (1, 4));
}

/// A module that is loaded for a request that has ended is attributed to it.
#[test]
fn late_module_is_attributed_to_its_request() {
    let mut tracker = tracker();
    tracker.record(asks(7, 1_000, "fs-x"));
    tracker.record(returns(7, 1_000, 256));
    arrives_for(7, 1_000, 8, 3_000, "x").into_iter().for_each(|record| tracker.record(record));
    let events = tracker.take_events();
    assert!(events.iter().any(|event| event.request == Some(FIRST) && matches!(event.body, Body::Load(_))));
    assert_eq!(ends(&events).len(), 1);
}

/// A request that is first seen at the tracepoint is not denied: it is marked, and ends by its result like any other.
#[test]
fn request_first_seen_when_admitted_is_marked_and_not_denied() {
    let mut tracker = tracker();
    let Record::Request(mut request) = asks(7, 1_000, "fs-x") else { panic!("another record") };
    request.verdict = wire::Request::LATE;
    tracker.record(Record::Request(request));
    tracker.record(admitted(7, 1_000));
    let events = tracker.take_events();
    let [Event { body: Body::Request(request), .. }] = &events[..] else { panic!("{events:?}") };
    assert!(request.late);
    assert_eq!((request.process.pid, request.wait), (7, Some(true)));
    tracker.record(handed_over(7, 1_000));
    tracker.record(returns(7, 1_000, 256));
    assert_eq!(ends(&tracker.take_events()).get(&FIRST), Some(&Status::NotFound));
}

/// However many requests wait, a tick checks a limited number, and each is checked in turn.
#[test]
fn checks_of_many_requests_are_bounded() {
    let mut tracker = tracker();
    for tid in 1_000..11_000 {
        tracker.record(asks(tid, 1_000, "fs-x"));
        tracker.environment.dead.insert(tid);
    }
    for turn in 1..100 {
        let before = tracker.environment.looks;
        tick(&mut tracker, turn * SECOND);
        assert!(tracker.environment.looks - before <= 2 * checks::CHECKS_PER_TICK);
    }
    assert_eq!(ends(&tracker.take_events()).len(), 10_000);
    assert_eq!(tracker.open(), 0);
}

/// Beyond the limit, the oldest request ends, once.
#[test]
fn requests_beyond_limit_end_the_oldest() {
    let limit = in_flight::LIMIT;
    let mut tracker = tracker();
    for tid in 0..=u32::try_from(limit).unwrap() {
        tracker.record(asks(tid + 1, u64::from(tid) + 1, "fs-x"));
    }
    assert_eq!(tracker.open(), limit);
    let first = RequestId { boot_ns: 1, tid: 1 };
    tracker.record(returns(1, 1, 0));
    tick(&mut tracker, SECOND);
    let events = tracker.take_events();
    assert_eq!(ends(&events).into_iter().collect::<Vec<_>>(), [(first, Status::Unknown)]);
    assert_eq!(losses(&events, "late-record"), 1);
}
