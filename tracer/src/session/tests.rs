//! The tracker's joins and endings, on records made by hand and on any interleaving of many.

use std::collections::{BTreeMap, HashSet};

use proptest::prelude::*;
use tracer_ebpf::wire::{self, Context, Header, ProcessKey, RequestKey};
use zerocopy::FromZeros;

mod alive;
mod arrived;
mod files;
mod udev;
mod unended;

use super::{Clock, Knowledge, Tracker};
use crate::{
    event::{Ancestor, Body, Event, Frame, LossStage, Process, ProcessId, Reason, RequestId, Status, Text},
    explain::{Planned, Resolution},
    probe::Record,
};

/// A world in which nothing is provided, and everything lives but what is said to be dead.
#[derive(Default)]
struct World {
    /// Processes by their id, and threads by theirs.
    dead: HashSet<u32>,
    udev: HashSet<u32>,
    udev_is_busy: bool,
    provided: Option<(&'static str, &'static str)>,
    /// What modprobe would do with any other name; nothing is provided where that is not said.
    plan: Option<Resolution>,
    /// modprobe's configuration cannot be read.
    no_plan: bool,
}

impl Knowledge for World {
    fn process(&mut self, context: &Context) -> (Process, Vec<Ancestor>, bool) {
        let ProcessKey { pid, start_ns, .. } = context.process;
        let process = Process { pid, tid: context.tid, start_ns, ..Process::default() };
        if self.udev.contains(&pid) {
            let manager = Ancestor { pid: 1, ..Ancestor::default() };
            return (Process { exe: Some(Text::from("/usr/bin/udevadm")), ..process }, vec![manager], false);
        }
        (process, Vec::new(), false)
    }
    fn kernel_stack(&mut self, _: &wire::Stack) -> Vec<Frame> {
        Vec::new()
    }
    fn user_stack(&mut self, _: ProcessId, _: &wire::Stack) -> Vec<Frame> {
        Vec::new()
    }
    fn plan(&mut self, name: &Text) -> Option<Resolution> {
        let Some((_, module)) = self.provided.filter(|(alias, _)| *name == Text::from(*alias)) else {
            return (!self.no_plan).then(|| self.plan.clone().unwrap_or(Resolution::NotFound));
        };
        Some(Resolution::Modules(vec![Planned { module: module.to_owned(), reason: Reason::Alias, command: None }]))
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
    fn is_thread_alive(&mut self, _: ProcessId, tid: u32) -> bool {
        !self.dead.contains(&tid)
    }
    fn udev_was_idle(&mut self) -> Option<u64> {
        (!self.udev_is_busy).then_some(500)
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

fn enters(pid: u32, boot_ns: u64, format: &str) -> Record {
    let mut entered = Box::new(wire::Entered::new_zeroed());
    entered.header = header(pid, boot_ns);
    entered.format[..format.len()].copy_from_slice(format.as_bytes());
    Record::Entered(entered)
}

fn arrives(pid: u32, boot_ns: u64, module: &str) -> Record {
    let mut load = Box::new(wire::Load::new_zeroed());
    load.header = header(pid, boot_ns);
    load.module[..module.len()].copy_from_slice(module.as_bytes());
    load.context.process = process(pid);
    load.context.tid = pid;
    Record::Load(load)
}

/// A module arrives through a request, and its init ends well.
fn arrives_for(asker: u32, asked_ns: u64, helper: u32, boot_ns: u64, module: &str) -> [Record; 2] {
    let Record::Load(mut load) = arrives(helper, boot_ns, module) else { unreachable!("it is a load") };
    load.owner.request = key(asker, asked_ns);
    let mut done = init_done(helper, boot_ns + 1, module, 0);
    if let Record::InitDone(done) = &mut done {
        done.owner.request = key(asker, asked_ns);
    }
    [Record::Load(load), done]
}

fn init_done(pid: u32, boot_ns: u64, module: &str, ret: i32) -> Record {
    let mut done = wire::InitDone::new_zeroed();
    done.header = header(pid, boot_ns);
    done.ret = ret;
    done.module[..module.len()].copy_from_slice(module.as_bytes());
    Record::InitDone(done)
}

/// Check that a name that does not fit is told at once, and one that did not reach the hook at the end at the latest.
#[test]
fn stopped_requests_are_told() {
    let mut tracker = tracker();
    tracker.record(enters(7, 1_000, &"n".repeat(wire::MODULE_NAME_BYTES)));
    let id = RequestId { boot_ns: 1_000, tid: 7 };
    assert_eq!(ends(&tracker.take_events()), BTreeMap::from([(id, Status::Failed)]));
    tracker.record(enters(8, 2_000, &"n".repeat(wire::MODULE_NAME_BYTES - 1)));
    assert!(tracker.take_events().is_empty(), "the hook comes next");
    tracker.finish(2_001);
    let id = RequestId { boot_ns: 2_000, tid: 8 };
    assert_eq!(ends(&tracker.take_events()), BTreeMap::from([(id, Status::Unknown)]));
}

/// Check that who has just entered when the recorder ends is not told by one whose programs go on: the next one sees
/// the request itself.
#[test]
fn a_request_is_left_to_the_next_recorder() {
    let mut tracker = tracker();
    tracker.record(enters(7, 1_000, "fs-x"));
    tracker.record(enters(7, 2_000, "fs-y"));
    assert!(!tracker.is_idle());
    tracker.leave_entered();
    tracker.finish(2_001);
    let id = RequestId { boot_ns: 1_000, tid: 7 };
    assert_eq!(ends(&tracker.take_events()), BTreeMap::from([(id, Status::Unknown)]), "that one entered again");
}

/// Check that a name that does not fit is told as such at the end too, whoever reads on: no request follows it.
#[test]
fn a_name_that_does_not_fit_is_never_left() {
    for is_left in [false, true] {
        let mut tracker = tracker();
        let mut record = enters(7, 1_000, &"n".repeat(wire::MODULE_NAME_BYTES));
        if let Record::Entered(entered) = &mut record {
            entered.no_modprobe = 2;
        }
        tracker.record(record);
        assert!(tracker.take_events().is_empty(), "kernel.modprobe may be empty");
        if is_left {
            tracker.leave_entered();
        }
        tracker.finish(1_001);
        let id = RequestId { boot_ns: 1_000, tid: 7 };
        assert_eq!(ends(&tracker.take_events()), BTreeMap::from([(id, Status::Failed)]));
    }
}

/// Check that an entry whose request may be among those lost is not told as one that was stopped.
#[test]
fn a_lost_request_is_not_told_as_stopped() {
    let mut tracker = tracker();
    tracker.record(enters(7, 1_000, "fs-x"));
    tracker.record(enters(7, 2_000, "fs-y"));
    tracker.record(enters(8, 3_000, "fs-z"));
    tracker.loss(4_000, LossStage::Probe, "ring-request", 2);
    tracker.record(enters(9, 5_000, "fs-w"));
    tracker.tick(60_000_000_000, 60_000_000_000);
    let id = RequestId { boot_ns: 5_000, tid: 9 };
    assert_eq!(ends(&tracker.take_events()), BTreeMap::from([(id, Status::Unknown)]));
}

/// Check that a request which went no further is not called throttled where its verdict may have been missed and there
/// was room for it, and that it is where all places were taken.
#[test]
fn a_missed_verdict_is_not_a_throttled_request() {
    const MISSED_NS: u64 = 1_500;
    let mut tracker = tracker();
    tracker.record(asks(7, 1_000, "fs-x"));
    tracker.may_have_missed(MISSED_NS);
    tracker.tick(6_000_000_000, 6_000_000_000);
    let events = tracker.take_events();
    assert_eq!(ends(&events), BTreeMap::from([(RequestId { boot_ns: 1_000, tid: 7 }, Status::Unknown)]));
    let lost = events.iter().filter(|event| matches!(&event.body, Body::Loss(loss) if loss.cause == "verdict"));
    assert_eq!(lost.count(), 1);

    for tid in 100..150 {
        tracker.record(asks(tid, 7_000_000_000, "fs-y"));
        tracker.record(handed_over(tid, 7_000_000_000));
    }
    tracker.record(asks(8, 7_000_000_000, "fs-z"));
    tracker.may_have_missed(7_000_000_001);
    tracker.tick(13_000_000_000, 13_000_000_000);
    let late = RequestId { boot_ns: 7_000_000_000, tid: 8 };
    assert_eq!(ends(&tracker.take_events()).get(&late), Some(&Status::Throttled));
}

/// Check that a request whose result was lost ends as unknown once its requester is gone, and not before.
#[test]
fn a_lost_result_ends_as_unknown() {
    let mut tracker = tracker();
    tracker.record(asks(7, 1_000, "fs-x"));
    tracker.record(handed_over(7, 1_000));
    tracker.tick(60_000_000_000, 60_000_000_000);
    assert!(ends(&tracker.take_events()).is_empty(), "the requester still waits");
    tracker.knowledge.dead.insert(7);
    tracker.tick(60_200_000_000, 60_200_000_000);
    assert!(ends(&tracker.take_events()).is_empty(), "its record may be on its way");
    tracker.tick(61_300_000_000, 61_300_000_000);
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

/// Check that a process that loads by itself ends once, though it is found gone before its last record was read.
#[test]
fn a_loader_ends_after_its_last_record() {
    let mut tracker = tracker();
    tracker.record(arrives(9, 1_000, "x_tables"));
    tracker.knowledge.dead.insert(9);
    tracker.tick(2_000, 2_000);
    tracker.record(arrives(9, 3_000, "ip_tables"));
    tracker.tick(4_000, 4_000);
    tracker.tick(5_000, 5_000);
    let results = tracker.take_events().into_iter().filter(|event| matches!(event.body, Body::Result(_)));
    assert_eq!(results.count(), 1);
    assert_eq!(tracker.open(), 0);
}

/// Check that one who waits for a place is throttled after the kernel's 5 s, and killed when gone well before; shortly before
/// it is not known.
#[test]
fn waiting_for_a_place_ends_one_way_or_the_other() {
    let mut tracker = tracker();
    tracker.record(asks(7, 1_000, "fs-patient"));
    tracker.record(asks(8, 1_000, "fs-killed"));
    tracker.record(asks(9, 1_000, "fs-either"));
    tracker.knowledge.dead.insert(8);
    tracker.tick(1_000_000_000, 1_000_000_000);
    tracker.knowledge.dead.insert(9);
    tracker.tick(4_000_000_000, 4_000_000_000);
    tracker.tick(6_000_000_000, 6_000_000_000);
    let ended = ends(&tracker.take_events());
    assert_eq!(ended.get(&RequestId { boot_ns: 1_000, tid: 7 }), Some(&Status::Throttled));
    assert_eq!(ended.get(&RequestId { boot_ns: 1_000, tid: 8 }), Some(&Status::Interrupted));
    assert_eq!(ended.get(&RequestId { boot_ns: 1_000, tid: 9 }), Some(&Status::Unknown));
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

/// Check that who is found gone late is not taken for one that was killed: reading what came before can take long.
#[test]
fn a_late_look_is_no_early_end() {
    let mut tracker = tracker();
    tracker.record(asks(7, 1_000, "fs-patient"));
    tracker.knowledge.dead.insert(7);
    tracker.tick(4_000_000_000, 5_100_000_000);
    tracker.tick(5_200_000_000, 5_300_000_000);
    let ended = ends(&tracker.take_events());
    assert_eq!(ended.get(&RequestId { boot_ns: 1_000, tid: 7 }), Some(&Status::Throttled));
}
