//! `cargo xtask bench`: what the tool costs beside what one would take instead, measured in one run.

mod measure;
mod offline;
mod page;
mod stats;

use std::fs;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::setup;

/// What to measure.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// Smaller captures and fewer rounds: a few minutes.
    #[arg(long)]
    quick: bool,
    /// How often each is run; 0 for as often as is usual.
    #[arg(long, value_name = "N", default_value_t = 0)]
    rounds: usize,
    /// Write docs/performance.md and docs/performance.json; only figures of the whole bench are kept.
    #[arg(long, conflicts_with = "quick")]
    write: bool,
}

const WHOLE: ([u64; 2], usize) = ([1_000_000, 10_000_000], 3);
const QUICK: ([u64; 2], usize) = ([100_000, 1_000_000], 3);

/// Measures, and prints the page.
pub(crate) fn verb(options: &Options) -> Result<ExitCode> {
    let (sizes, usual) = if options.quick { QUICK } else { WHOLE };
    let rounds = if options.rounds == 0 { usual } else { options.rounds };
    if rounds % 2 == 0 && options.write {
        bail!("an odd number of rounds has a median that was measured: give --rounds 3 or 5");
    }
    let found = offline::run(&sizes, rounds)?;
    let page = page::markdown(&found);
    println!("\n{page}");
    if options.write {
        let docs = setup::workspace().join("docs");
        let json = serde_json::to_string_pretty(&found).context("the figures have no JSON form")?;
        for (name, text) in [("performance.md", page), ("performance.json", json + "\n")] {
            let path = docs.join(name);
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
