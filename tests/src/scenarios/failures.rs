//! Requests that fail: in the kernel, in the helper, or in the module.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::oracle_check::{expect_status, is_admitted, number, text, with_oracle};
use super::{Need, Scenario};
use crate::ctx::{Actor, Capture, Ctx, contains, ensure, equal};

const NEEDS: &[Need] = &[Need::Kmodtrace];

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "outcome-throttled", fresh_boot: true, needs: NEEDS, run: throttled },
    Scenario { name: "outcome-killed-while-waiting", fresh_boot: false, needs: NEEDS, run: killed },
    Scenario { name: "run-waits-for-requests-in-flight", fresh_boot: false, needs: NEEDS, run: in_flight_at_the_end },
    Scenario { name: "outcome-helper-not-executable", fresh_boot: false, needs: NEEDS, run: not_executable },
    Scenario { name: "outcome-helper-killed", fresh_boot: false, needs: NEEDS, run: helper_killed },
    Scenario { name: "outcome-install-true", fresh_boot: false, needs: NEEDS, run: install_true },
    Scenario {
        name: "outcome-install-true-after-dependencies",
        fresh_boot: true,
        needs: NEEDS,
        run: only_dependencies,
    },
    Scenario { name: "outcome-init-failed", fresh_boot: false, needs: NEEDS, run: init_failed },
    Scenario { name: "outcome-broken-module", fresh_boot: false, needs: NEEDS, run: broken_module },
    Scenario { name: "outcome-modules-disabled", fresh_boot: true, needs: NEEDS, run: modules_disabled },
];

/// Sets `kernel.modprobe` to another program while `during` runs.
pub(super) fn with_modprobe<T>(program: &str, during: impl FnOnce() -> Result<T>) -> Result<T> {
    let setting = Path::new("/proc/sys/kernel/modprobe");
    let before = fs::read_to_string(setting).context("cannot read kernel.modprobe")?;
    fs::write(setting, format!("{program}\n")).context("cannot set kernel.modprobe")?;
    let result = during();
    fs::write(setting, before).context("cannot restore kernel.modprobe")?;
    result
}

/// Creates a script that replaces modprobe.
pub(super) fn helper_script(ctx: &mut Ctx, text: &str) -> Result<&'static str> {
    const PATH: &str = "/run/helper";
    ctx.write_file(Path::new(PATH), &format!("#!/bin/sh\n{text}\n"))?;
    fs::set_permissions(PATH, fs::Permissions::from_mode(0o755)).context("cannot make the helper executable")?;
    Ok(PATH)
}

/// 53 concurrent requests with helpers that take 8 s: the kernel admits 50 and gives the others up after 5 s. Each actor makes
/// two requests in one system call, so the kernel's timestamps show that those given up have moved on.
fn throttled(ctx: &mut Ctx) -> Result<()> {
    const PF_INET: u16 = 2;
    let script = helper_script(ctx, "sleep 8; exit 1")?;
    let oracle = ctx.oracle()?;
    let tracer = ctx.watch(&[])?;
    // No such protocols.
    let actors = (150..203).map(|protocol| Actor::socket(PF_INET, 1, protocol).named(&format!("slow{protocol}")));
    let group = ctx.actor_group(actors.collect())?;
    let reports = with_modprobe(script, || group.release())?;
    let capture = tracer.stop()?;
    let events = ctx.oracle_events(&oracle)?;
    with_oracle(&capture, &events)?;
    let mut count = 0;
    for report in &reports {
        let protocol = report.actor.comm.trim_start_matches("slow");
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
        expect_status(result, "throttled", "inferred")?;
        equal("errno", text(result, "/errno"), "ETIME")?;
        equal("rule", text(result, "/rule"), "admission-timeout")?;
    }
    ensure("the kernel gave some up", count > 0)
}

