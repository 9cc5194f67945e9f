//! Requests that fail on the way: in the kernel, in the helper, in the module.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::agreement::{ended, is_admitted, number, text, with_oracle};
use super::{Need, Scenario};
use crate::ctx::{Act, Capture, Ctx, contains, equal, that};

const NEEDS: &[Need] = &[Need::Kmodtrace];

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "ending-throttled", fresh_boot: true, needs: NEEDS, run: throttled },
    Scenario { name: "ending-killed-while-waiting", fresh_boot: false, needs: NEEDS, run: killed },
    Scenario { name: "ending-helper-not-executable", fresh_boot: false, needs: NEEDS, run: not_executable },
    Scenario { name: "ending-helper-killed", fresh_boot: false, needs: NEEDS, run: helper_killed },
    Scenario { name: "ending-install-true", fresh_boot: false, needs: NEEDS, run: install_true },
    Scenario { name: "ending-install-true-after-dependencies", fresh_boot: true, needs: NEEDS, run: only_dependencies },
    Scenario { name: "ending-init-failed", fresh_boot: false, needs: NEEDS, run: init_failed },
    Scenario { name: "ending-broken-module", fresh_boot: false, needs: NEEDS, run: broken_module },
    Scenario { name: "ending-modules-disabled", fresh_boot: true, needs: NEEDS, run: modules_disabled },
];

/// Lets `modprobe` be another program while `during` runs.
pub(super) fn with_modprobe<T>(program: &str, during: impl FnOnce() -> Result<T>) -> Result<T> {
    let setting = Path::new("/proc/sys/kernel/modprobe");
    let before = fs::read_to_string(setting).context("cannot read kernel.modprobe")?;
    fs::write(setting, format!("{program}\n")).context("cannot set kernel.modprobe")?;
    let result = during();
    fs::write(setting, before).context("cannot set kernel.modprobe back")?;
    result
}

/// A script of our own in modprobe's place.
pub(super) fn helper_script(ctx: &mut Ctx, text: &str) -> Result<&'static str> {
    const PATH: &str = "/run/helper";
    ctx.write_file(Path::new(PATH), &format!("#!/bin/sh\n{text}\n"))?;
    fs::set_permissions(PATH, fs::Permissions::from_mode(0o755)).context("cannot make the helper executable")?;
    Ok(PATH)
}

/// 53 at a time, and helpers that take 8 s: 50 get a place, and the kernel gives up on the others after 5 s. Each asks for two
/// names in one system call, so those that were given up show by the kernel's own times that they went on.
fn throttled(ctx: &mut Ctx) -> Result<()> {
    const PF_INET: u16 = 2;
    let script = helper_script(ctx, "sleep 8; exit 1")?;
    let oracle = ctx.oracle()?;
    let tracer = ctx.watch(&[])?;
    // No such protocols.
    let acts = (150..203).map(|protocol| Act::socket(PF_INET, 1, protocol).named(&format!("slow{protocol}")));
    let crowd = ctx.crowd(acts.collect())?;
    let reports = with_modprobe(script, || crowd.release())?;
    let capture = tracer.stop()?;
    let events = ctx.oracle_events(&oracle)?;
    with_oracle(&capture, &events)?;
    let mut count = 0;
    for report in &reports {
        let protocol = report.act.comm.trim_start_matches("slow");
        let first = capture.request_for(&format!("net-pf-2-proto-{protocol}-type-1"))?;
        let second = capture.request_for(&format!("net-pf-2-proto-{protocol}"))?;
        for request in [first, second] {
            equal("pid", number(request, "/process/pid"), Some(u64::from(report.pid)))?;
        }
        if is_admitted(&events, first) {
            continue;
        }
        count += 1;
        let result = capture.result_of(first)?;
        ended(result, "throttled", "inferred")?;
        equal("errno", text(result, "/errno"), "ETIME")?;
        equal("rule", text(result, "/rule"), "admission-timeout")?;
    }
    that("some were given up", count > 0)
}

/// The requester dies; its helper goes on and is still told to be its own.
fn killed(ctx: &mut Ctx) -> Result<()> {
    let script = helper_script(ctx, "sleep 4; exit 1")?;
    let tracer = ctx.watch(&[])?;
    let command = "mount -t killedfs none /mnt & sleep 1; kill -9 $!; wait";
    with_modprobe(script, || ctx.run(&["bash", "-c", command])?.ok())?;
    // Longer than the helper runs: its end is the end of the request.
    ctx.run(&["sleep", "5"])?.ok()?;
    let capture = tracer.stop()?;
    capture.expect_whole()?;
    let request = capture.request_for("fs-killedfs")?;
    equal("comm", text(request, "/process/comm"), "mount")?;
    equal("helpers", capture.belonging_to(request, "helper").len(), 1)?;
    let result = capture.result_of(request)?;
    ended(result, "interrupted", "exact")?;
    equal("code", result["code"].as_i64(), Some(-512))
}

fn not_executable(ctx: &mut Ctx) -> Result<()> {
    let tracer = ctx.watch(&[])?;
    with_modprobe("/etc/passwd", || ctx.act(Act::mount("noexecfs")))?;
    let capture = tracer.stop()?;
    let result = capture.result_of(capture.request_for("fs-noexecfs")?)?;
    ended(result, "helper-failed", "exact")?;
    equal("errno", text(result, "/errno"), "EACCES")
}

