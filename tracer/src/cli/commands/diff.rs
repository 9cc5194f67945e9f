//! `kmodtrace diff BEFORE NOW`: compares two snapshots or captures of one workload.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context;

use super::snapshot;
use crate::{
    cli::{EXIT_VERDICT, io::print},
    logging::notice,
    output::{count, difference, json, label},
    policy::{self, Slower},
};

/// Factor from which a request is listed as slower without --slower.
const SLOWER: f64 = 2.0;

/// Arguments of `diff`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit code: 0 no difference; 1 at least one difference; 125 error, or inconclusive (works with `git bisect run`)."
)]
pub struct Args {
    /// Write JSON Lines, one difference per line.
    #[arg(long)]
    json: bool,
    /// Report requests that load nothing and occur on one side only [default: print their number].
    #[arg(long)]
    requests: bool,
    /// Treat requests that block at least FACTOR times as long as differences [default: list them, from 2 on].
    #[arg(long, value_name = "FACTOR", value_parser = factor)]
    slower: Option<f64>,
    /// Snapshot or capture of the reference kernel.
    #[arg(value_name = "BEFORE")]
    before: PathBuf,
    /// Snapshot or capture of the kernel to compare.
    #[arg(value_name = "NOW")]
    now: PathBuf,
}

fn factor(text: &str) -> Result<f64, String> {
    let factor = text.parse::<f64>().ok().filter(|factor| factor.is_finite() && *factor > 1.0);
    factor.ok_or_else(|| "expected a number above 1".to_owned())
}

pub(in crate::cli) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let before = snapshot::open(&args.before)?;
    let now = snapshot::open(&args.now)?;
    let diff = policy::diff(&before, &now, Slower { factor: args.slower.unwrap_or(SLOWER) });
    let name = label(&now, &args.now.display().to_string(), &before);
    let mut text = String::new();
    let unserved = if args.requests { diff.unsuccessful.as_slice() } else { &[] };
    for change in diff.changes.iter().chain(unserved).chain(&diff.slower) {
        text += &if args.json { json(change).context("cannot write a difference")? } else { difference(change, &name) };
        text.push('\n');
    }
    print::stdout(&text)?;
    let counts = diff.changes.len() + unserved.len() + if args.slower.is_some() { diff.slower.len() } else { 0 };
    notice(&format!(
        "{} in {} and {} entries",
        count(counts as u64, "difference", "differences"),
        before.compared.len(),
        now.compared.len()
    ));
    if !args.requests && !diff.unsuccessful.is_empty() {
        let requests = count(diff.unsuccessful.len() as u64, "request that loads", "requests that load");
        notice(&format!("{requests} nothing on one side only; list with --requests"));
    }
    Ok(if counts == 0 { ExitCode::SUCCESS } else { ExitCode::from(EXIT_VERDICT) })
}
