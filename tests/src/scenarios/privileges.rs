//! The least privileges: measured by giving a copy of the program some capabilities and nothing else.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::fs::{Mode, XattrFlags, chmod, setxattr};
use serde_json::Value;

use super::agreement::text;
use super::{Need, Scenario};
use crate::ctx::{Act, Ctx, contains, equal, that};
use crate::protocol::KMODTRACE_PATH;

const NEEDS: &[Need] = &[Need::Kmodtrace];

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "privileges-least-capabilities", fresh_boot: true, needs: NEEDS, run: least },
    Scenario { name: "privileges-paranoid-perf-events", fresh_boot: false, needs: NEEDS, run: paranoid },
    Scenario { name: "privileges-are-given-up", fresh_boot: false, needs: NEEDS, run: gives_up },
    Scenario { name: "privileges-of-the-command-stay", fresh_boot: false, needs: NEEDS, run: command_untouched },
];

/// The user whom nobody gave anything.
const ALICE: u32 = 1000;

const PARANOID: &str = "/proc/sys/kernel/perf_event_paranoid";

const SYS_ADMIN: u32 = 21;
const SYS_RESOURCE: u32 = 24;
const SYSLOG: u32 = 34;
const PERFMON: u32 = 38;
const BPF: u32 = 39;

/// A file system that knows file capabilities.
const COPY: &str = "/run/kmodtrace";

/// What `setcap` would write: the capabilities, permitted and effective.
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

/// A copy of the program that alice may run with these capabilities.
fn copy(ctx: &mut Ctx) -> Result<()> {
    ctx.write_file(Path::new(COPY), "")?;
    fs::copy(KMODTRACE_PATH, COPY).with_context(|| format!("cannot copy to {COPY}"))?;
    chmod(COPY, Mode::from_raw_mode(0o755)).context("cannot make it executable")
}

/// Sets `kernel.perf_event_paranoid` and gives what it was.
fn set_paranoid(value: &str) -> Result<String> {
    let before = fs::read_to_string(PARANOID).with_context(|| format!("cannot read {PARANOID}"))?;
    fs::write(PARANOID, value).with_context(|| format!("cannot write {PARANOID}"))?;
    Ok(before)
}

/// The least set sees everything, each of its members is needed for that, and a user who has no other traces with it.
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
    // Before 5.11 BPF memory counts against RLIMIT_MEMLOCK.
    set.extend(release.starts_with("5.10.").then_some(SYS_RESOURCE));
    equal("with all of them", text(&doctor(ctx, &set)?, "/tracing"), "full")?;
    for without in &set {
        let rest: Vec<u32> = set.iter().copied().filter(|capability| capability != without).collect();
        let verdict = text(&doctor(ctx, &rest)?, "/tracing");
        equal(&format!("without {without}"), verdict, if *without == SYSLOG { "partly" } else { "no" })?;
    }
    set_capabilities(COPY, &set)?;
    let output = ctx.run_as(ALICE, &[COPY, "run", "--", "ss", "-tln"])?.ok()?;
    contains("what alice sees", &output.stderr, "asked    the kernel for \"net-pf-16-proto-4-type-2")?;
    contains("what alice sees", &output.stderr, "nothing was lost")
}

/// As Debian sets it, `kernel.perf_event_paranoid` leaves kprobes to CAP_SYS_ADMIN, and nothing else.
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
        that(&format!("{hook} misses kprobes alone"), hook["attached"].is_string() || refused.contains("probe "))?;
    }
    equal("with it", text(&with?, "/tracing"), "full")
}

/// Lines about capabilities of a process.
fn capability_lines(status: &str) -> Vec<String> {
    status.lines().filter(|line| line.starts_with("Cap")).map(str::to_owned).collect()
}

/// Once it is attached it keeps what reading needs, and nothing else; it goes on seeing.
fn gives_up(ctx: &mut Ctx) -> Result<()> {
    let tracer = ctx.watch(&[])?;
    let path = format!("/proc/{}/status", tracer.pid());
    let kept: u64 = 1 << SYSLOG;
    let wanted = [("CapInh", 0), ("CapPrm", kept), ("CapEff", kept)].map(|(set, bits)| format!("{set}:\t{bits:016x}"));
    // It says that it is armed right before it gives up.
    let limit = Instant::now() + Duration::from_secs(10);
    loop {
        let lines = capability_lines(&fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?);
        if wanted.iter().all(|line| lines.contains(line)) {
            break;
        }
        that(&format!("it keeps {wanted:?} alone, found {lines:?}"), Instant::now() < limit)?;
        thread::sleep(Duration::from_millis(50));
    }
    ctx.act(Act::socket(38, 5, 0).as_user(ALICE))?;
    let capture = tracer.stop()?;
    capture.expect_whole()?;
    let request = capture.request_for("net-pf-38")?;
    equal("modules", capture.modules_of(request), vec!["af_alg".to_owned()])
}

/// The traced command has every capability that it would have had.
fn command_untouched(ctx: &mut Ctx) -> Result<()> {
    let usual = ctx.run(&["cat", "/proc/self/status"])?.ok()?;
    let traced = ctx.run(&["kmodtrace", "run", "--", "cat", "/proc/self/status"])?.ok()?;
    equal("capabilities", capability_lines(&traced.stdout), capability_lines(&usual.stdout))
}
