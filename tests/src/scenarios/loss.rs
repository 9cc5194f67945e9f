//! Overflow of the ring buffer: lost records are counted, and no event is attributed wrongly because of them.

use std::{collections::BTreeMap, thread, time::Duration};

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process};

use super::failures::with_modprobe;
use super::oracle_check::{number, text};
use super::{Need, Scenario, is_kernel_at_least};
use crate::ctx::{Action, Actor, Ctx, contains, ensure, equal};
use crate::guest::READING;
use crate::oracle::{Calls, EventKind, loads, requests};

const NEEDS: &[Need] = &[Need::Kmodtrace];

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "loss-is-reported", fresh_boot: false, needs: NEEDS, run: ring_overflow },
    Scenario { name: "loss-bpf-syscall-not-used", fresh_boot: false, needs: NEEDS, run: no_bpf_syscall },
    Scenario { name: "loss-with-a-map-reader-is-counted", fresh_boot: true, needs: PREEMPTIBLE, run: with_map_reader },
];

/// A kernel that preempts a task also within a system call. Debian's 5.10 cannot.
const PREEMPTIBLE: &[Need] = &[Need::Kmodtrace, Need::Kernel(6, 1), Need::KernelArgument("preempt=full")];

/// `BPF_PROG_TEST_RUN` (10), include/uapi/linux/bpf.h.
const PROG_TEST_RUN: &str = "cmd: a,";

const ACTORS: u32 = 4;
const EACH: u32 = 50;

/// The smallest ring has room for about a dozen requests; 200 are made while the reader is stopped.
fn ring_overflow(ctx: &mut Ctx) -> Result<()> {
    let oracle = ctx.oracle()?;
    let tracer = ctx.watch(&["--ring-kib", "64"])?;
    let tree = ctx.watch_tree(&["--ring-kib", "64"])?;
    let readers = [&tracer, &tree].map(|tracer| i32::try_from(tracer.pid()).ok().and_then(Pid::from_raw));
    let signal = |signal: Signal| -> Result<()> {
        for pid in readers {
            kill_process(pid.context("no process id")?, signal).context("cannot signal kmodtrace")?;
        }
        Ok(())
    };

    let actors = (0..ACTORS)
        .map(|n| Actor::new(Action::Mounts { fs: format!("lost{n}x"), count: EACH }).named(&format!("storm{n}")));
    let group = ctx.actor_group(actors.collect())?;
    signal(Signal::STOP)?;
    // A helper that exits immediately.
    let reports = with_modprobe("/bin/busybox", || group.release())?;
    signal(Signal::CONT)?;
    // The loss is reported when the ring has been read. Until then it may have no room.
    for tracer in [&tracer, &tree] {
        tracer.await_output("ring-request")?;
    }
    // One more request, which both tracers must report completely.
    ctx.act(Actor::mount("afterwards").named("late"))?;
    let (capture, tree) = (tracer.stop()?, tree.stop()?);
    let events = ctx.oracle_events(&oracle)?;
    let asked = requests(&events);
    equal("requests that the oracle saw", asked.len(), usize::try_from(ACTORS * EACH + 1)?)?;

    let lost: u64 = losses(&capture, "ring-request");
    let seen = u64::try_from(capture.of_type("request").count())?;
    ensure(&format!("something was lost ({seen} of {} seen)", asked.len()), lost > 0)?;
    equal("seen and lost together", seen + lost, u64::try_from(asked.len())?)?;
    let all: u64 = capture.of_type("loss").filter_map(|loss| number(loss, "/count")).sum();
    let end = capture.events.last().context("no events")?;
    equal("losses in the end event", number(end, "/lost"), Some(all))?;
    equal("requests in the end event", number(end, "/requests"), Some(seen))?;
    contains("summary", &capture.stderr, &format!("{lost} ring-request"))?;
    contains("summary of the tree", &tree.stderr, "ring-request")?;
    contains("the tree", &tree.other.join("\n"), "incomplete")?;

    // Each actor requests names of its own, so requester and alias can be compared.
    let pids: BTreeMap<String, u32> = reports.into_iter().map(|report| (report.actor.comm, report.pid)).collect();
    let mut names = BTreeMap::new();
    for request in capture.of_type("request").filter(|request| text(request, "/process/comm") != "late") {
        let name = text(request, "/name");
        let actor = format!("storm{}", name.chars().nth("fs-lost".len()).unwrap_or('?'));
        equal(&format!("requester of {name}"), text(request, "/process/comm"), actor.as_str())?;
        equal("pid", number(request, "/process/pid"), pids.get(&actor).copied().map(u64::from))?;
        ensure("each request is reported once", names.insert(text(request, "/request"), name).is_none())?;
    }
    for helper in capture.of_type("helper") {
        let Some(name) = names.get(&text(helper, "/request")) else { continue };
        equal("alias of the helper", text(helper, "/argv/3"), name.as_str())?;
    }
    // The result of a lost request is unknown.
    for result in capture.of_type("result").filter(|result| !names.contains_key(&text(result, "/request"))) {
        let late = capture.request_for("fs-afterwards")?["request"] == result["request"];
        equal(&format!("{result}"), text(result, "/status"), if late { "not-found" } else { "unknown" })?;
    }
    let late = capture.request_for("fs-afterwards")?;
    equal("status of the later request", text(capture.result_of(late)?, "/status"), "not-found")
}

