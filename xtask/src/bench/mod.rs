//! `cargo xtask bench`: the cost of the tool compared with alternatives, measured in one run.

mod boot;
mod goals;
mod guest;
mod measure;
mod offline;
mod page;
mod programs;
mod readme;
mod stats;

use std::fs;
use std::process::ExitCode;
use std::thread;

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};
use kmodtrace_tests::protocol::Plan;
use serde::{Deserialize, Serialize};

use crate::setup;

/// Options of the bench.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// Use smaller captures, shorter storms and one round in the guest; takes less than ten minutes.
    #[arg(long)]
    quick: bool,
    /// Number of rounds; 0 selects the default.
    #[arg(long, value_name = "N", default_value_t = 0)]
    rounds: u32,
    /// Measure only this part.
    #[arg(long, value_enum)]
    only: Option<Part>,
    /// Write docs/performance.md, docs/performance.json and the table of the README; with --only, keep the other parts.
    #[arg(long, conflicts_with = "quick")]
    write: bool,
}

/// A part of the bench.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Tracers in a guest.
    Tracing,
    /// BPF programs, run by this machine's own kernel.
    Programs,
    /// Reading of captures.
    Captures,
    /// Boots with and without the recorder.
    Boot,
}

/// All figures.
#[derive(Debug, Serialize, Deserialize)]
struct Found {
    machine: String,
    tracing: Option<guest::Online>,
    programs: Option<programs::Native>,
    captures: Option<offline::Offline>,
    boot: Option<boot::Boot>,
}

/// The figures of the last bench.
const STORED: &str = "docs/performance.json";

const FULL: ([u64; 2], Plan) = ([1_000_000, 10_000_000], Plan { rounds: 3, idle_s: 60, storm_s: 60, stopped_s: 10 });
const QUICK: ([u64; 2], Plan) = ([100_000, 1_000_000], Plan { rounds: 1, idle_s: 5, storm_s: 5, stopped_s: 3 });

/// Measures and prints the page.
pub(crate) fn verb(options: &Options) -> Result<ExitCode> {
    let (sizes, mut plan) = if options.quick { QUICK } else { FULL };
    if options.rounds > 0 {
        plan.rounds = options.rounds;
    }
    if plan.rounds % 2 == 0 && options.write {
        bail!("invalid --rounds {}: expected an odd number, so that the median is a measured value", plan.rounds);
    }
    let boots = plan.rounds;
    let rounds = usize::try_from(boots).context("too many rounds")?;
    let is_wanted = |part| options.only.is_none_or(|only| only == part);
    let mut found = Found {
        machine: machine(),
        tracing: is_wanted(Part::Tracing).then(|| guest::run(plan)).transpose()?,
        programs: is_wanted(Part::Programs).then(programs::run).transpose()?,
        captures: is_wanted(Part::Captures).then(|| offline::run(&sizes, rounds)).transpose()?,
        boot: is_wanted(Part::Boot).then(|| boot::run(boots)).transpose()?,
    };
    println!("\n{}", page::markdown(&found));
    if options.write {
        if let Some(old) = stored()? {
            found.tracing = found.tracing.or(old.tracing);
            found.programs = found.programs.or(old.programs);
            found.captures = found.captures.or(old.captures);
            found.boot = found.boot.or(old.boot);
        }
        write(&found)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The stored figures, if there are any.
fn stored() -> Result<Option<Found>> {
    let path = setup::workspace().join(STORED);
    if !path.exists() {
        return Ok(None);
    }
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {STORED}"))?;
    serde_json::from_str(&text).map(Some).with_context(|| format!("cannot parse {STORED}"))
}

/// Writes the pages again from the stored figures, for example after a change of their text.
pub(crate) fn rewrite_pages() -> Result<()> {
    stored()?.map_or(Ok(()), |found| write(&found))
}

/// Writes the figures and the pages that contain them.
fn write(found: &Found) -> Result<()> {
    let json = serde_json::to_string_pretty(found).context("cannot serialize the figures")?;
    let mut files = vec![("docs/performance.md", page::markdown(found)), (STORED, json + "\n")];
    if found.tracing.is_some() && found.captures.is_some() {
        let readme = fs::read_to_string(setup::workspace().join("README.md")).context("cannot read README.md")?;
        files.push(("README.md", readme::with_table(&readme, found)?));
    }
    for (name, text) in files {
        fs::write(setup::workspace().join(name), text).with_context(|| format!("cannot write {name}"))?;
    }
    Ok(())
}

/// Processor model and number of cores.
fn machine() -> String {
    let cores = thread::available_parallelism().map_or(0, usize::from);
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    format!("{} cores of {}", cores, model.map_or("an unknown processor", |(_, model)| model.trim()))
}
