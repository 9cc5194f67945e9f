//! The run time of our BPF programs, from the kernel's statistics.

use std::collections::BTreeMap;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use aya::programs::loaded_programs;

use super::requests;
use super::tracer::Tracer;
use crate::protocol::TracerKind;

/// Documentation/admin-guide/sysctl/kernel.rst; read through `BPF_OBJ_GET_INFO_BY_FD`.
const STATISTICS: &str = "/proc/sys/kernel/bpf_stats_enabled";

/// By then the recorder is armed and has drained the ring.
const WAIT: Duration = Duration::from_secs(5);

const REQUESTS: u32 = 300;

/// For each program: runs per request, nanoseconds per run and per request. Also the duration of a request.
pub(super) fn run() -> Result<Vec<(String, f64)>> {
    eprintln!("run time of the programs");
    fs::write(STATISTICS, "1").context("cannot enable the statistics")?;
    let tracer = Tracer::start(TracerKind::Record)?;
    thread::sleep(WAIT);
    let before = snapshot()?;
    let began = Instant::now();
    for n in 0..REQUESTS {
        requests::once('p', n)?;
    }
    let request_ns = began.elapsed().as_secs_f64() * 1e9 / f64::from(REQUESTS);
    let after = snapshot()?;
    tracer.end()?;
    fs::write(STATISTICS, "0").context("cannot disable the statistics")?;
    let mut figures = vec![("with_statistics_request_ns".to_owned(), request_ns)];
    for (name, (runs, time)) in after {
        let (runs_before, time_before) = before.get(&name).copied().unwrap_or_default();
        let runs = f64::from(u32::try_from(runs - runs_before).context("too many runs")?);
        let time = (time - time_before).as_secs_f64() * 1e9;
        if runs > 0.0 {
            figures.push((format!("program {name} runs_per_request"), runs / f64::from(REQUESTS)));
            figures.push((format!("program {name} ns_per_run"), time / runs));
            figures.push((format!("program {name} ns_per_request"), time / f64::from(REQUESTS)));
        }
    }
    Ok(figures)
}

/// Runs and run time by program, since the statistics were enabled.
fn snapshot() -> Result<BTreeMap<String, (u64, Duration)>> {
    let mut found: BTreeMap<String, (u64, Duration)> = BTreeMap::new();
    for program in loaded_programs() {
        let program = program.context("cannot list programs")?;
        let name = program.name_as_str().context("a program without name")?.to_owned();
        let entry = found.entry(name).or_default();
        entry.0 += program.run_count();
        entry.1 += program.run_time();
    }
    Ok(found)
}