fn losses(capture: &crate::ctx::Capture, cause: &str) -> u64 {
    let ours = capture.of_type("loss").filter(|loss| loss["cause"] == cause);
    ours.filter_map(|loss| number(loss, "/count")).sum()
}

/// While bpf(2) accesses a map, the kernel runs no kprobe programs on that CPU, so a tracer must not call it.
fn no_bpf_syscall(ctx: &mut Ctx) -> Result<()> {
    let tracer = ctx.watch(&[])?;
    // epoll_wait calls show that the oracle sees system calls.
    let calls = Calls::start("no_bpf_syscall", tracer.pid(), &["bpf", "epoll_wait"])?;
    ctx.act(Actor::socket(38, 5, 0))?;
    // Loss counters are checked every 3 s.
    thread::sleep(Duration::from_secs(5));
    let epoll_calls = calls.arguments("epoll_wait")?.len();
    ensure(&format!("epoll_wait is observed ({epoll_calls} times)"), epoll_calls > 0)?;
    // A test run, which returns the symbol of an address, looks into no map.
    let other = |arguments: &String| !arguments.starts_with(PROG_TEST_RUN);
    let bpf_calls: Vec<String> = calls.arguments("bpf")?.into_iter().filter(other).collect();
    equal("calls of bpf(2) by the tracer that look into maps", bpf_calls, Vec::<String>::new())?;
    let capture = tracer.stop()?;
    capture.expect_complete()?;
    capture.request_for("net-pf-38").map(drop)
}

/// The number of loads and requests while a map is read.
const ROUNDS: u32 = 12;

/// The kernel skips kprobe programs while another task on the CPU is preempted in bpf(2): on 6.1, 6 of 12 loads were missing with
/// kprobes. Before 6.7 it does not count that, and no load, unload or request depends on a kprobe there; later kernels count it.
fn with_map_reader(ctx: &mut Ctx) -> Result<()> {
    let mut reader = ctx.background(&["kmodtrace-guest", "read-map"])?;
    while !reader.output()?.contains(READING) {
        thread::sleep(Duration::from_millis(20));
    }
    let oracle = ctx.oracle()?;
    let tracer = ctx.watch(&[])?;
    for n in 0..ROUNDS {
        ctx.act(Actor::mount(&format!("polled{n}x")).named("requester"))?;
        ctx.run(&["modprobe", "dummy"])?.ok()?;
        ctx.run(&["modprobe", "-r", "dummy"])?.ok()?;
    }
    let capture = tracer.stop()?;
    // It still runs.
    reader.output()?;
    let events = ctx.oracle_events(&oracle)?;
    let is_counted = is_kernel_at_least(6, 7);
    let lost: u64 = capture.of_type("loss").filter_map(|loss| number(loss, "/count")).sum();
    let frees = events.iter().filter(|event| matches!(event.kind, EventKind::Free { .. })).count();
    let asked = capture.of_type("request").filter(|request| text(request, "/name").starts_with("fs-polled")).count();
    for (what, ours, theirs) in [
        ("loads", capture.of_type("load").count(), loads(&events).len()),
        ("unloads", capture.of_type("unload").count(), frees),
        ("requests", asked, requests(&events).len()),
    ] {
        println!("{what}: {ours} of {theirs}, {lost} losses");
        if is_counted {
            ensure(&format!("{what}: {ours} of {theirs}, the rest is counted"), u64::try_from(theirs - ours)? <= lost)?;
        } else {
            equal(what, ours, theirs)?;
        }
    }
    // A requester is never another one.
    for request in capture.of_type("request") {
        equal("requester", text(request, "/process/comm"), "requester")?;
    }
    Ok(())
}