/// The requester is killed. Its helper continues, and is still attributed to the request.
fn killed(ctx: &mut Ctx) -> Result<()> {
    let script = helper_script(ctx, "sleep 4; exit 1")?;
    let tracer = ctx.watch(&[])?;
    let command = "mount -t killedfs none /mnt & sleep 1; kill -9 $!; wait";
    with_modprobe(script, || ctx.run(&["bash", "-c", command])?.ok())?;
    // Wait longer than the helper runs, because the request ends with it.
    ctx.run(&["sleep", "5"])?.ok()?;
    let capture = tracer.stop()?;
    capture.expect_complete()?;
    let request = capture.request_for("fs-killedfs")?;
    equal("comm", text(request, "/process/comm"), "mount")?;
    equal("helpers", capture.belonging_to(request, "helper").len(), 1)?;
    let result = capture.result_of(request)?;
    expect_status(result, "interrupted", "exact")?;
    equal("code", result["code"].as_i64(), Some(-512))
}

/// After its command, `run` waits for requests that are in flight, at most as long as `--grace` permits.
fn in_flight_at_the_end(ctx: &mut Ctx) -> Result<()> {
    const RUNS: &str = "/run/helper-runs";
    let script = helper_script(ctx, &format!("touch {RUNS}; sleep 5; exit 1"))?;
    // The command ends as soon as the helper runs.
    let command = format!("mount -t lingerfs none /mnt 2>/dev/null & while ! test -e {RUNS}; do sleep 0.1; done");
    let mut traced = |options: &[&str]| {
        let capture = with_modprobe(script, || ctx.trace_run(options, &["bash", "-c", &command]))?;
        fs::remove_file(RUNS).context("the helper did not run")?;
        let status = text(capture.result_of(capture.request_for("fs-lingerfs")?)?, "/status");
        Ok::<_, anyhow::Error>((capture, status))
    };
    let (waited, status) = traced(&[])?;
    ensure(&format!("the outcome is known: {status}"), status != "unknown")?;
    contains("message", &waited.stderr, "waiting for requests and loads in flight")?;
    let (_, status) = traced(&["--grace", "1s"])?;
    equal("outcome with a shorter time", status, "unknown")
}

fn not_executable(ctx: &mut Ctx) -> Result<()> {
    let tracer = ctx.watch(&[])?;
    with_modprobe("/etc/passwd", || ctx.act(Actor::mount("noexecfs")))?;
    let capture = tracer.stop()?;
    let result = capture.result_of(capture.request_for("fs-noexecfs")?)?;
    expect_status(result, "helper-failed", "exact")?;
    equal("errno", text(result, "/errno"), "EACCES")
}

fn helper_killed(ctx: &mut Ctx) -> Result<()> {
    let script = helper_script(ctx, "kill -9 $$")?;
    let tracer = ctx.watch(&[])?;
    with_modprobe(script, || ctx.act(Actor::mount("deadfs")))?;
    let capture = tracer.stop()?;
    let result = capture.result_of(capture.request_for("fs-deadfs")?)?;
    expect_status(result, "helper-failed", "exact")?;
    equal("code: killed by signal 9", result["code"].as_i64(), Some(9))?;
    contains("detail", &text(result, "/detail"), "signal 9")
}

/// modprobe reports success and loads nothing.
fn install_true(ctx: &mut Ctx) -> Result<()> {
    ctx.modprobe_conf("true", "install af_alg /bin/true\n")?;
    let tracer = ctx.watch(&[])?;
    ctx.act(Actor::socket(38, 5, 0))?;
    let capture = tracer.stop()?;
    let result = capture.result_of(capture.request_for("net-pf-38")?)?;
    equal("code", result["code"].as_i64(), Some(0))?;
    expect_status(result, "blocklisted", "inferred")?;
    contains("detail", &text(result, "/detail"), "install af_alg /bin/true")
}

