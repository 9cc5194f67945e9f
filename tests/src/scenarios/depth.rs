//! Processes far below init or below a helper: the ancestry is followed to its top, and a longer one is reported as such.

use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::oracle_check::{expect_status, number, text, with_oracle};
use super::policy::policy;
use super::{Need, Scenario};
use crate::ctx::{Actor, Capture, Ctx, contains, ensure, equal};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "depth-explicit", fresh_boot: false, needs: &[Need::Kmodtrace], run: explicit },
    Scenario { name: "depth-beyond-the-limit", fresh_boot: false, needs: &[Need::Kmodtrace], run: beyond },
    Scenario { name: "depth-nested-install", fresh_boot: false, needs: &[Need::Kmodtrace], run: nested_install },
];

/// The generations that kmodtrace searches.
const GENERATIONS: u64 = 64;

/// A script that runs modprobe below as many shells as its argument says.
const SCRIPT: &str = "/run/deep.sh";

fn write_script(ctx: &mut Ctx) -> Result<()> {
    let text =
        format!("if [ \"$1\" = 0 ]; then /sbin/modprobe dummy; exit; fi\n/bin/sh {SCRIPT} $(($1 - 1))\nexit $?\n");
    ctx.write_file(Path::new(SCRIPT), &text)
}

/// The only load of a capture.
fn load(capture: &Capture) -> Result<&Value> {
    equal("modules", capture.modules(), vec!["dummy"])?;
    capture.of_type("load").next().context("no load")
}

/// A modprobe twenty and more than fifty generations below init is explicit, and the list of ancestors says how many there are.
fn explicit(ctx: &mut Ctx) -> Result<()> {
    write_script(ctx)?;
    for shells in [20_u64, 55] {
        let oracle = ctx.oracle()?;
        let tracer = ctx.watch(&[])?;
        let tree = ctx.watch_tree(&[])?;
        ctx.run(&["/bin/sh", SCRIPT, &shells.to_string()])?.ok()?;
        let (tree, capture) = (tree.stop()?, tracer.stop()?);
        with_oracle(&capture, &ctx.oracle_events(&oracle)?)?;
        capture.expect_complete()?;
        let load = load(&capture)?;
        equal("origin", text(load, "/origin"), "explicit")?;
        equal("attribution", text(load, "/attribution"), "exact")?;
        equal("truncated", load["ancestors_truncated"].as_bool(), Some(true))?;
        equal("descends from", text(load, "/process/descent"), "init")?;
        let generations = number(load, "/process/generations").context("no number of generations")?;
        ensure("all shells and init are counted", generations > shells + 1 && generations <= GENERATIONS)?;
        contains("tree", &tree.other.join("\n"), &format!("... {generations} generations"))?;
        contains("tree", &tree.other.join("\n"), "ran: /sbin/modprobe dummy")?;
        ctx.unload(&["dummy"])?;
    }
    Ok(())
}

/// Of a modprobe further below init the origin is unknown, never the kernel; `run` shows it, and the limit is reported.
fn beyond(ctx: &mut Ctx) -> Result<()> {
    write_script(ctx)?;
    let tree = ctx.watch_tree(&[])?;
    let capture = ctx.trace_run(&[], &["/bin/sh", SCRIPT, "70"])?;
    let tree = tree.stop()?;
    let load = load(&capture)?;
    equal("origin", text(load, "/origin"), "unknown")?;
    equal("descends from", text(load, "/process/descent"), "unknown")?;
    equal("generations", number(load, "/process/generations"), Some(GENERATIONS))?;
    equal("nearest parent", text(load, "/ancestors/0/comm"), "sh")?;
    let cuts: Vec<_> = capture.of_type("loss").collect();
    ensure("the limit is counted", !cuts.is_empty() && cuts.iter().all(|loss| text(loss, "/cause") == "walk-cut"))?;
    let shown = tree.other.join("\n");
    contains("tree", &shown, "ran: /sbin/modprobe dummy (origin unknown)")?;
    contains("tree", &shown, "more than 64 generations")?;
    ensure("the kernel is not the cause", !shown.contains("the kernel ran"))?;
    ctx.unload(&["dummy"])?;

    policy(ctx, "/run/deep.toml", "default='deny'\n")?;
    let judged = ctx.trace_run(&["--policy", "/run/deep.toml"], &["/bin/sh", SCRIPT, "70"])?;
    equal("exit code of a policy that cannot be judged", judged.code, 125)?;
    contains("verdict", &judged.stderr, "the cause of the load of \"dummy\" is unknown")
}

/// A module that is loaded by commands of modprobe.d which run each other belongs to the request.
fn nested_install(ctx: &mut Ctx) -> Result<()> {
    const LEVELS: u32 = 12;
    let mut conf = "alias fs-deepfs deep1\n".to_owned();
    for level in 1..LEVELS {
        conf.push_str(&format!("install deep{level} /sbin/modprobe -q deep{} && :\n", level + 1));
    }
    conf.push_str(&format!("install deep{LEVELS} /sbin/modprobe dummy && :\n"));
    ctx.modprobe_conf("deep", &conf)?;
    let oracle = ctx.oracle()?;
    let tracer = ctx.watch(&[])?;
    ctx.act(Actor::mount("deepfs"))?;
    let capture = tracer.stop()?;
    with_oracle(&capture, &ctx.oracle_events(&oracle)?)?;
    capture.expect_complete()?;
    let request = capture.request_for("fs-deepfs")?;
    equal("modules", capture.modules_of(request), vec!["dummy"])?;
    expect_status(capture.result_of(request)?, "loaded", "inferred")?;
    let load = load(&capture)?;
    ensure("it is far below the helper", number(load, "/helper_depth") > Some(u64::from(LEVELS)))
}
