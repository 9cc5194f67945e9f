//! One turn of one tracer: the same workload for each tracer, and its cost.

use std::os::unix::process::CommandExt as _;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::tracer::{Tracer, command, output, seen};
use super::{requests, unrelated};
use crate::protocol::{GUEST_PATH, Plan, TracerKind};

/// How long requests are made while a tracer starts.
const START: Duration = Duration::from_secs(8);

/// Time after the last request for the tracer to read all records and to become idle.
const SETTLE: Duration = Duration::from_secs(10);

const TIMED_REQUESTS: u32 = 200;
const TIMED_LOADS: u32 = 15;

/// A module without dependencies and hardware.
const MODULE: &str = "crc-itu-t";

/// An unprivileged user.
const ALICE: u32 = 1000;

/// Figures by name.
type Figures = Vec<(String, f64)>;

/// The requests of one phase: the letter in their names, the name of the phase, and their number.
struct Phase {
    letter: char,
    name: &'static str,
    count: u32,
}

/// Runs one turn. The long phases are run in the first round only.
pub(super) fn run(kind: TracerKind, plan: &Plan, with_long_phases: bool) -> Result<Figures> {
    if matches!(kind, TracerKind::Nothing | TracerKind::NothingAgain) {
        return cost();
    }
    let mut figures = Figures::new();
    let mut add = |name: &str, value: f64| figures.push((name.to_owned(), value));
    let began = Instant::now();
    let tracer = Tracer::start(kind)?;
    let begun = request_while_starting(began)?;
    if let Some(kib) = tracer.resident_kib()? {
        add("resident_armed_kib", kib);
    }
    if with_long_phases && tracer.cpu_ms()?.is_some() {
        // No more requests are made, but earlier ones may still be in progress.
        thread::sleep(SETTLE);
        let before = tracer.cpu_ms()?.context("the tracer has exited")?;
        thread::sleep(Duration::from_secs(plan.idle_s));
        let taken = tracer.cpu_ms()?.context("the tracer has exited")? - before;
        add("idle_cpu_ms_per_s", taken / Duration::from_secs(plan.idle_s.max(1)).as_secs_f64());
    }
    for (figure, value) in cost()? {
        add(&figure, value);
    }
    let mut phases = vec![Phase { letter: 'c', name: "one_by_one", count: TIMED_REQUESTS }];
    phases.push(Phase { letter: 's', name: "storm_62", count: ask('s', 62, 62 * 8, 600)? });
    if with_long_phases {
        phases.push(Phase { letter: 'm', name: "storm_long", count: ask('m', 8, 80_000, plan.storm_s)? });
    }
    let stopped = tracer.stopped(|| ask('z', 8, 80_000, plan.stopped_s))?;
    phases.push(Phase { letter: 'z', name: "stopped", count: stopped });
    thread::sleep(SETTLE);
    if let Some(kib) = tracer.resident_kib()? {
        add("resident_after_kib", kib);
    }
    let lines = tracer.end()?;
    let first = seen(&lines, 'a').first().copied().context("the tracer saw no request while it started")?;
    let armed = usize::try_from(first)
        .ok()
        .and_then(|first| begun.get(first))
        .context("the tracer reported a request that was not made")?;
    add("armed_ms", armed.as_secs_f64() * 1e3);
    let missed = begun.len() - usize::try_from(first).context("the number does not fit")? - seen(&lines, 'a').len();
    phases.push(Phase { letter: 'a', name: "after_arming", count: 0 });
    for Phase { letter, name, count } in phases {
        let lost = match letter {
            'a' => u32::try_from(missed).context("the number does not fit")?,
            _ => count
                .checked_sub(u32::try_from(seen(&lines, letter).len())?)
                .context("the tracer reported more requests than were made")?,
        };
        if count > 0 {
            add(&format!("asked_{name}"), f64::from(count));
        }
        add(&format!("lost_{name}"), f64::from(lost));
    }
    Ok(figures)
}

/// The cost of the workload, with or without a tracer.
fn cost() -> Result<Figures> {
    let mut figures = vec![
        ("request_us".to_owned(), timed(TIMED_REQUESTS, |n| requests::once('c', n))?),
        ("load_us".to_owned(), timed(TIMED_LOADS, |_| load())?),
    ];
    figures.extend(unrelated::rates()?);
    Ok(figures)
}

/// Makes requests without a pause, and returns the start time of each.
fn request_while_starting(began: Instant) -> Result<Vec<Duration>> {
    let mut begun = Vec::new();
    while began.elapsed() < START {
        begun.push(began.elapsed());
        requests::once('a', u32::try_from(begun.len() - 1).context("too many requests")?)?;
    }
    Ok(begun)
}

/// The median duration in microseconds.
fn timed(count: u32, mut one: impl FnMut(u32) -> Result<()>) -> Result<f64> {
    let mut times = Vec::new();
    for n in 0..count {
        let began = Instant::now();
        one(n)?;
        times.push(began.elapsed());
    }
    times.sort();
    let median = times.get(times.len() / 2).context("nothing was timed")?;
    Ok(median.as_secs_f64() * 1e6)
}

/// Loads a module and removes it.
fn load() -> Result<()> {
    output(&["modprobe", MODULE]).and_then(|_| output(&["rmmod", MODULE])).map(drop)
}

/// Makes requests as an unprivileged user, and returns their number.
fn ask(letter: char, threads: u32, count: u32, seconds: u64) -> Result<u32> {
    let numbers = [threads.to_string(), count.to_string(), seconds.to_string()];
    let letter = letter.to_string();
    let argv = [GUEST_PATH, "ask", &letter, &numbers[0], &numbers[1], &numbers[2]];
    let output = command(&argv).uid(ALICE).gid(ALICE).output().context("cannot start the requester")?;
    if !output.status.success() {
        bail!("kind asks ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim().parse().with_context(|| format!("kind asks says {text:?}"))
}
