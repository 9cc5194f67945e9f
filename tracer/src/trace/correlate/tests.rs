//! The tracker, on handmade records and on any interleaving of many requests.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use proptest::prelude::*;
use tracer_ebpf::wire::{self, Context, Header, ProcessKey, RequestKey};
use zerocopy::FromZeros;

mod alive;
mod arrived;
mod entries;
mod files;
mod late;
mod loaders;
mod outcomes;
mod stream;

mod udev;
mod unresolved;

use super::{Clock, Drained, Environment, Tracker};
use crate::{
    event::{Ancestor, Body, Event, Frame, Process, ProcessId, Reason, RequestId, Status, Text},
    kernel::{
        devices::PresentDevice,
        process::{Liveness, ThreadState},
    },
    modprobe::{Planned, Resolution, Unresolved},
    probe::Record,
    trace::enrich::process::nul_text,
};

/// A system in which no module is provided, and all processes are alive except the listed ones.
#[derive(Default)]
struct World {
    /// Ids of processes and threads that have exited.
    dead: HashSet<u32>,
    /// States of threads; all others are blocked in the kernel.
    threads: HashMap<u32, ThreadState>,
    /// Number of checks of processes and threads.
    looks: usize,
    /// `/proc` has other process ids than the records.
    cannot_look: bool,
    udev: HashSet<u32>,
    udev_is_busy: bool,
    /// Devices in sysfs; by default they cannot be listed.
    present: Option<Arc<[PresentDevice]>>,
    provided: Option<(&'static str, &'static str)>,
    /// What modprobe would do with any other name; by default it finds no module.
    plan: Option<Resolution>,
    /// The configuration of modprobe is unknown, or cannot be applied.
    unresolved: Option<Unresolved>,
    /// Modules that have any requested alias.
    carriers: Vec<&'static str>,
    /// Names with a command and no module.
    virtual_modules: Vec<&'static str>,
    /// Modules that are loaded now.
    now_loaded: Vec<&'static str>,
    /// What is wrong with the file of a module.
    file_problem: Option<(&'static str, &'static str)>,
    /// A file of the configuration that was changed at this time.
    changed: Option<(&'static str, i64)>,
    /// Modules whose symbols may have changed.
    changed_modules: Vec<Option<String>>,
}

impl Environment for World {
    fn process(&mut self, context: &Context) -> (Process, Vec<Ancestor>, bool) {
        let ProcessKey { pid, start_ns, .. } = context.process;
        let comm = nul_text(&context.comm);
        let process = Process { pid, tid: context.tid, start_ns, comm, ..Process::default() };
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
    fn resolve(&mut self, name: &Text) -> Result<Arc<Resolution>, Unresolved> {
        let Some((_, module)) = self.provided.filter(|(alias, _)| *name == Text::from(*alias)) else {
            let planned = || Arc::new(self.plan.clone().unwrap_or(Resolution::NotFound));
            return self.unresolved.clone().map_or_else(|| Ok(planned()), Err);
        };
        let planned = Planned { module: module.to_owned(), reason: Reason::Alias, command: None };
        Ok(Arc::new(Resolution::Modules(vec![planned])))
    }
    fn explain(&mut self, _: &Text, _: &[Frame]) -> Option<String> {
        None
    }
    fn effect(&mut self, module: &str) -> Option<String> {
        (module == "nf_conntrack").then(|| "packets are tracked".to_owned())
    }
    fn expire_before(&mut self, _: i64) {}
    fn carries(&mut self, _: &Text, module: &str) -> bool {
        self.carriers.contains(&module)
    }
    fn has_module(&mut self, module: &str) -> bool {
        !self.virtual_modules.contains(&module)
    }
    fn file_problem(&mut self, module: &str) -> Option<String> {
        self.file_problem.filter(|(of, _)| *of == module).map(|(_, problem)| problem.to_owned())
    }
    fn changed_since(&mut self, realtime_ns: i64) -> Option<String> {
        self.changed.filter(|(_, at_ns)| *at_ns > realtime_ns).map(|(path, _)| path.to_owned())
    }
    fn is_loaded(&mut self, module: &str) -> bool {
        self.now_loaded.contains(&module)
    }
    fn liveness(&mut self, process: ProcessId) -> Liveness {
        self.looks += 1;
        match self.dead.contains(&process.pid) {
            _ if self.cannot_look => Liveness::Unknown,
            true => Liveness::Gone,
            false => Liveness::Alive,
        }
    }
    fn thread_state(&mut self, _: ProcessId, tid: u32) -> ThreadState {
        self.looks += 1;
        match self.dead.contains(&tid) {
            _ if self.cannot_look => ThreadState::Unknown,
            true => ThreadState::Gone,
            false => self.threads.get(&tid).copied().unwrap_or(ThreadState::Blocked),
        }
    }
    fn udev_was_idle(&mut self) -> Option<u64> {
        (!self.udev_is_busy).then_some(500)
    }
    fn present_devices(&mut self, _: u64) -> Option<Arc<[PresentDevice]>> {
        self.present.clone()
    }
    fn module_changed(&mut self, module: Option<&str>) {
        self.changed_modules.push(module.map(str::to_owned));
    }
    fn taints(&mut self, _: u64) -> String {
        String::new()
    }
}

fn tracker() -> Tracker<World> {
    Tracker::new(World::default(), Clock { realtime_minus_boot_ns: 0 })
}

/// The ring was read completely at this time, and processes are checked.
fn tick(tracker: &mut Tracker<World>, at_ns: u64) {
    tracker.tick(drained(at_ns));
}

fn drained(at_ns: u64) -> Drained {
    Drained { began_ns: at_ns, ended_ns: at_ns, is_complete: true }
}

/// As [`tick`], but a record that is still being written holds back the later ones.
fn stalled_tick(tracker: &mut Tracker<World>, at_ns: u64) {
    tracker.tick(Drained { is_complete: false, ..drained(at_ns) });
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
    let ends: Vec<_> = events.iter().filter_map(end).collect();
    let by_id: BTreeMap<_, _> = ends.iter().copied().collect();
    assert_eq!(ends.len(), by_id.len(), "a request has two results: {ends:?}");
    by_id
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

/// A module is loaded for a request, and its init succeeds.
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

/// Symbols may change at the load, after the init and at the unload of a module, and when a record is lost.
#[test]
fn changes_of_symbols_are_noted() {
    let mut tracker = tracker();
    tracker.record(arrives(7, 1_000, "udf"));
    tracker.record(init_done(7, 2_000, "udf", 0));
    let mut unload = Box::new(wire::Unload::new_zeroed());
    unload.header = header(8, 3_000);
    unload.module[..3].copy_from_slice(b"udf");
    tracker.record(Record::Unload(unload));
    tracker.record(arrives(9, 4_000, "\u{fffd}"));
    tracker.loss(5_000, crate::event::LossStage::Probe, "ring-module", 1);
    let changed = tracker.environment().changed_modules.iter().map(Option::as_deref).collect::<Vec<_>>();
    assert_eq!(changed, [Some("udf"), Some("udf"), Some("udf"), Some("\u{fffd}"), None]);
}

/// A result whose request record was lost has an unknown outcome.
#[test]
fn result_without_request_record_is_unknown() {
    let mut tracker = tracker();
    tracker.record(returns(7, 1_000, 256));
    let events = tracker.take_events();
    assert_eq!(ends(&events).get(&RequestId { boot_ns: 1_000, tid: 7 }), Some(&Status::Unknown));
    assert!(!events.iter().any(|event| matches!(event.body, Body::Request(_))));
}

proptest! {
    /// Many requests for one name, in any interleaving and with any records lost, are never mixed: each event of a request
    /// has the requester of that request, and each result its own value.
    #[test]
    fn interleaved_requests_are_never_mixed(order in proptest::collection::vec(0_usize..40, 0..400), lost in proptest::collection::hash_set(0_usize..120, 0..30)) {
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
