//! Attaches and detaches repeatedly during a storm of requests: the kernel is not harmed, and every trace is complete.

use std::time::{Duration, Instant};
use std::{env, fs, thread};

use anyhow::{Context as _, Result, bail};

use super::oracle_check::text;
use super::{Need, Scenario};
use crate::ctx::{Actor, Ctx, ensure, equal};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "attach-makes-no-program-array", fresh_boot: false, needs: &[Need::Kmodtrace], run: maps },
    Scenario { name: "attach-detach-storm", fresh_boot: true, needs: PANICKY, run: storm },
];

/// A guest that panics on warnings and oopses, which are only log messages otherwise.
const PANICKY: &[Need] = &[
    Need::Kmodtrace,
    Need::Program("busybox"),
    Need::KernelArgument("oops=panic"),
    Need::KernelArgument("panic_on_warn=1"),
];

/// The variable with the number of rounds.
const ROUNDS_ENV: &str = "KMODTRACE_ROUNDS";

/// The duration without this variable.
const TIME: Duration = Duration::from_secs(60);

/// The values of --attach, in turn.
const METHODS: [&str; 3] = ["auto", "kprobe", TRAMPOLINE];
const TRAMPOLINE: &str = "trampoline";

/// Requests without a module, so that probes fire while they are attached and detached. The requester has the lowest priority,
/// so that rounds make progress on a slow machine. It prints a character for each request.
const STORM: &[&str] = &[
    "busybox",
    "sh",
    "-c",
    "renice -n 19 -p $$ >/dev/null || exit; while :; do mount -t stormy none /mnt 2>/dev/null; echo -n .; done",
];

/// Time limit for the first request of the storm.
const STORM_BEGIN_LIMIT: Duration = Duration::from_secs(60);

/// `BPF_MAP_TYPE_PROG_ARRAY`, include/uapi/linux/bpf.h.
const PROGRAM_ARRAY: u32 = 3;

fn storm(ctx: &mut Ctx) -> Result<()> {
    let wanted = match env::var(ROUNDS_ENV) {
        Ok(number) => Some(
            number.parse::<usize>().with_context(|| format!("invalid {ROUNDS_ENV} {number:?}: expected a number"))?,
        ),
        Err(_) => None,
    };
    let mut storm = ctx.background(STORM)?;
    let limit = Instant::now() + STORM_BEGIN_LIMIT;
    while storm.output()?.is_empty() {
        ensure("the storm has started", Instant::now() < limit)?;
        thread::sleep(Duration::from_millis(20));
    }
    let until = Instant::now() + TIME;
    let mut done = 0;
    // Each method is used at least once, even on a slow machine.
    while wanted.map_or(done < METHODS.len() || Instant::now() < until, |wanted| done < wanted) {
        let method = METHODS[done % METHODS.len()];
        round(ctx, method, done).with_context(|| format!("round {done}, --attach {method}"))?;
        done += 1;
    }
    // output() fails if the storm has ended by itself.
    println!("{done} rounds, {} requests of the storm", storm.output()?.len());
    Ok(())
}

/// Attaches, traces a load and a request for an alias of this round, and detaches: by SIGINT or by SIGKILL.
fn round(ctx: &mut Ctx, method: &str, number: usize) -> Result<()> {
    let fs = format!("round{number}x");
    let alias = format!("fs-{fs}");
    let tracer = ctx.watch(&["--attach", method, "--alias", &alias])?;
    // With a trampoline in the stack, all symbols are read again after each load, which takes minutes during a storm.
    if method != TRAMPOLINE {
        ctx.run(&["modprobe", "dummy"])?.ok()?;
        ctx.unload(&["dummy"])?;
    }
    ctx.act(Actor::mount(&fs))?;
    if number % 2 == 1 {
        tracer.kill()?;
        return Ok(());
    }
    let capture = tracer.stop()?;
    equal("exit code", capture.code, 0)?;
    // The kernel does not run a trampoline's program while the same program is preempted on that processor: under a storm, a
    // recent kernel can skip any record. Then the skipped run must be counted.
    let was_skipped = capture.of_type("loss").any(|loss| text(loss, "/stage") == "missed");
    if method == TRAMPOLINE && was_skipped && capture.requests_for(&alias).is_empty() {
        return Ok(());
    }
    equal("requester", text(capture.request_for(&alias)?, "/process/comm"), "requester".to_owned())
}

/// There is no program array, because updates of program arrays have panicked kernels.
fn maps(ctx: &mut Ctx) -> Result<()> {
    let tracer = ctx.watch(&[])?;
    let directory = format!("/proc/{}/fdinfo", tracer.pid());
    let mut kinds = Vec::new();
    for entry in fs::read_dir(&directory).with_context(|| format!("cannot list {directory}"))? {
        let path = entry.with_context(|| format!("cannot list {directory}"))?.path();
        // The descriptor may have been closed since the directory was listed.
        let Ok(about) = fs::read_to_string(&path) else { continue };
        let kind = about.lines().find_map(|line| line.strip_prefix("map_type:"));
        if let Some(kind) = kind {
            kinds.push(kind.trim().parse::<u32>().with_context(|| format!("{}: {about}", path.display()))?);
        }
    }
    ensure(&format!("its descriptors include maps: {kinds:?}"), !kinds.is_empty())?;
    if kinds.contains(&PROGRAM_ARRAY) {
        bail!("it has a program array; types of its maps: {kinds:?}");
    }
    tracer.stop()?.expect_complete()
}