fn helper_killed(ctx: &mut Ctx) -> Result<()> {
    let script = helper_script(ctx, "kill -9 $$")?;
    let tracer = ctx.watch(&[])?;
    with_modprobe(script, || ctx.act(Act::mount("deadfs")))?;
    let capture = tracer.stop()?;
    let result = capture.result_of(capture.request_for("fs-deadfs")?)?;
    ended(result, "helper-failed", "exact")?;
    equal("code: killed by signal 9", result["code"].as_i64(), Some(9))?;
    contains("detail", &text(result, "/detail"), "signal 9")
}

/// modprobe reports success and loads nothing.
fn install_true(ctx: &mut Ctx) -> Result<()> {
    ctx.modprobe_conf("true", "install af_alg /bin/true\n")?;
    let tracer = ctx.watch(&[])?;
    ctx.act(Act::socket(38, 5, 0))?;
    let capture = tracer.stop()?;
    let result = capture.result_of(capture.request_for("net-pf-38")?)?;
    equal("code", result["code"].as_i64(), Some(0))?;
    ended(result, "blocklisted", "inferred")?;
    contains("detail", &text(result, "/detail"), "install af_alg /bin/true")
}

/// modprobe loads what a module needs, and then runs a command in its place: what came is told, and is not what was asked
/// for.
fn only_dependencies(ctx: &mut Ctx) -> Result<()> {
    let plan = ctx.run(&["modprobe", "--show-depends", "udf"])?.ok()?;
    let loaded = ctx.modules()?;
    // Each line is `insmod PATH`; what is built in is `builtin NAME`. The last is the module itself.
    let files = plan.stdout.lines().filter_map(|line| line.strip_prefix("insmod ")?.trim().rsplit('/').next());
    let mut needed: Vec<String> =
        files.filter_map(|file| Some(file.split_once(".ko")?.0.replace('-', "_"))).filter(|it| it != "udf").collect();
    needed.retain(|module| !loaded.contains_key(module));
    that("something is loaded first", !needed.is_empty())?;
    ctx.modprobe_conf("true", "install udf /bin/true\n")?;
    let oracle = ctx.oracle()?;
    let tracer = ctx.watch(&[])?;
    ctx.act(Act::mount("udf"))?;
    let capture = tracer.stop()?;
    with_oracle(&capture, &ctx.oracle_events(&oracle)?)?;
    let request = capture.request_for("fs-udf")?;
    equal("modules", capture.modules_of(request), needed)?;
    let result = capture.result_of(request)?;
    equal("code", result["code"].as_i64(), Some(0))?;
    ended(result, "blocklisted", "inferred")?;
    contains("detail", &text(result, "/detail"), "install udf /bin/true")
}

/// A module that finds no device to drive: it arrives, its init fails, it is gone.
fn init_failed(ctx: &mut Ctx) -> Result<()> {
    ctx.modprobe_conf("fails", "alias fs-initfails acpi_cpufreq\n")?;
    let oracle = ctx.oracle()?;
    let tracer = ctx.watch(&[])?;
    ctx.act(Act::mount("initfails"))?;
    let capture = tracer.stop()?;
    with_oracle(&capture, &ctx.oracle_events(&oracle)?)?;
    let request = capture.request_for("fs-initfails")?;
    let result = capture.result_of(request)?;
    ended(result, "failed", "exact")?;
    equal("errno", text(result, "/errno"), "ENODEV")?;
    let failed = |event: &&Value| event["ret"].as_i64().is_some_and(|ret| ret < 0);
    let init = capture.belonging_to(request, "init").into_iter().find(failed).context("no init failed")?;
    equal("module", text(init, "/module"), "acpi_cpufreq")?;
    equal("what its init returned", init["ret"].as_i64(), Some(-19))?;
    let unload = capture.belonging_to(request, "unload").into_iter().next().context("no unload")?;
    equal("it never came to life", &unload["init_failed"], &Value::Bool(true))
}

/// A file that is no module: the kernel refuses it, and who tried is told with the reason.
fn broken_module(ctx: &mut Ctx) -> Result<()> {
    ctx.write_file(Path::new("/run/broken.ko"), "this is no module")?;
    let tracer = ctx.watch(&[])?;
    let output = ctx.run(&["/sbin/insmod", "/run/broken.ko"])?;
    that("insmod fails", output.code != 0)?;
    let capture = tracer.stop()?;
    let attempt = capture.of_type("attempt").next().context("no attempt")?;
    equal("errno", text(attempt, "/errno"), "ENOEXEC")?;
    equal("by", text(attempt, "/process/comm"), "insmod")?;
    equal("origin", text(attempt, "/origin"), "explicit")?;
    loader_ended(&capture, attempt)
}

/// The process that tried has an end of its own.
fn loader_ended(capture: &Capture, attempt: &Value) -> Result<()> {
    let own = |event: &&Value| event["loader"]["pid"] == attempt["process"]["pid"];
    let result = capture.of_type("result").find(own).context("the loader has no result")?;
    ended(result, "failed", "exact")
}

/// The kernel refuses all modules: helpers run in vain.
fn modules_disabled(ctx: &mut Ctx) -> Result<()> {
    fs::write("/proc/sys/kernel/modules_disabled", "1").context("cannot disable modules")?;
    let tracer = ctx.watch(&[])?;
    ctx.act(Act::socket(38, 5, 0))?;
    let capture = tracer.stop()?;
    capture.expect_whole()?;
    let request = capture.request_for("net-pf-38")?;
    let result = capture.result_of(request)?;
    ended(result, "failed", "exact")?;
    equal("errno", text(result, "/errno"), "EPERM")?;
    let attempt = capture.belonging_to(request, "attempt").into_iter().next().context("no attempt")?;
    equal("the refused call", text(attempt, "/syscall"), "finit_module")
}
