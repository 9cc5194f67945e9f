//! `kmodtrace check --policy P FILE...`: judges captures.

use std::{collections::BTreeSet, io, path::PathBuf, process::ExitCode};

use anyhow::Context;

use super::{
    events::{self, Ended},
    verdict::{InstalledKernel, VerdictArgs, exit_code},
};
use crate::{
    event::Body,
    output::verdict,
    policy::{self, Judge},
};

/// Arguments of `check`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit code: 0 the policy holds, 1 it is violated, 125 it cannot be said (something was not seen) or an error."
)]
pub struct Args {
    /// The policy.
    #[arg(short, long, value_name = "FILE")]
    policy: PathBuf,
    /// Write the verdict as one JSON object on standard output.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    verdict: VerdictArgs,
    /// Captures, as `run --json`, `watch --json` and `record` write them; `-` is standard input.
    #[arg(required = true, value_name = "CAPTURE")]
    captures: Vec<PathBuf>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let policy = policy::load(&args.policy)?;
    let mut sinks = args.verdict.open()?;
    let mut judge = None;
    let mut releases = BTreeSet::new();
    for path in &args.captures {
        let name = events::name(path);
        let judge = match &mut judge {
            None => judge.insert(Judge::new(policy.clone(), &name)),
            Some(judge) => {
                judge.next_stream(&name);
                judge
            }
        };
        let ended = events::each(path, &mut |event| {
            if let Body::Header(header) = &event.body {
                releases.insert(header.kernel.clone());
            }
            judge.event(event);
        })?;
        if ended == Ended::Torn {
            judge.doubt("it ends within a line: what came last is missing".to_owned());
        }
    }
    let judge = judge.context("no capture was given")?;
    let verdict = judge.finish(&kernel(releases));
    sinks.put(&verdict)?;
    if args.json {
        verdict::json(&verdict, &mut io::stdout()).context("cannot write the verdict")?;
    }
    Ok(ExitCode::from(exit_code(verdict.outcome, 0)))
}

/// The kernel that the captures are of.
fn kernel(releases: BTreeSet<String>) -> InstalledKernel {
    let mut releases = releases.into_iter();
    match (releases.next(), releases.next()) {
        (Some(release), None) => InstalledKernel::of(release),
        (Some(_), Some(_)) => InstalledKernel::unknown("the captures are of several kernels".to_owned()),
        (None, _) => InstalledKernel::unknown("the captures do not tell their kernel".to_owned()),
    }
}
