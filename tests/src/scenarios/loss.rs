//! More than fits while nobody reads: what is missing is counted, and nothing is joined wrongly because of it.

use std::{collections::BTreeMap, thread, time::Duration};

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process};

use super::agreement::{number, text};
use super::failures::with_modprobe;
use super::{Need, Scenario};
use crate::ctx::{Act, Ctx, Deed, contains, equal, that};
use crate::oracle::{Calls, requests};

const NEEDS: &[Need] = &[Need::Kmodtrace];

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "loss-is-told", fresh_boot: false, needs: NEEDS, run: ring_overflow },
    Scenario { name: "loss-is-not-made-by-looking", fresh_boot: false, needs: NEEDS, run: looking },
];

const ACTORS: u32 = 4;
const EACH: u32 = 50;

/// The smallest ring holds about a dozen requests; 200 come while the reader is stopped.
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

    let acts = (0..ACTORS)
        .map(|n| Act::new(Deed::Mounts { fs: format!("lost{n}x"), count: EACH }).named(&format!("storm{n}")));
    let crowd = ctx.crowd(acts.collect())?;
    signal(Signal::STOP)?;
    // A helper that ends at once.
    let reports = with_modprobe("/bin/busybox", || crowd.release())?;
    signal(Signal::CONT)?;
    // One more, which both must see whole.
    ctx.act(Act::mount("afterwards").named("late"))?;
    let (capture, tree) = (tracer.stop()?, tree.stop()?);
    let events = ctx.oracle_events(&oracle)?;
    let asked = requests(&events);
    equal("requests that the oracle saw", asked.len(), usize::try_from(ACTORS * EACH + 1)?)?;

    let lost: u64 = losses(&capture, "ring-request");
    let seen = u64::try_from(capture.of_type("request").count())?;
    that(&format!("something was lost ({seen} of {} seen)", asked.len()), lost > 0)?;
    equal("seen and lost together", seen + lost, u64::try_from(asked.len())?)?;
    let all: u64 = capture.of_type("loss").filter_map(|loss| number(loss, "/count")).sum();
    let end = capture.events.last().context("no events")?;
    equal("losses of the end", number(end, "/lost"), Some(all))?;
    equal("requests of the end", number(end, "/requests"), Some(seen))?;
    contains("summary", &capture.stderr, &format!("{lost} ring-request"))?;
    contains("summary of the tree", &tree.stderr, "ring-request")?;
    contains("the tree", &tree.other.join("\n"), "incomplete")?;

    // Who asked, and what for: by the name that each actor made up for itself.
    let pids: BTreeMap<String, u32> = reports.into_iter().map(|report| (report.act.comm, report.pid)).collect();
    let mut names = BTreeMap::new();
    for request in capture.of_type("request").filter(|request| text(request, "/process/comm") != "late") {
        let name = text(request, "/name");
        let actor = format!("storm{}", name.chars().nth("fs-lost".len()).unwrap_or('?'));
        equal(&format!("who asked for {name}"), text(request, "/process/comm"), actor.as_str())?;
        equal("pid", number(request, "/process/pid"), pids.get(&actor).copied().map(u64::from))?;
        that("each request is told once", names.insert(text(request, "/request"), name).is_none())?;
    }
    for helper in capture.of_type("helper") {
        let Some(name) = names.get(&text(helper, "/request")) else { continue };
        equal("whose helper it is", text(helper, "/argv/3"), name.as_str())?;
    }
    // A result of which the request is not known claims nothing.
    for result in capture.of_type("result").filter(|result| !names.contains_key(&text(result, "/request"))) {
        let late = capture.request_for("fs-afterwards")?["request"] == result["request"];
        equal(&format!("{result}"), text(result, "/status"), if late { "not-found" } else { "unknown" })?;
    }
    let late = capture.request_for("fs-afterwards")?;
    equal("status of what came later", text(capture.result_of(late)?, "/status"), "not-found")
}

fn losses(capture: &crate::ctx::Capture, cause: &str) -> u64 {
    let ours = capture.of_type("loss").filter(|loss| loss["cause"] == cause);
    ours.filter_map(|loss| number(loss, "/count")).sum()
}

/// While bpf(2) looks into a map, the kernel runs no kprobe's program on that CPU: who traces must not use it.
fn looking(ctx: &mut Ctx) -> Result<()> {
    let tracer = ctx.watch(&[])?;
    // That it waits shows that the calls are seen.
    let calls = Calls::start("looking", tracer.pid(), &["bpf", "epoll_wait"])?;
    ctx.act(Act::socket(38, 5, 0))?;
    // Losses are looked for every 3 s.
    thread::sleep(Duration::from_secs(5));
    let (looked, waited) = (calls.count("bpf")?, calls.count("epoll_wait")?);
    that(&format!("it is seen waiting ({waited} times)"), waited > 0)?;
    equal("calls of bpf(2) by who traces", looked, 0)?;
    let capture = tracer.stop()?;
    capture.expect_whole()?;
    capture.request_for("net-pf-38").map(drop)
}
