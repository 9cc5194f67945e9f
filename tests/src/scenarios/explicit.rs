//! Explicit loads and unloads: modprobe, insmod and rmmod.

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::oracle_check::{text, with_oracle};
use super::{Need, Scenario};
use crate::ctx::{Ctx, contains, ensure, equal};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "explicit-modprobe", fresh_boot: false, needs: &[Need::Kmodtrace], run: modprobe },
    Scenario { name: "explicit-insmod", fresh_boot: false, needs: &[Need::Kmodtrace], run: insmod },
    Scenario { name: "explicit-insmod-twice", fresh_boot: false, needs: &[Need::Kmodtrace], run: insmod_twice },
    Scenario { name: "explicit-orphan", fresh_boot: false, needs: &[Need::Kmodtrace], run: orphan },
    Scenario { name: "explicit-rmmod-refused", fresh_boot: false, needs: &[Need::Kmodtrace], run: rmmod_refused },
];

/// A modprobe in a script, with its dependencies, and the rmmod after it.
fn modprobe(ctx: &mut Ctx) -> Result<()> {
    let oracle = ctx.oracle()?;
    let tracer = ctx.watch(&[])?;
    ctx.run(&["/bin/sh", "-c", "/sbin/modprobe vxlan; /sbin/rmmod vxlan"])?.ok()?;
    let capture = tracer.stop()?;
    with_oracle(&capture, &ctx.oracle_events(&oracle)?)?;
    equal("requests", capture.of_type("request").count(), 0)?;
    equal("last module", capture.modules().last().map(String::as_str), Some("vxlan"))?;
    ensure("its dependencies are reported", capture.modules().len() > 1)?;
    for load in capture.of_type("load") {
        chain_of(load, "modprobe")?;
        equal("argv", &load["process"]["argv"], &serde_json::json!(["/sbin/modprobe", "vxlan"]))?;
    }
    let unload = capture.of_type("unload").next().context("no unload")?;
    equal("unloaded", text(unload, "/module"), "vxlan")?;
    equal("by", text(unload, "/process/comm"), "rmmod")
}

/// Checks the origin of a load, and its processes from the loader up to pid 1.
fn chain_of(load: &Value, comm: &str) -> Result<()> {
    equal("origin", text(load, "/origin"), "explicit")?;
    equal("attribution", text(load, "/attribution"), "exact")?;
    equal("loader", text(load, "/process/comm"), comm)?;
    equal("its parent", text(load, "/ancestors/0/comm"), "sh")?;
    let top = load["ancestors"].as_array().and_then(|ancestors| ancestors.last());
    equal("top of the ancestors", top.and_then(|top| top["pid"].as_u64()), Some(1))
}

/// The path of a module's file.
fn file_of(ctx: &mut Ctx, module: &str) -> Result<String> {
    let output = ctx.run(&["modinfo", "-n", module])?.ok()?;
    Ok(output.stdout.trim().to_owned())
}

fn insmod(ctx: &mut Ctx) -> Result<()> {
    let file = file_of(ctx, "dummy")?;
    let oracle = ctx.oracle()?;
    let tracer = ctx.watch(&[])?;
    ctx.run(&["/bin/sh", "-c", &format!("/sbin/insmod {file}; true")])?.ok()?;
    let capture = tracer.stop()?;
    with_oracle(&capture, &ctx.oracle_events(&oracle)?)?;
    let load = capture.of_type("load").next().context("no load")?;
    equal("module", text(load, "/module"), "dummy")?;
    chain_of(load, "insmod")?;
    let init = capture.of_type("init").next().context("no init")?;
    equal("return value of init", init["ret"].as_i64(), Some(0))
}

/// The second insmod fails, and is reported with its process although no module is loaded.
fn insmod_twice(ctx: &mut Ctx) -> Result<()> {
    let file = file_of(ctx, "dummy")?;
    ctx.run(&["/sbin/insmod", &file])?.ok()?;
    let tracer = ctx.watch(&[])?;
    let output = ctx.run(&["/sbin/insmod", &file])?;
    ensure("the second insmod fails", output.code != 0)?;
    let capture = tracer.stop()?;
    let attempt = capture.of_type("attempt").next().context("no attempt")?;
    equal("errno", text(attempt, "/errno"), "EEXIST")?;
    equal("by", text(attempt, "/process/comm"), "insmod")?;
    ensure("no module is loaded", capture.modules().is_empty())
}

/// A modprobe that init has adopted was not run by init, while one with a living parent was run by that.
fn orphan(ctx: &mut Ctx) -> Result<()> {
    let command = "( ( sleep 1; exec /sbin/modprobe dummy ) & ); sleep 4";
    let capture = ctx.trace_run(&[], &["/bin/sh", "-c", command])?;
    let load = capture.of_type("load").next().context("no load")?;
    equal("origin", text(load, "/origin"), "explicit")?;
    equal("the parent has changed", load["process"]["parent_changed"].as_bool(), Some(true))?;
    contains("summary", &capture.stderr, "parent unknown: dummy")?;
    ctx.unload(&["dummy"])?;

    let capture = ctx.trace_run(&[], &["/bin/sh", "-c", "/sbin/modprobe dummy; :"])?;
    let load = capture.of_type("load").next().context("no load")?;
    equal("the parent has changed", load["process"]["parent_changed"].as_bool(), None)?;
    contains("summary", &capture.stderr, "loaded by sh(")?;
    ctx.unload(&["dummy"])
}

/// A failed unload is reported immediately, not at the end of the process.
fn rmmod_refused(ctx: &mut Ctx) -> Result<()> {
    ctx.run(&["/sbin/modprobe", "dummy"])?.ok()?;
    let tracer = ctx.watch(&[])?;
    let lines = ctx.watch_lines(&[])?;
    let output = ctx.run_as(1000, &["/sbin/rmmod", "dummy"])?;
    ensure("rmmod fails", output.code != 0)?;
    let (lines, capture) = (lines.stop()?, tracer.stop()?);
    capture.expect_complete()?;
    let attempt = capture.of_type("attempt").next().context("no attempt")?;
    equal("the call", text(attempt, "/syscall"), "delete_module")?;
    equal("errno", text(attempt, "/errno"), "EPERM")?;
    equal("by", text(attempt, "/process/comm"), "rmmod")?;
    let shown = lines.other.join("\n");
    contains("lines", &shown, "EPERM")?;
    ensure("no chain is incomplete", !shown.contains("incomplete"))
}
