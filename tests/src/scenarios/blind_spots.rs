//! Kprobes or ftrace that are switched off: requests are still reported with their process, and what is not seen is a loss.

use std::fs;

use anyhow::{Context as _, Result, bail};

use super::oracle_check::{number, text};
use super::policy::policy;
use super::{Need, Scenario};
use crate::ctx::{Actor, Capture, Ctx, Report, contains, ensure, equal};
use crate::oracle::requests;

const NEEDS: &[Need] = &[Need::Kmodtrace];

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "blind-kprobes-off-while-tracing", fresh_boot: false, needs: NEEDS, run: kprobes_meanwhile },
    Scenario { name: "blind-kprobes-off-before-start", fresh_boot: false, needs: NEEDS, run: kprobes_before },
    Scenario { name: "blind-ftrace-off-while-tracing", fresh_boot: true, needs: NEEDS, run: ftrace_meanwhile },
    Scenario { name: "blind-ftrace-off-refuses", fresh_boot: false, needs: NEEDS, run: ftrace_refuses },
    Scenario { name: "blind-switched-on-again", fresh_boot: false, needs: NEEDS, run: on_again },
    Scenario { name: "blind-policy-is-an-error", fresh_boot: false, needs: NEEDS, run: policy_is_an_error },
];

/// `Documentation/trace/kprobes.rst`: all kprobes.
const KPROBES: &str = "/sys/kernel/debug/kprobes/enabled";
/// `kernel.ftrace_enabled`: kprobes at function entries and, since 6.0, trampolines.
const FTRACE: &str = "/proc/sys/kernel/ftrace_enabled";

/// Address families without a module: Econet was removed from the kernel in 3.5, and InfiniBand has no such sockets.
const NEVER_LOADED: u16 = 19;
const ANOTHER: u16 = 27;

/// A switch that is off as long as this lives.
struct Off(&'static str);

impl Off {
    /// `None` if the kernel refuses, because a trampoline is attached (ftrace before 6.0).
    fn try_new(switch: &'static str) -> Result<Option<Self>> {
        const EBUSY: i32 = 16;
        match fs::write(switch, "0") {
            Ok(()) => {
                println!("{switch}: {}", fs::read_to_string(switch)?.trim());
                Ok(Some(Self(switch)))
            }
            Err(error) if error.raw_os_error() == Some(EBUSY) => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot write {switch}")),
        }
    }

    fn new(switch: &'static str) -> Result<Self> {
        Self::try_new(switch)?.with_context(|| format!("the kernel refuses to switch {switch} off"))
    }
}

impl Drop for Off {
    fn drop(&mut self) {
        if let Err(error) = fs::write(self.0, "1") {
            println!("cannot write {}: {error}", self.0);
        }
    }
}

fn lost(capture: &Capture, cause: &str) -> u64 {
    let ours = capture.of_type("loss").filter(|loss| text(loss, "/cause") == cause);
    ours.filter_map(|loss| number(loss, "/count")).sum()
}

/// The request is reported, late, with its process and one result; the loss and its reason are reported.
fn expect_late(capture: &Capture, report: &Report, alias: &str, reason: &str) -> Result<()> {
    let request = capture.request_for(alias)?;
    equal("late", request["late"].as_bool(), Some(true))?;
    equal("requester", text(request, "/process/comm"), "witness")?;
    equal("process id", number(request, "/process/pid"), Some(u64::from(report.pid)))?;
    equal("user id", number(request, "/process/uid"), Some(1000))?;
    equal("attribution", text(request, "/attribution"), "exact")?;
    equal("system call", text(request, "/syscall"), "socket")?;
    equal("first frame", text(request, "/stack/0/symbol"), "__sock_create")?;
    equal("outcome", text(capture.result_of(request)?, "/status"), "unknown")?;
    equal("late requests", lost(capture, "request-late"), 1)?;
    ensure("the stop is a loss", lost(capture, "kprobes-off") >= 1)?;
    contains("warning", &capture.stderr, "kprobes do not run, so the hooks")?;
    contains("reason", &capture.stderr, reason)?;
    contains("summary", &capture.stderr, "request-late")
}

fn act(ctx: &mut Ctx, family: u16) -> Result<Report> {
    ctx.act(Actor::socket(family, 5, 0).named("witness").as_user(1000))
}

fn reason_of(switch: &str) -> &'static str {
    if switch == KPROBES { "kprobes are disabled" } else { "kernel.ftrace_enabled is 0" }
}

