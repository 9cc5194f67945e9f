//! Work that is unrelated to modules: processes and files. Tracing should not slow it down.

use std::fs::File;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use super::tracer::command;

/// A program that exits immediately.
pub(super) const TRUE: &str = "/usr/bin/true";

const FORKS: u32 = 150;
const OPENS: u32 = 20_000;

/// Programs started and ended, and files opened, per second.
pub(super) fn rates() -> Result<[(String, f64); 2]> {
    let began = Instant::now();
    for _ in 0..FORKS {
        if !command(&[TRUE]).status().with_context(|| format!("cannot run {TRUE}"))?.success() {
            bail!("{TRUE} failed");
        }
    }
    let forks = f64::from(FORKS) / began.elapsed().as_secs_f64();
    let began = Instant::now();
    for _ in 0..OPENS {
        File::open("/etc/passwd").context("cannot open a file")?;
    }
    let opens = f64::from(OPENS) / began.elapsed().as_secs_f64();
    Ok([("programs_per_s".to_owned(), forks), ("opens_per_s".to_owned(), opens)])
}
