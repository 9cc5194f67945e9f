//! Requests that load nothing, or another module than requested: each has its own outcome.

use std::path::Path;

use anyhow::Result;

use super::oracle_check::{expect_status, number, text, with_oracle};
use super::{Need, Scenario};
use crate::ctx::{Actor, Capture, Ctx, contains, ensure, equal};

const NEEDS: &[Need] = &[Need::Kmodtrace];

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "outcome-loaded", fresh_boot: false, needs: NEEDS, run: loaded },
    Scenario { name: "outcome-already-loaded", fresh_boot: false, needs: NEEDS, run: already_loaded },
    Scenario { name: "outcome-not-found", fresh_boot: false, needs: NEEDS, run: not_found },
    Scenario { name: "outcome-install-false", fresh_boot: false, needs: NEEDS, run: install_false },
    Scenario { name: "outcome-alias-off", fresh_boot: false, needs: NEEDS, run: alias_off },
    Scenario { name: "outcome-blacklist", fresh_boot: false, needs: NEEDS, run: blacklist },
    Scenario { name: "outcome-no-modprobe", fresh_boot: false, needs: NEEDS, run: no_modprobe },
    Scenario { name: "outcome-helper-missing", fresh_boot: false, needs: NEEDS, run: helper_missing },
    Scenario { name: "outcome-install-command-loads", fresh_boot: false, needs: NEEDS, run: install_command },
];

/// Crypto sockets: a family that any user may request, and a single module in every Debian kernel.
const PF_ALG: u16 = 38;

/// Runs a process of alice that requests AF_ALG, and returns the capture.
fn alice_requests_alg(ctx: &mut Ctx) -> Result<Capture> {
    let oracle = ctx.oracle()?;
    let tracer = ctx.watch(&[])?;
    ctx.act(Actor::socket(PF_ALG, 5, 0).named("sensor").as_user(1000))?;
    let capture = tracer.stop()?;
    with_oracle(&capture, &ctx.oracle_events(&oracle)?)?;
    let request = capture.request_for("net-pf-38")?;
    equal("comm", text(request, "/process/comm"), "sensor")?;
    equal("uid", number(request, "/process/uid"), Some(1000))?;
    equal("user", text(request, "/process/user"), "alice")?;
    equal("system call", text(request, "/syscall"), "socket")?;
    Ok(capture)
}

fn loaded(ctx: &mut Ctx) -> Result<()> {
    let capture = alice_requests_alg(ctx)?;
    let request = capture.request_for("net-pf-38")?;
    equal("modules", capture.modules_of(request), vec!["af_alg".to_owned()])?;
    expect_status(capture.result_of(request)?, "loaded", "exact")
}

/// A request for a loaded module: modprobe succeeds and loads nothing.
fn already_loaded(ctx: &mut Ctx) -> Result<()> {
    ctx.run(&["modprobe", "dummy"])?.ok()?;
    let tracer = ctx.watch(&[])?;
    // The kernel makes no request for a registered link kind or file system type. So this uses an alias of a loaded module
    // that does not register it: a file system alias.
    ctx.modprobe_conf("already", "alias fs-alreadythere dummy\n")?;
    ctx.act(Actor::mount("alreadythere"))?;
    let capture = tracer.stop()?;
    let request = capture.request_for("fs-alreadythere")?;
    let result = capture.result_of(request)?;
    expect_status(result, "already-loaded", "inferred")?;
    equal("code", result["code"].as_i64(), Some(0))
}

fn not_found(ctx: &mut Ctx) -> Result<()> {
    let oracle = ctx.oracle()?;
    let tracer = ctx.watch(&[])?;
    ctx.act(Actor::mount("nosuchfs").named("seeker"))?;
    let capture = tracer.stop()?;
    with_oracle(&capture, &ctx.oracle_events(&oracle)?)?;
    let request = capture.request_for("fs-nosuchfs")?;
    equal("comm", text(request, "/process/comm"), "seeker")?;
    equal("helpers", capture.belonging_to(request, "helper").len(), 1)?;
    let result = capture.result_of(request)?;
    equal("code: modprobe's exit status 1", result["code"].as_i64(), Some(256))?;
    expect_status(result, "not-found", "inferred")
}

