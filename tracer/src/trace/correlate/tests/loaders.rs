//! Processes that load modules without a request.

use super::{World, arrives, drained, init_done, stalled_tick, tick, tracker};
use crate::{
    event::{Body, Event, Status},
    probe::Record,
};

const SECOND: u64 = 1_000_000_000;

fn results(events: &[Event]) -> Vec<Status> {
    let status = |event: &Event| match &event.body {
        Body::Result(outcome) if event.request.is_none() => Some(outcome.status),
        _ => None,
    };
    events.iter().filter_map(status).collect()
}

/// A module loaded by a modprobe that a shell started.
fn by_modprobe(boot_ns: u64, module: &str) -> Record {
    let Record::Load(mut load) = arrives(9, boot_ns, module) else { unreachable!("it is a load") };
    load.context.comm[..8].copy_from_slice(b"modprobe");
    Record::Load(load)
}

/// A loader that is found dead before its last record was read ends once, after that record.
#[test]
fn dead_loader_ends_after_its_last_record() {
    let mut tracker = tracker();
    tracker.record(arrives(9, 1_000, "x_tables"));
    tracker.record(init_done(9, 1_001, "x_tables", 0));
    tracker.environment.dead.insert(9);
    tick(&mut tracker, 2_000);
    stalled_tick(&mut tracker, 3_000);
    assert!(results(&tracker.take_events()).is_empty(), "its last records may be behind one that is being written");
    tracker.record(arrives(9, 1_500, "ip_tables"));
    tracker.record(init_done(9, 1_501, "ip_tables", 0));
    tick(&mut tracker, 4_000);
    assert_eq!(results(&tracker.take_events()), [Status::Loaded]);
    assert_eq!(tracker.open(), 0);
}

/// A kmod tool ends when it exits, however long it is inactive; other processes end an operation by inactivity.
#[test]
fn inactive_kmod_tool_does_not_end() {
    for (load, pieces) in [(by_modprobe as fn(u64, &str) -> Record, 1), (|at, module: &str| arrives(9, at, module), 2)]
    {
        let mut tracker = tracker();
        for (at, module) in [(1, "nf_defrag_ipv4"), (30, "nf_nat")] {
            tracker.record(load(at * SECOND, module));
            tracker.record(init_done(9, at * SECOND + 1, module, 0));
            (1..20).for_each(|tenth| tick(&mut tracker, at * SECOND + tenth * SECOND / 5));
        }
        tracker.environment.dead.insert(9);
        (40..43).for_each(|second| tick(&mut tracker, second * SECOND));
        let results = results(&tracker.take_events());
        assert_eq!(results, vec![Status::Loaded; pieces]);
        assert_eq!(tracker.open(), 0);
    }
}

/// If the end of an init was lost, a loader that is alive still ends without claiming a result of that init, and a late
/// end of the init gets its own result.
#[test]
fn loader_with_lost_init_ends() {
    let mut tracker = tracker();
    tracker.record(arrives(9, SECOND, "x_tables"));
    (1..30).for_each(|second| tick(&mut tracker, second * SECOND));
    assert!(results(&tracker.take_events()).is_empty(), "its init may still run");
    (30..70).for_each(|second| tick(&mut tracker, second * SECOND));
    let events = tracker.take_events();
    assert_eq!(results(&events), [Status::Unknown]);
    assert!(events.iter().any(|event| matches!(&event.body, Body::Result(outcome) if outcome.incomplete)));
    assert_eq!(tracker.open(), 0);
    tracker.record(init_done(9, 80 * SECOND, "x_tables", 0));
    (80..84).for_each(|second| tick(&mut tracker, second * SECOND));
    assert_eq!(results(&tracker.take_events()), [Status::Loaded]);
    assert_eq!(tracker.open(), 0);
}

/// If processes cannot be checked, loaders end by inactivity.
#[test]
fn loader_that_cannot_be_checked_ends_by_inactivity() {
    let mut tracker = tracker();
    tracker.environment = World { cannot_look: true, ..World::default() };
    tracker.record(by_modprobe(SECOND, "x_tables"));
    tracker.record(init_done(9, SECOND + 1, "x_tables", 0));
    (1..50).for_each(|second| tick(&mut tracker, second * SECOND));
    assert!(results(&tracker.take_events()).is_empty());
    (50..70).for_each(|second| tick(&mut tracker, second * SECOND));
    assert_eq!(results(&tracker.take_events()), [Status::Loaded]);
}

/// A tick checks a limited number of loaders, and all of them end.
#[test]
fn checks_of_many_loaders_are_bounded() {
    let mut tracker = tracker();
    for pid in 1_000..4_000 {
        let Record::Load(mut load) = arrives(pid, SECOND, "x") else { unreachable!("it is a load") };
        load.context.comm = *b"modprobe\0\0\0\0\0\0\0\0";
        tracker.record(Record::Load(load));
        tracker.environment.dead.insert(pid);
    }
    for turn in 2..40 {
        let before = tracker.environment.looks;
        tick(&mut tracker, turn * SECOND);
        assert!(tracker.environment.looks - before <= super::super::checks::CHECKS_PER_TICK);
    }
    assert_eq!(tracker.open(), 0);
    tracker.finish(drained(50 * SECOND));
    assert_eq!(results(&tracker.take_events()).len(), 3_000);
}
