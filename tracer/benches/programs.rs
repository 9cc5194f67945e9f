//! Measures the cost of the BPF programs on this machine, compared with starting a process, which every request does:
//! `cargo bench -p kmodtrace --bench programs`, as root. Prints one JSON object per figure: nanoseconds, one number per batch.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the bench prints figures")]

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
            // `cargo xtask bench` distinguishes an unsuitable kernel from a failed bench.
            let kind = if error.is::<probe::ProbeError>() { "Not possible here" } else { "Error" };
            eprintln!("{kind}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure() -> Result<()> {
    let mut starts = Vec::new();
    // Alternating, so that other load on the machine affects both.
    let programs = probe::measure_programs(BATCHES, RUNS, || starts.push(start_many()))?;
    let starts = starts.into_iter().collect::<io::Result<Vec<_>>>().context("cannot start /bin/true")?;
    println!("{}", json!({ "what": "/bin/true", "ns": starts }));
    for one in programs {
        let what = format!("{}{}", one.program, if one.wakes { ", waking the reader" } else { "" });
        println!("{}", json!({ "what": what, "ns": one.ns_per_run }));
    }
    Ok(())
}

/// Time to run a program that does nothing, nanoseconds.
fn start_many() -> io::Result<f64> {
    let began = Instant::now();
    for _ in 0..STARTS {
        Command::new("/bin/true").status()?;
    }
    Ok(began.elapsed().as_secs_f64() * 1e9 / f64::from(STARTS))
}
