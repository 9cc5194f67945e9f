//! One turn of one tracer: the same work for everyone, and what it cost.

use std::os::unix::process::CommandExt as _;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::tracer::{Tracer, command, output, seen};
use super::{asking, elsewhere};
use crate::protocol::{GUEST_PATH, Plan, Who};

/// Requests are made this long while a tracer starts.
const START: Duration = Duration::from_secs(8);

/// After the last request: what was seen reaches the tracer, and it comes to rest.
const SETTLE: Duration = Duration::from_secs(10);

const TIMED_REQUESTS: u32 = 200;
const TIMED_LOADS: u32 = 15;

/// A module without parts or hardware.
const MODULE: &str = "crc-itu-t";

/// A user without rights.
const ALICE: u32 = 1000;

/// Figures by name.
type Figures = Vec<(String, f64)>;

/// Requests of one phase: the letter of their names, how the phase is called, and how many were made.
struct Asked {
    letter: char,
    phase: &'static str,
    count: u32,
}

/// Runs one. The long phases are those that need no repetition.
pub(super) fn run(who: Who, plan: &Plan, with_long_phases: bool) -> Result<Figures> {
    if matches!(who, Who::Nothing | Who::NothingAgain) {
        return cost();
    }
    let mut figures = Figures::new();
    let mut add = |name: &str, value: f64| figures.push((name.to_owned(), value));
    let began = Instant::now();
    let tracer = Tracer::start(who)?;
    let begun = while_it_starts(began)?;
    if let Some(kib) = tracer.resident_kib()? {
        add("resident_armed_kib", kib);
    }
    if with_long_phases && tracer.cpu_ms()?.is_some() {
        // Nothing is asked for from here on, but what was asked for is still being dealt with.
        thread::sleep(SETTLE);
        let before = tracer.cpu_ms()?.context("it has gone")?;
        thread::sleep(Duration::from_secs(plan.idle_s));
        let taken = tracer.cpu_ms()?.context("it has gone")? - before;
        add("idle_cpu_ms_per_s", taken / Duration::from_secs(plan.idle_s.max(1)).as_secs_f64());
    }
    for (figure, value) in cost()? {
        add(&figure, value);
    }
    let mut asked = vec![Asked { letter: 'c', phase: "one_by_one", count: TIMED_REQUESTS }];
    asked.push(Asked { letter: 's', phase: "storm_62", count: ask('s', 62, 62 * 8, 600)? });
    if with_long_phases {
        asked.push(Asked { letter: 'm', phase: "storm_long", count: ask('m', 8, 80_000, plan.storm_s)? });
    }
    let stopped = tracer.stopped(|| ask('z', 8, 80_000, plan.stopped_s))?;
    asked.push(Asked { letter: 'z', phase: "stopped", count: stopped });
    thread::sleep(SETTLE);
    if let Some(kib) = tracer.resident_kib()? {
        add("resident_after_kib", kib);
    }
    let lines = tracer.end()?;
    let first = seen(&lines, 'a').first().copied().context("it never saw a request while it started")?;
    let armed = usize::try_from(first).ok().and_then(|first| begun.get(first)).context("a request nobody made")?;
    add("armed_ms", armed.as_secs_f64() * 1e3);
    let missed = begun.len() - usize::try_from(first).context("odd number")? - seen(&lines, 'a').len();
    asked.push(Asked { letter: 'a', phase: "after_arming", count: 0 });
    for Asked { letter, phase, count } in asked {
        let lost = match letter {
            'a' => u32::try_from(missed).context("odd number")?,
            _ => count.checked_sub(u32::try_from(seen(&lines, letter).len())?).context("it saw more than was asked")?,
        };
        if count > 0 {
            add(&format!("asked_{phase}"), f64::from(count));
        }
        add(&format!("lost_{phase}"), f64::from(lost));
    }
    Ok(figures)
}

/// What the same work takes with any tracer, or with none.
fn cost() -> Result<Figures> {
    let mut figures = vec![
        ("request_us".to_owned(), timed(TIMED_REQUESTS, |n| asking::once('c', n))?),
        ("load_us".to_owned(), timed(TIMED_LOADS, |_| load())?),
    ];
    figures.extend(elsewhere::rates()?);
    Ok(figures)
}

/// Asks all the time; when each request began.
fn while_it_starts(began: Instant) -> Result<Vec<Duration>> {
    let mut begun = Vec::new();
    while began.elapsed() < START {
        begun.push(began.elapsed());
        asking::once('a', u32::try_from(begun.len() - 1).context("too many requests")?)?;
    }
    Ok(begun)
}

/// The median time that one takes, microseconds.
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

/// Has a user without rights ask; how often it did.
fn ask(letter: char, threads: u32, count: u32, seconds: u64) -> Result<u32> {
    let numbers = [threads.to_string(), count.to_string(), seconds.to_string()];
    let letter = letter.to_string();
    let argv = [GUEST_PATH, "ask", &letter, &numbers[0], &numbers[1], &numbers[2]];
    let output = command(&argv).uid(ALICE).gid(ALICE).output().context("cannot start who asks")?;
    if !output.status.success() {
        bail!("who asks ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim().parse().with_context(|| format!("who asks says {text:?}"))
}
