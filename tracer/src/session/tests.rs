//! The tracker's joins and endings, on records made by hand and on any interleaving of many.

use std::collections::{BTreeMap, HashSet};

use proptest::prelude::*;
use tracer_ebpf::wire::{self, Context, Header, ProcessKey, RequestKey};
use zerocopy::FromZeros;

use super::{Clock, Knowledge, Tracker};
use crate::{
    event::{Ancestor, Body, Event, Frame, Process, ProcessId, RequestId, Status, Text},
    explain::Resolution,
    probe::Record,
};

/// A world in which nothing is provided, and everything lives but what is said to be dead.
#[derive(Default)]
struct World {
    dead: HashSet<u32>,
}

impl Knowledge for World {
    fn process(&mut self, context: &Context) -> (Process, Vec<Ancestor>, bool) {
        let ProcessKey { pid, start_ns, .. } = context.process;
        (Process { pid, tid: context.tid, start_ns, ..Process::default() }, Vec::new(), false)
    }
    fn kernel_stack(&mut self, _: &wire::Stack) -> Vec<Frame> {
        Vec::new()
    }
    fn user_stack(&mut self, _: ProcessId, _: &wire::Stack) -> Vec<Frame> {
        Vec::new()
    }
    fn plan(&mut self, _: &Text) -> Option<Resolution> {
        Some(Resolution::NotFound)
    }
    fn explain(&mut self, _: &Text) -> Option<String> {
        None
    }
    fn effect(&mut self, module: &str) -> Option<String> {
        (module == "nf_conntrack").then(|| "packets are tracked".to_owned())
    }
    fn is_loaded(&mut self, _: &str) -> bool {
        false
    }
    fn is_alive(&mut self, process: ProcessId) -> bool {
        !self.dead.contains(&process.pid)
    }
    fn modules_changed(&mut self) {}
    fn taints(&mut self, _: u64) -> String {
        String::new()
    }
}

fn tracker() -> Tracker<World> {
    Tracker::new(World::default(), Clock { realtime_minus_boot_ns: 0 })
}

fn header(pid: u32, boot_ns: u64) -> Header {
    Header { boot_ns, process: process(pid), tid: pid, ..Header::new_zeroed() }
}

fn process(pid: u32) -> ProcessKey {
    ProcessKey { pid, start_ns: u64::from(pid), reserved: 0 }
}

fn key(pid: u32, boot_ns: u64) -> RequestKey {
    RequestKey { boot_ns, tid: pid, reserved: 0 }
}

fn asks(pid: u32, boot_ns: u64, name: &str) -> Record {
    let mut request = Box::new(wire::Request::new_zeroed());
    request.header = header(pid, boot_ns);
    request.request = key(pid, boot_ns);
    request.name[..name.len()].copy_from_slice(name.as_bytes());
    request.context.process = process(pid);
    request.context.tid = pid;
    Record::Request(request)
}

fn handed_over(pid: u32, asked_ns: u64) -> Record {
    let header = header(pid, asked_ns + 1);
    Record::Handover(wire::Handover { header, request: key(pid, asked_ns), sub_info: 1, wait: 6, reserved: 0 })
}

fn returns(pid: u32, asked_ns: u64, ret: i32) -> Record {
    let header = header(pid, asked_ns + 100);
    Record::Result(wire::RequestResult { header, request: key(pid, asked_ns), ret, wait: 1, handover_ns: asked_ns + 1 })
}

fn ends(events: &[Event]) -> BTreeMap<RequestId, Status> {
    let end = |event: &Event| match (&event.body, event.request) {
        (Body::Result(outcome), Some(id)) => Some((id, outcome.status)),
        _ => None,
    };
    events.iter().filter_map(end).collect()
}

