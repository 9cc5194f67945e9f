//! What the programs cost on this very machine, beside a program started and ended, which every request costs at least:
//! `cargo bench -p kmodtrace --bench programs`, as root. One JSON object a figure: nanoseconds, a number for each batch.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "figures are what it is for")]

use std::{
    io,
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
            // This kernel's doing is no fault of the bench: `cargo xtask bench` tells the two apart.
            let kind = if error.is::<probe::ProbeError>() { "Not possible here" } else { "Error" };
            eprintln!("{kind}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure() -> Result<()> {
    let mut starts = Vec::new();
    // In turn, so that what else the machine does hits both.
    let programs = probe::measure_programs(BATCHES, RUNS, || starts.push(start_many()))?;
    let starts = starts.into_iter().collect::<io::Result<Vec<_>>>().context("cannot start /bin/true")?;
    println!("{}", json!({ "what": "/bin/true", "ns": starts }));
    for one in programs {
        let what = format!("{}{}", one.program, if one.wakes { ", waking the reader" } else { "" });
        println!("{}", json!({ "what": what, "ns": one.ns_per_run }));
    }
    Ok(())
}

/// Nanoseconds that a program takes that does nothing.
fn start_many() -> io::Result<f64> {
    let began = Instant::now();
    for _ in 0..STARTS {
        Command::new("/bin/true").status()?;
    }
    Ok(began.elapsed().as_secs_f64() * 1e9 / f64::from(STARTS))
}
