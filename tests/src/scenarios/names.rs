//! Names of processes and threads: both are reported, and filters and policies accept either.

use std::path::Path;

use anyhow::{Context as _, Result};

use super::oracle_check::{number, text};
use super::policy::policy;
use super::{Need, Scenario};
use crate::ctx::{Action, Actor, Ctx, contains, ensure, equal};

/// io_uring creates sockets since 5.19.
const URING: &[Need] = &[Need::Kmodtrace, Need::Kernel(5, 19)];

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "names-of-a-thread", fresh_boot: false, needs: &[Need::Kmodtrace], run: thread },
    Scenario { name: "names-of-io-uring-threads", fresh_boot: false, needs: URING, run: uring },
    Scenario { name: "names-of-a-deleted-executable", fresh_boot: false, needs: &[Need::Kmodtrace], run: deleted },
    Scenario { name: "names-in-a-policy", fresh_boot: true, needs: &[Need::Kmodtrace], run: in_policy },
];

/// A request by a thread with a name of its own is selected by the name of the process and by that of the thread.
fn thread(ctx: &mut Ctx) -> Result<()> {
    let by_process = ctx.watch(&["--comm", "requester"])?;
    let by_thread = ctx.watch(&["--comm", "pool-worker"])?;
    let by_other = ctx.watch(&["--comm", "worker"])?;
    let tree = ctx.watch_tree(&[])?;
    let action = Action::ThreadMount { thread: "pool-worker".to_owned(), fs: "nosuchfs".to_owned() };
    let report = ctx.act(Actor::new(action))?;
    ensure("nothing is selected by another name", by_other.stop()?.of_type("request").next().is_none())?;
    for tracer in [by_process, by_thread] {
        let capture = tracer.stop()?;
        let request = capture.request_for("fs-nosuchfs")?;
        equal("process", text(request, "/process/comm"), "requester")?;
        equal("thread", text(request, "/process/thread_comm"), "pool-worker")?;
        equal("pid", number(request, "/process/pid"), Some(u64::from(report.pid)))?;
        ensure("another thread", number(request, "/process/tid") != Some(u64::from(report.pid)))?;
        // The main thread has the name of its process.
        let helper = capture.of_type("helper").next().context("no helper")?;
        equal("request of the helper", &helper["request"], &request["request"])?;
    }
    let tree = tree.stop()?.other.join("\n");
    contains("tree", &tree, " pool-worker), ")
}

/// A request by a thread of io_uring has the name of its process, and no system call: it is in none.
fn uring(ctx: &mut Ctx) -> Result<()> {
    /// An address family without a module.
    const FAMILY: u16 = 18;
    for (polled, thread) in [(false, "iou-wrk-"), (true, "iou-sqp-")] {
        let (by_name, tree) = (ctx.watch(&["--comm", "requester"])?, ctx.watch_tree(&[])?);
        let report = ctx.act(Actor::new(Action::UringSocket { family: FAMILY, polled }))?;
        equal("errno", report.errno, rustix::io::Errno::AFNOSUPPORT.raw_os_error())?;
        let capture = by_name.stop()?;
        let request = capture.request_for(&format!("net-pf-{FAMILY}"))?;
        equal("pid", number(request, "/process/pid"), Some(u64::from(report.pid)))?;
        contains("thread", &text(request, "/process/thread_comm"), thread)?;
        equal("a worker", request["process"]["io_worker"].as_bool(), Some(true))?;
        equal("system call", text(request, "/syscall"), "")?;
        contains("tree", &tree.stop()?.other.join("\n"), "io_uring")?;
    }
    Ok(())
}

/// An executable that was deleted while its process runs is reported as deleted, and no other is.
fn deleted(ctx: &mut Ctx) -> Result<()> {
    // The program waits until its input ends, which is when its file has been deleted.
    let script = "cp /usr/bin/kmodtrace-guest /run/gone || exit 9\n\
                  (until test -e /run/started; do sleep 0.1; done; rm /run/gone) | /run/gone act --wait mount gone |\n\
                  while read -r line; do touch /run/started; done\n";
    ctx.write_file(Path::new("/run/gone.sh"), script)?;
    let (all, tree) = (ctx.watch(&[])?, ctx.watch_tree(&[])?);
    ctx.run(&["sh", "/run/gone.sh"])?.ok()?;
    ctx.act(Actor::mount("there"))?;
    let capture = all.stop()?;
    let deleted = |alias: &str| -> Result<_> {
        let process = &capture.request_for(alias)?["process"];
        Ok((text(process, "/exe"), process["exe_deleted"].as_bool()))
    };
    equal("a deleted executable", deleted("fs-gone")?, ("/run/gone".to_owned(), Some(true)))?;
    equal("another executable", deleted("fs-there")?, ("/usr/bin/kmodtrace-guest".to_owned(), None))?;
    contains("tree", &tree.stop()?.other.join("\n"), "/run/gone (deleted)")
}

/// A rule denies a module by the name of the process, and by that of the thread.
fn in_policy(ctx: &mut Ctx) -> Result<()> {
    for comm in ["kmodtrace-guest", "pool-worker"] {
        let rule = format!("default='allow'\n[[rule]]\naction='deny'\nmodule='udf'\ncomm='{comm}'\n");
        policy(ctx, "/run/names.toml", &rule)?;
        let argv = ["/usr/bin/kmodtrace-guest", "act", "thread-mount", "pool-worker", "udf"];
        let run = ctx.trace_run(&["--policy", "/run/names.toml"], &argv)?;
        equal(&format!("exit code of the rule about {comm}"), run.code, 1)?;
        contains("summary", &run.stderr, "thread pool-worker")?;
        ctx.unload(&["udf"])?;
    }
    Ok(())
}
