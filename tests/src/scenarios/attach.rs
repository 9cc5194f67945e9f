//! Attached and detached over and over, while the kernel is busy with requests: it takes no harm, and each time all is seen.

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

/// What is only a line in the log elsewhere ends the guest.
const PANICKY: &[Need] = &[
    Need::Kmodtrace,
    Need::Program("busybox"),
    Need::KernelArgument("oops=panic"),
    Need::KernelArgument("panic_on_warn=1"),
];

/// How many rounds, where somebody asks for a number of them.
const ROUNDS_ENV: &str = "KMODTRACE_ROUNDS";

/// How long it goes on otherwise.
const TIME: Duration = Duration::from_secs(60);

/// How the probes are attached, turn by turn.
const WAYS: [&str; 3] = ["auto", "kprobe", TRAMPOLINE];
const TRAMPOLINE: &str = "trampoline";

/// Requests that no module can serve, so that probes fire while they are attached and detached. The requester has the lowest
/// priority, so that a slow machine gets on with the rounds. It prints a character for each request.
const STORM: &[&str] = &[
    "busybox",
    "sh",
    "-c",
    "renice -n 19 -p $$ >/dev/null || exit; while :; do mount -t stormy none /mnt 2>/dev/null; echo -n .; done",
];

/// The storm must make its first request within this time.
const STORM_BEGIN_LIMIT: Duration = Duration::from_secs(60);

/// `BPF_MAP_TYPE_PROG_ARRAY`, include/uapi/linux/bpf.h.
const PROGRAM_ARRAY: u32 = 3;

fn storm(ctx: &mut Ctx) -> Result<()> {
    let wanted = match env::var(ROUNDS_ENV) {
        Ok(number) => Some(number.parse::<usize>().with_context(|| format!("{ROUNDS_ENV}={number} is no number"))?),
        Err(_) => None,
    };
    let mut busy = ctx.background(STORM)?;
    let limit = Instant::now() + STORM_BEGIN_LIMIT;
    while busy.output()?.is_empty() {
        ensure("the storm begins", Instant::now() < limit)?;
        thread::sleep(Duration::from_millis(20));
    }
    let until = Instant::now() + TIME;
    let mut done = 0;
    // Each way comes once at least, however slow the machine.
    while wanted.map_or(done < WAYS.len() || Instant::now() < until, |wanted| done < wanted) {
        let way = WAYS[done % WAYS.len()];
        round(ctx, way, done).with_context(|| format!("round {done}, --attach {way}"))?;
        done += 1;
    }
    // An error if the storm has ended by itself.
    println!("{done} rounds, {} requests of the storm", busy.output()?.len());
    Ok(())
}

/// Attaches, sees a module and one request that is this round's alone, and detaches: as it is asked to, or because it is killed.
fn round(ctx: &mut Ctx, way: &str, number: usize) -> Result<()> {
    let fs = format!("round{number}x");
    let alias = format!("fs-{fs}");
    let tracer = ctx.watch(&["--attach", way, "--alias", &alias])?;
    // A stack that holds a trampoline has all symbols read anew after each module: minutes, on a busy machine beside a storm.
    if way != TRAMPOLINE {
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
    equal("who asked", text(capture.request_for(&alias)?, "/process/comm"), "requester".to_owned())
}

/// Updates of a program array have panicked kernels, so there is none.
fn maps(ctx: &mut Ctx) -> Result<()> {
    let tracer = ctx.watch(&[])?;
    let directory = format!("/proc/{}/fdinfo", tracer.pid());
    let mut kinds = Vec::new();
    for entry in fs::read_dir(&directory).with_context(|| format!("cannot list {directory}"))? {
        let path = entry.with_context(|| format!("cannot list {directory}"))?.path();
        // A descriptor that is closed meanwhile is no map.
        let Ok(about) = fs::read_to_string(&path) else { continue };
        let kind = about.lines().find_map(|line| line.strip_prefix("map_type:"));
        if let Some(kind) = kind {
            kinds.push(kind.trim().parse::<u32>().with_context(|| format!("{}: {about}", path.display()))?);
        }
    }
    ensure(&format!("maps are seen among its descriptors: {kinds:?}"), !kinds.is_empty())?;
    if kinds.contains(&PROGRAM_ARRAY) {
        bail!("it has a program array: maps of the types {kinds:?}");
    }
    tracer.stop()?.expect_complete()
}
