//! `kmodtrace diff BEFORE NOW`: what another kernel does otherwise with the same workload.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context;

use super::{EXIT_VERDICT, print, snapshot};
use crate::{
    logging::say,
    output::{difference, json, label},
    policy::{self, Slower},
};

/// What is told as slower without being asked for.
const SLOWER: f64 = 2.0;

/// Arguments of `diff`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit code: 0 no difference, 1 there is one, 125 it cannot be said. Fit for `git bisect run`: \
                  125 makes it skip.")]
pub struct Args {
    /// Write the differences as JSON, one object a line.
    #[arg(long)]
    json: bool,
    /// Requests that load nothing, and are asked on one side alone, count as a difference, too. Without it they are
    /// counted, but not told.
    #[arg(long)]
    requests: bool,
    /// Requests that block FACTOR times as long count as a difference, too. Without it they are only told, from 2 on.
    #[arg(long, value_name = "FACTOR", value_parser = factor)]
    slower: Option<f64>,
    /// Snapshot, or capture, of the kernel that is right.
    #[arg(value_name = "BEFORE")]
    before: PathBuf,
    /// Snapshot, or capture, of the one in question.
    #[arg(value_name = "NOW")]
    now: PathBuf,
}

fn factor(text: &str) -> Result<f64, String> {
    let factor = text.parse::<f64>().ok().filter(|factor| factor.is_finite() && *factor > 1.0);
    factor.ok_or_else(|| format!("{text:?} is no factor above 1"))
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let before = snapshot::open(&args.before)?;
    let now = snapshot::open(&args.now)?;
    let diff = policy::diff(&before, &now, Slower { factor: args.slower.unwrap_or(SLOWER) });
    let name = label(&now, &args.now.display().to_string(), &before);
    let mut text = String::new();
    let in_vain = if args.requests { diff.in_vain.as_slice() } else { &[] };
    for change in diff.changes.iter().chain(in_vain).chain(&diff.slower) {
        text += &if args.json { json(change).context("cannot write a difference")? } else { difference(change, &name) };
        text.push('\n');
    }
    print::stdout(&text)?;
    let counts = diff.changes.len() + in_vain.len() + if args.slower.is_some() { diff.slower.len() } else { 0 };
    say(&format!("{counts} differences in {} and {} entries", before.compared.len(), now.compared.len()));
    if !args.requests && !diff.in_vain.is_empty() {
        say(&format!("{} requests that load nothing differ: --requests tells them", diff.in_vain.len()));
    }
    Ok(if counts == 0 { ExitCode::SUCCESS } else { ExitCode::from(EXIT_VERDICT) })
}
