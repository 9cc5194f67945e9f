//! Least privilege: measured with a copy of the program that has only some capabilities.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::fs::{Mode, XattrFlags, chmod, setxattr};
use serde_json::Value;

use super::oracle_check::text;
use super::{Need, Scenario};
use crate::ctx::{Actor, Ctx, contains, ensure, equal};
use crate::protocol::KMODTRACE_PATH;

const NEEDS: &[Need] = &[Need::Kmodtrace];

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "privileges-least-capabilities", fresh_boot: true, needs: NEEDS, run: least },
    Scenario { name: "privileges-paranoid-perf-events", fresh_boot: false, needs: NEEDS, run: paranoid },
    Scenario { name: "privileges-are-dropped", fresh_boot: false, needs: NEEDS, run: drops_capabilities },
    Scenario {
        name: "privileges-of-the-command-are-kept",
        fresh_boot: false,
        needs: NEEDS,
        run: command_keeps_capabilities,
    },
];

/// An unprivileged user.
const ALICE: u32 = 1000;

const PARANOID: &str = "/proc/sys/kernel/perf_event_paranoid";

const SYS_ADMIN: u32 = 21;
const SYS_RESOURCE: u32 = 24;
const SYSLOG: u32 = 34;
const PERFMON: u32 = 38;
const BPF: u32 = 39;

/// A path on a file system that supports file capabilities.
const COPY: &str = "/run/kmodtrace";

/// Sets permitted and effective file capabilities, as `setcap` does.
fn set_capabilities(path: &str, capabilities: &[u32]) -> Result<()> {
    const REVISION_2_EFFECTIVE: u32 = 0x0200_0001;
    let bits = capabilities.iter().fold(0_u64, |bits, capability| bits | 1 << capability);
    let mut value = REVISION_2_EFFECTIVE.to_le_bytes().to_vec();
    for half in bits.to_le_bytes().chunks(4) {
        value.extend(half);
        // Nothing is inheritable.
        value.extend([0; 4]);
    }
    setxattr(path, "security.capability", &value, XattrFlags::empty())
        .with_context(|| format!("cannot set capabilities of {path}"))
}

fn doctor(ctx: &mut Ctx, capabilities: &[u32]) -> Result<Value> {
    set_capabilities(COPY, capabilities)?;
    let output = ctx.run_as(ALICE, &[COPY, "doctor", "--json"])?;
    serde_json::from_str(&output.stdout).with_context(|| format!("not JSON: {}", output.stdout))
}

/// Creates a copy of the program that alice can run.
fn copy(ctx: &mut Ctx) -> Result<()> {
    ctx.write_file(Path::new(COPY), "")?;
    fs::copy(KMODTRACE_PATH, COPY).with_context(|| format!("cannot copy to {COPY}"))?;
    chmod(COPY, Mode::from_raw_mode(0o755)).context("cannot make it executable")
}

/// Sets `kernel.perf_event_paranoid`, and returns the previous value.
fn set_paranoid(value: &str) -> Result<String> {
    let before = fs::read_to_string(PARANOID).with_context(|| format!("cannot read {PARANOID}"))?;
    fs::write(PARANOID, value).with_context(|| format!("cannot write {PARANOID}"))?;
    Ok(before)
}

/// The documented set of capabilities is sufficient and minimal: each one is needed, and an unprivileged user can trace with it.
fn least(ctx: &mut Ctx) -> Result<()> {
    copy(ctx)?;
    let before = set_paranoid("2")?;
    let result = least_when_not_paranoid(ctx);
    set_paranoid(&before)?;
    result
}

fn least_when_not_paranoid(ctx: &mut Ctx) -> Result<()> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").context("cannot read the release")?;
    let mut set = vec![BPF, PERFMON, SYSLOG];
    // Before 5.11, BPF memory counts against RLIMIT_MEMLOCK.
    set.extend(release.starts_with("5.10.").then_some(SYS_RESOURCE));
    equal("with all of them", text(&doctor(ctx, &set)?, "/tracing"), "full")?;
    for without in &set {
        let rest: Vec<u32> = set.iter().copied().filter(|capability| capability != without).collect();
        let verdict = text(&doctor(ctx, &rest)?, "/tracing");
        equal(&format!("without {without}"), verdict, if *without == SYSLOG { "partly" } else { "no" })?;
    }
    set_capabilities(COPY, &set)?;
    let output = ctx.run_as(ALICE, &[COPY, "run", "--", "ss", "-tln"])?.ok()?;
    contains("stderr", &output.stderr, "asked    the kernel for \"net-pf-16-proto-4-type-2")?;
    contains("stderr", &output.stderr, "nothing was lost")
}

/// Debian's value of `kernel.perf_event_paranoid` restricts kprobes to CAP_SYS_ADMIN, and nothing else.
fn paranoid(ctx: &mut Ctx) -> Result<()> {
    copy(ctx)?;
    let before = set_paranoid("3")?;
    let reports =
        [[BPF, PERFMON, SYSLOG, SYS_RESOURCE], [SYS_ADMIN, PERFMON, SYSLOG, SYS_RESOURCE]].map(|set| doctor(ctx, &set));
    set_paranoid(&before)?;
    let [without, with] = reports;
    let without = without?;
    equal("without CAP_SYS_ADMIN", text(&without, "/tracing"), "partly")?;
    for hook in without["hooks"]["hooks"].as_array().context("no hooks")? {
        let refused = hook["refused"].to_string();
        ensure(&format!("{hook} lacks only kprobes"), hook["attached"].is_string() || refused.contains("probe "))?;
    }
    equal("with it", text(&with?, "/tracing"), "full")
}

/// The capability lines in the status of a process.
fn capability_lines(status: &str) -> Vec<String> {
    status.lines().filter(|line| line.starts_with("Cap")).map(str::to_owned).collect()
}

/// After attaching, the tracer keeps only CAP_SYSLOG, and still sees events.
fn drops_capabilities(ctx: &mut Ctx) -> Result<()> {
    let tracer = ctx.watch(&[])?;
    let path = format!("/proc/{}/status", tracer.pid());
    let kept: u64 = 1 << SYSLOG;
    let wanted = [("CapInh", 0), ("CapPrm", kept), ("CapEff", kept)].map(|(set, bits)| format!("{set}:\t{bits:016x}"));
    // It prints that it is armed just before it drops capabilities.
    let limit = Instant::now() + Duration::from_secs(10);
    loop {
        let lines = capability_lines(&fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?);
        if wanted.iter().all(|line| lines.contains(line)) {
            break;
        }
        ensure(&format!("it keeps only {wanted:?}, found {lines:?}"), Instant::now() < limit)?;
        thread::sleep(Duration::from_millis(50));
    }
    ctx.act(Actor::socket(38, 5, 0).as_user(ALICE))?;
    let capture = tracer.stop()?;
    capture.expect_complete()?;
    let request = capture.request_for("net-pf-38")?;
    equal("modules", capture.modules_of(request), vec!["af_alg".to_owned()])
}

/// The traced command has the same capabilities as without tracing.
fn command_keeps_capabilities(ctx: &mut Ctx) -> Result<()> {
    let usual = ctx.run(&["cat", "/proc/self/status"])?.ok()?;
    let traced = ctx.run(&["kmodtrace", "run", "--", "cat", "/proc/self/status"])?.ok()?;
    equal("capabilities", capability_lines(&traced.stdout), capability_lines(&usual.stdout))
}
