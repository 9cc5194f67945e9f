//! Entries into `__request_module` without a request.

use std::collections::BTreeMap;

use tracer_ebpf::wire;

use super::{asks, drained, ends, enters, process, stalled_tick, tick, tracker};
use crate::{
    event::{Body, LossStage, RequestId, Status},
    kernel::process::ThreadState,
    probe::Record,
};

/// A name that is too long is reported at once, an entry that did not reach the hook at the end of the stream at the
/// latest.
#[test]
fn entry_that_stopped_early_is_reported() {
    let mut tracker = tracker();
    tracker.record(enters(7, 1_000, &"n".repeat(wire::MODULE_NAME_BYTES)));
    let id = RequestId { boot_ns: 1_000, tid: 7 };
    assert_eq!(ends(&tracker.take_events()), BTreeMap::from([(id, Status::Failed)]));
    tracker.record(enters(8, 2_000, &"n".repeat(wire::MODULE_NAME_BYTES - 1)));
    assert!(tracker.take_events().is_empty(), "the hook comes next");
    tracker.finish(drained(2_001));
    let id = RequestId { boot_ns: 2_000, tid: 8 };
    assert_eq!(ends(&tracker.take_events()), BTreeMap::from([(id, Status::Unknown)]));
}

/// An entry at the end of a recorder whose programs stay attached is left to the next one, which sees the request.
#[test]
fn entry_at_the_end_is_left_to_the_next_recorder() {
    let mut tracker = tracker();
    tracker.record(enters(7, 1_000, "fs-x"));
    tracker.record(enters(7, 2_000, "fs-y"));
    assert!(!tracker.is_idle());
    tracker.leave();
    tracker.finish(drained(2_001));
    let id = RequestId { boot_ns: 1_000, tid: 7 };
    assert_eq!(ends(&tracker.take_events()), BTreeMap::from([(id, Status::Unknown)]), "that one entered again");
}

/// A name that is too long is reported at the end of the stream too, since no request will follow.
#[test]
fn too_long_name_at_the_end_is_reported() {
    for is_left in [false, true] {
        let mut tracker = tracker();
        let mut record = enters(7, 1_000, &"n".repeat(wire::MODULE_NAME_BYTES));
        if let Record::Entered(entered) = &mut record {
            entered.no_modprobe = 2;
        }
        tracker.record(record);
        assert!(tracker.take_events().is_empty(), "kernel.modprobe may be empty");
        if is_left {
            tracker.leave();
        }
        tracker.finish(drained(1_001));
        let id = RequestId { boot_ns: 1_000, tid: 7 };
        assert_eq!(ends(&tracker.take_events()), BTreeMap::from([(id, Status::Failed)]));
    }
}

/// An entry whose request may be among the lost records is not reported as stopped.
#[test]
fn entry_with_possibly_lost_request_is_not_reported() {
    let mut tracker = tracker();
    tracker.record(enters(7, 1_000, "fs-x"));
    tracker.record(enters(7, 2_000, "fs-y"));
    tracker.record(enters(8, 3_000, "fs-z"));
    tracker.loss(4_000, LossStage::Probe, "ring-request", 2);
    tracker.record(enters(9, 5_000, "fs-w"));
    tracker.environment.dead.insert(9);
    tick(&mut tracker, 60_000_000_000);
    tick(&mut tracker, 60_200_000_000);
    let id = RequestId { boot_ns: 5_000, tid: 9 };
    assert_eq!(ends(&tracker.take_events()), BTreeMap::from([(id, Status::Unknown)]));
}

/// A thread that is not scheduled between the entry and the security hook makes one request, however long that takes.
#[test]
fn slow_entry_is_one_request() {
    for state in [ThreadState::Running, ThreadState::Blocked] {
        let mut tracker = tracker();
        tracker.environment.threads.insert(7, state);
        tracker.record(enters(7, 1_000, "fs-x"));
        for second in 1..40 {
            tick(&mut tracker, second * 1_000_000_000);
        }
        assert!(!tracker.is_idle() && !tracker.has_events());
        tracker.record(asks(7, 40_000_000_000, "fs-x"));
        tracker.finish(drained(41_000_000_000));
        let asked = RequestId { boot_ns: 40_000_000_000, tid: 7 };
        assert_eq!(ends(&tracker.take_events()), BTreeMap::from([(asked, Status::Unknown)]));
    }
}

/// An entry ends once its thread has left and the ring was read after that, not before: its request may be in the ring.
#[test]
fn entry_of_departed_thread_ends_after_the_ring_was_read() {
    let is_left = [(true, ThreadState::Blocked), (false, ThreadState::Asleep)];
    for (is_dead, state) in is_left {
        let mut tracker = tracker();
        tracker.record(enters(7, 1_000, "fs-x"));
        tracker.environment.threads.insert(7, state);
        tracker.environment.dead.extend(is_dead.then_some(7));
        tick(&mut tracker, 1_000_000_000);
        for second in 2..20 {
            stalled_tick(&mut tracker, second * 1_000_000_000);
        }
        assert!(!tracker.has_events());
        tick(&mut tracker, 20_000_000_000);
        assert_eq!(ends(&tracker.take_events()).into_values().collect::<Vec<_>>(), [Status::Unknown]);
        assert!(tracker.is_idle());
    }
}

/// A request does not use the entry of another process with the same thread id.
#[test]
fn entry_of_another_process_is_not_inherited() {
    let mut tracker = tracker();
    let Record::Entered(mut entered) = enters(7, 1_000, "fs-old") else { unreachable!("it is an entry") };
    entered.header.process = process(6);
    tracker.record(Record::Entered(entered));
    let Record::Request(mut request) = asks(7, 9_000_000_000, "") else { unreachable!("it is a request") };
    request.no_modprobe = 1;
    tracker.record(Record::Request(request));
    let events = tracker.take_events();
    let result = events.iter().find_map(|event| if let Body::Result(end) = &event.body { Some(end) } else { None });
    assert_eq!(result.unwrap().duration_ns, Some(0), "not since the other entered");
    let name = events.iter().find_map(|event| if let Body::Request(it) = &event.body { Some(&it.name) } else { None });
    assert!(name.unwrap().as_bytes().is_empty());
    tick(&mut tracker, 9_000_000_001);
    let old = RequestId { boot_ns: 1_000, tid: 7 };
    assert_eq!(ends(&tracker.take_events()), BTreeMap::from([(old, Status::Unknown)]));
}