/// modprobe loads the dependencies of a module, and then runs a command instead of loading it: the outcome is `blocklisted`
/// and the dependencies are reported.
fn only_dependencies(ctx: &mut Ctx) -> Result<()> {
    let plan = ctx.run(&["modprobe", "--show-depends", "udf"])?.ok()?;
    let loaded = ctx.modules()?;
    // Each line is `insmod PATH`, or `builtin NAME` for built-in code. The last line is the module itself.
    let files = plan.stdout.lines().filter_map(|line| line.strip_prefix("insmod ")?.trim().rsplit('/').next());
    let mut needed: Vec<String> =
        files.filter_map(|file| Some(file.split_once(".ko")?.0.replace('-', "_"))).filter(|it| it != "udf").collect();
    needed.retain(|module| !loaded.contains_key(module));
    ensure("there are dependencies to load", !needed.is_empty())?;
    ctx.modprobe_conf("true", "install udf /bin/true\n")?;
    let oracle = ctx.oracle()?;
    let tracer = ctx.watch(&[])?;
    ctx.act(Actor::mount("udf"))?;
    let capture = tracer.stop()?;
    with_oracle(&capture, &ctx.oracle_events(&oracle)?)?;
    let request = capture.request_for("fs-udf")?;
    equal("modules", capture.modules_of(request), needed)?;
    let result = capture.result_of(request)?;
    equal("code", result["code"].as_i64(), Some(0))?;
    expect_status(result, "blocklisted", "inferred")?;
    contains("detail", &text(result, "/detail"), "install udf /bin/true")
}

/// A module without a device to drive: it is loaded, its init fails, and it is removed.
fn init_failed(ctx: &mut Ctx) -> Result<()> {
    ctx.modprobe_conf("fails", "alias fs-initfails acpi_cpufreq\n")?;
    let oracle = ctx.oracle()?;
    let tracer = ctx.watch(&[])?;
    ctx.act(Actor::mount("initfails"))?;
    let capture = tracer.stop()?;
    with_oracle(&capture, &ctx.oracle_events(&oracle)?)?;
    let request = capture.request_for("fs-initfails")?;
    let result = capture.result_of(request)?;
    expect_status(result, "failed", "exact")?;
    equal("errno", text(result, "/errno"), "ENODEV")?;
    let failed = |event: &&Value| event["ret"].as_i64().is_some_and(|ret| ret < 0);
    let init = capture.belonging_to(request, "init").into_iter().find(failed).context("no init failed")?;
    equal("module", text(init, "/module"), "acpi_cpufreq")?;
    equal("return value of its init", init["ret"].as_i64(), Some(-19))?;
    let unload = capture.belonging_to(request, "unload").into_iter().next().context("no unload")?;
    equal("init failed", &unload["init_failed"], &Value::Bool(true))
}

/// A file that is not a module: the kernel rejects it, and the process is reported with the errno.
fn broken_module(ctx: &mut Ctx) -> Result<()> {
    ctx.write_file(Path::new("/run/broken.ko"), "this is no module")?;
    let tracer = ctx.watch(&[])?;
    let output = ctx.run(&["/sbin/insmod", "/run/broken.ko"])?;
    ensure("insmod fails", output.code != 0)?;
    let capture = tracer.stop()?;
    let attempt = capture.of_type("attempt").next().context("no attempt")?;
    equal("errno", text(attempt, "/errno"), "ENOEXEC")?;
    equal("by", text(attempt, "/process/comm"), "insmod")?;
    equal("origin", text(attempt, "/origin"), "explicit")?;
    loader_ended(&capture, attempt)
}

/// Checks that the process of a failed attempt has a result.
fn loader_ended(capture: &Capture, attempt: &Value) -> Result<()> {
    let own = |event: &&Value| event["loader"]["pid"] == attempt["process"]["pid"];
    let result = capture.of_type("result").find(own).context("the loader has no result")?;
    expect_status(result, "failed", "exact")
}

/// With modules_disabled, the kernel rejects every module, although helpers still run.
fn modules_disabled(ctx: &mut Ctx) -> Result<()> {
    fs::write("/proc/sys/kernel/modules_disabled", "1").context("cannot disable modules")?;
    let tracer = ctx.watch(&[])?;
    ctx.act(Actor::socket(38, 5, 0))?;
    let capture = tracer.stop()?;
    capture.expect_complete()?;
    let request = capture.request_for("net-pf-38")?;
    let result = capture.result_of(request)?;
    expect_status(result, "failed", "exact")?;
    equal("errno", text(result, "/errno"), "EPERM")?;
    let attempt = capture.belonging_to(request, "attempt").into_iter().next().context("no attempt")?;
    equal("the failed call", text(attempt, "/syscall"), "finit_module")
}