/// Check that a request whose result was lost ends as unknown once its requester is gone, and not before.
#[test]
fn a_lost_result_ends_as_unknown() {
    let mut tracker = tracker();
    tracker.record(asks(7, 1_000, "fs-x"));
    tracker.record(handed_over(7, 1_000));
    tracker.tick(60_000_000_000);
    assert!(ends(&tracker.take_events()).is_empty(), "the requester still waits");
    tracker.knowledge.dead.insert(7);
    tracker.tick(60_200_000_000);
    assert!(ends(&tracker.take_events()).is_empty(), "its record may be on its way");
    tracker.tick(61_300_000_000);
    let ended = ends(&tracker.take_events());
    assert_eq!(ended.get(&RequestId { boot_ns: 1_000, tid: 7 }), Some(&Status::Unknown));
    assert_eq!(tracker.open(), 0);
}

/// Check that a result whose request was lost claims nothing but its value.
#[test]
fn a_lost_request_claims_nothing() {
    let mut tracker = tracker();
    tracker.record(returns(7, 1_000, 256));
    let events = tracker.take_events();
    assert_eq!(ends(&events).get(&RequestId { boot_ns: 1_000, tid: 7 }), Some(&Status::Unknown));
    assert!(!events.iter().any(|event| matches!(event.body, Body::Request(_))));
}

/// Check that one who waits for a place is throttled after the kernel's 5 s, and killed when gone before.
#[test]
fn waiting_for_a_place_ends_one_way_or_the_other() {
    let mut tracker = tracker();
    tracker.record(asks(7, 1_000, "fs-patient"));
    tracker.record(asks(8, 1_000, "fs-killed"));
    tracker.knowledge.dead.insert(8);
    tracker.tick(1_000_000_000);
    tracker.tick(6_000_000_000);
    let ended = ends(&tracker.take_events());
    assert_eq!(ended.get(&RequestId { boot_ns: 1_000, tid: 7 }), Some(&Status::Throttled));
    assert_eq!(ended.get(&RequestId { boot_ns: 1_000, tid: 8 }), Some(&Status::Interrupted));
}

proptest! {
    /// Check that many requests of one name, interleaved in any way and with any record lost, never mix: every event
    /// of a request carries its own requester, and each result seen has its own value.
    #[test]
    fn requests_never_mix(order in proptest::collection::vec(0_usize..40, 0..400), lost in proptest::collection::hash_set(0_usize..120, 0..30)) {
        let mut tracker = tracker();
        let mut next = [0_usize; 40];
        let steps = order.into_iter().chain((0..40).cycle().take(120));
        for who in steps {
            let pid = u32::try_from(who).unwrap() + 100;
            let asked_ns = u64::from(pid) * 1_000;
            let record = match next[who] {
                0 => asks(pid, asked_ns, "fs-same"),
                1 => handed_over(pid, asked_ns),
                2 => returns(pid, asked_ns, i32::from(who % 2 == 0) * 256),
                _ => continue,
            };
            if !lost.contains(&(who * 3 + next[who])) {
                tracker.record(record);
            }
            next[who] += 1;
        }
        let events = tracker.take_events();
        for event in &events {
            let id = event.request.unwrap();
            prop_assert_eq!(id.boot_ns, u64::from(id.tid) * 1_000);
            match &event.body {
                Body::Request(request) => prop_assert_eq!(request.process.pid, id.tid),
                Body::Result(outcome) => {
                    let ret = if id.tid % 2 == 0 { 256 } else { 0 };
                    prop_assert_eq!(outcome.code, Some(ret));
                    if lost.contains(&(usize::try_from(id.tid - 100).unwrap() * 3)) {
                        prop_assert_eq!(outcome.status, Status::Unknown);
                    }
                }
                other => prop_assert!(false, "{:?}", other),
            }
        }
        let seqs: Vec<u64> = events.iter().map(|event| event.seq).collect();
        prop_assert_eq!(seqs, (0..u64::try_from(events.len()).unwrap()).collect::<Vec<_>>());
    }
}
