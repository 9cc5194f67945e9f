//! What the programs cost on this very machine, beside a program started and ended, which every request costs at least:
//! `cargo bench -p kmodtrace --bench programs`, as root. One JSON object a figure: nanoseconds, a number for each batch.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "figures are what it is for")]

use std::{
    process::{Command, ExitCode},
    time::Instant,
};

use anyhow::{Context as _, Result};
use kmodtrace::probe;
use serde_json::json;

const BATCHES: u32 = 9;
const RUNS: u32 = 2000;
const STARTS: u32 = 100;

fn main() -> ExitCode {
    match measure() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("Error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure() -> Result<()> {
    let mut starts = Vec::new();
    let mut programs: Vec<probe::Rehearsal> = Vec::new();
    for _ in 0..BATCHES {
        // In turn, so that what else the machine does hits both.
        for one in probe::rehearse(1, RUNS).context("the programs cannot be run here")? {
            match programs.iter_mut().find(|known| known.program == one.program) {
                Some(known) => known.ns_per_run.extend(one.ns_per_run),
                None => programs.push(one),
            }
        }
        let began = Instant::now();
        for _ in 0..STARTS {
            Command::new("/bin/true").status().context("cannot start /bin/true")?;
        }
        starts.push(began.elapsed().as_secs_f64() * 1e9 / f64::from(STARTS));
    }
    println!("{}", json!({ "what": "/bin/true", "ns": starts }));
    for one in programs {
        println!("{}", json!({ "what": one.program, "ns": one.ns_per_run }));
    }
    Ok(())
}