/// Switches off while a tracer runs.
fn meanwhile(ctx: &mut Ctx, switch: &'static str, attach: &str) -> Result<()> {
    let oracle = ctx.oracle()?;
    let tracer = ctx.watch(&["--attach", attach])?;
    let Some(off) = Off::try_new(switch)? else {
        if switch != FTRACE || attach == "kprobe" {
            bail!("{switch} cannot be switched off");
        }
        // Refused: everything is seen as ever.
        act(ctx, NEVER_LOADED)?;
        let capture = tracer.stop()?;
        capture.expect_complete()?;
        return equal("late", capture.request_for("net-pf-19")?["late"].as_bool(), None);
    };
    let report = act(ctx, NEVER_LOADED)?;
    for cause in ["request-late", "kprobes-off"] {
        tracer.await_output(cause)?;
    }
    // Before it detaches: otherwise the kernel may disable ftrace later.
    drop(off);
    let capture = tracer.stop()?;
    equal("requests that the oracle saw", requests(&ctx.oracle_events(&oracle)?).len(), 1)?;
    expect_late(&capture, &report, "net-pf-19", reason_of(switch))
}

fn kprobes_meanwhile(ctx: &mut Ctx) -> Result<()> {
    meanwhile(ctx, KPROBES, "auto")?;
    meanwhile(ctx, KPROBES, "kprobe")
}

fn ftrace_meanwhile(ctx: &mut Ctx) -> Result<()> {
    meanwhile(ctx, FTRACE, "auto")?;
    meanwhile(ctx, FTRACE, "kprobe")
}

/// The kernel attaches programs without an error while kprobes are off.
fn kprobes_before(ctx: &mut Ctx) -> Result<()> {
    let off = Off::new(KPROBES)?;
    let tracer = ctx.watch(&[])?;
    let report = act(ctx, NEVER_LOADED)?;
    let capture = tracer.stop()?;
    drop(off);
    let at = |text: &str| capture.stderr.find(text).with_context(|| format!("stderr lacks {text:?}"));
    ensure("the warning precedes `armed`", at("kprobes do not run")? < at("kmodtrace: armed")?)?;
    expect_late(&capture, &report, "net-pf-19", reason_of(KPROBES))
}

/// Attaching now would not work, and may later make the kernel disable ftrace.
fn ftrace_refuses(ctx: &mut Ctx) -> Result<()> {
    let off = Off::new(FTRACE)?;
    let refused = ctx.run(&["kmodtrace", "watch", "--duration", "1s"]);
    drop(off);
    let refused = refused?;
    equal("exit code", refused.code, 125)?;
    contains("error", &refused.stderr, "kernel.ftrace_enabled is 0")?;
    ctx.run(&["kmodtrace", "watch", "--duration", "1s"])?.ok().map(drop)
}

/// Once switched on again, requests are reported from their beginning, and the recovery is reported.
fn on_again(ctx: &mut Ctx) -> Result<()> {
    let tracer = ctx.watch(&[])?;
    let off = Off::new(KPROBES)?;
    act(ctx, NEVER_LOADED)?;
    for cause in ["request-late", "kprobes-off"] {
        tracer.await_output(cause)?;
    }
    drop(off);
    let report = act(ctx, ANOTHER)?;
    let capture = tracer.stop()?;
    let request = capture.request_for("net-pf-27")?;
    equal("late", request["late"].as_bool(), None)?;
    equal("process id", number(request, "/process/pid"), Some(u64::from(report.pid)))?;
    ensure("its outcome is known", text(capture.result_of(request)?, "/status") != "unknown")?;
    contains("notice", &capture.stderr, "kprobes run again")?;
    equal("late requests", lost(&capture, "request-late"), 1)
}

/// A policy that allows everything cannot be judged, even if nothing was requested.
fn policy_is_an_error(ctx: &mut Ctx) -> Result<()> {
    policy(ctx, "/run/blind.toml", "default='allow'\n")?;
    let sound = ctx.trace_run(&["--policy", "/run/blind.toml"], &["true"])?;
    equal("exit code with kprobes", sound.code, 0)?;
    let off = Off::new(KPROBES)?;
    let judged = ctx.trace_run(&["--policy", "/run/blind.toml"], &["true"])?;
    drop(off);
    equal("exit code without kprobes", judged.code, 125)?;
    contains("verdict", &judged.stderr, "kprobes-off")
}