fn install_false(ctx: &mut Ctx) -> Result<()> {
    ctx.modprobe_conf("block", "install af_alg /bin/false\n")?;
    let capture = alice_requests_alg(ctx)?;
    let result = capture.result_of(capture.request_for("net-pf-38")?)?;
    expect_status(result, "blocklisted", "inferred")?;
    contains("detail", &text(result, "/detail"), "install af_alg /bin/false")?;
    ensure("nothing is loaded", capture.modules().is_empty())
}

fn alias_off(ctx: &mut Ctx) -> Result<()> {
    ctx.modprobe_conf("off", "alias net-pf-38 off\n")?;
    let capture = alice_requests_alg(ctx)?;
    let result = capture.result_of(capture.request_for("net-pf-38")?)?;
    expect_status(result, "blocklisted", "inferred")?;
    contains("detail", &text(result, "/detail"), "off")
}

/// With a blacklist line modprobe reports success.
fn blacklist(ctx: &mut Ctx) -> Result<()> {
    ctx.modprobe_conf("blacklist", "blacklist af_alg\n")?;
    let capture = alice_requests_alg(ctx)?;
    let result = capture.result_of(capture.request_for("net-pf-38")?)?;
    equal("code", result["code"].as_i64(), Some(0))?;
    expect_status(result, "blocklisted", "inferred")?;
    contains("detail", &text(result, "/detail"), "blacklist af_alg")
}

/// With an empty kernel.modprobe, the kernel stops before its own tracepoint and security hook.
fn no_modprobe(ctx: &mut Ctx) -> Result<()> {
    let setting = Path::new("/proc/sys/kernel/modprobe");
    let before = std::fs::read_to_string(setting)?;
    std::fs::write(setting, "\n")?;
    let capture = (|| {
        let tracer = ctx.watch(&[])?;
        ctx.act(Actor::socket(PF_ALG, 5, 0).named("sensor"))?;
        tracer.stop()
    })();
    std::fs::write(setting, before)?;
    let capture = capture?;
    let request = capture.request_for("net-pf-38")?;
    equal("comm", text(request, "/process/comm"), "sensor")?;
    equal("exe is known", text(request, "/process/exe").is_empty(), false)?;
    let result = capture.result_of(request)?;
    expect_status(result, "no-modprobe", "exact")?;
    equal("errno", text(result, "/errno"), "ENOENT")
}

fn helper_missing(ctx: &mut Ctx) -> Result<()> {
    let setting = Path::new("/proc/sys/kernel/modprobe");
    let before = std::fs::read_to_string(setting)?;
    std::fs::write(setting, "/sbin/no-such-modprobe\n")?;
    let capture = (|| {
        let tracer = ctx.watch(&[])?;
        ctx.act(Actor::socket(PF_ALG, 5, 0))?;
        tracer.stop()
    })();
    std::fs::write(setting, before)?;
    let capture = capture?;
    let request = capture.request_for("net-pf-38")?;
    let result = capture.result_of(request)?;
    expect_status(result, "helper-failed", "exact")?;
    equal("errno", text(result, "/errno"), "ENOENT")
}

/// An install command loads the module two processes below the helper; the load belongs to the request nevertheless.
fn install_command(ctx: &mut Ctx) -> Result<()> {
    ctx.modprobe_conf("command", "install af_alg /bin/sh -c '/sbin/modprobe --ignore-install af_alg; true'\n")?;
    let capture = alice_requests_alg(ctx)?;
    let request = capture.request_for("net-pf-38")?;
    equal("modules", capture.modules_of(request), vec!["af_alg".to_owned()])?;
    let load = capture.belonging_to(request, "load")[0];
    let depth = number(load, "/helper_depth").unwrap_or(0);
    ensure(&format!("the loader is {depth} below the helper"), depth >= 1)?;
    equal("origin", text(load, "/origin"), "request")?;
    expect_status(capture.result_of(request)?, "loaded", "exact")
}
