//! `kmodtrace check --policy P FILE...`: judges captures.

use std::{collections::BTreeSet, path::PathBuf, process::ExitCode};

use anyhow::Context;

use super::{
    events::{self, Taker},
    outputs::Outputs,
    verdict::{InstalledKernel, VerdictArgs, exit_code},
};
use crate::{
    event::{Body, Event},
    policy::{self, Judge, Policy},
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
    let inputs: Vec<PathBuf> = args.captures.iter().chain([&args.policy]).cloned().collect();
    let mut sinks = args.verdict.open(Outputs::of(&inputs)?)?;
    if args.json {
        sinks.print_json()?;
    }
    let mut captures = Captures { policy, judge: None, releases: BTreeSet::new() };
    events::read(&args.captures, &mut captures)?;
    let Captures { judge, releases, .. } = captures;
    let judge = judge.context("no capture was given")?;
    let verdict = judge.finish(&kernel(releases));
    sinks.put(&verdict)?;
    Ok(ExitCode::from(exit_code(verdict.outcome, 0)))
}

/// Judges captures, one after another.
struct Captures {
    policy: Policy,
    judge: Option<Judge>,
    /// Of the kernels.
    releases: BTreeSet<String>,
}

impl Taker for Captures {
    fn continues(&self, event: &Event) -> bool {
        self.judge.as_ref().is_some_and(|judge| judge.continues(event))
    }

    fn begin(&mut self, name: &str) {
        match &mut self.judge {
            Some(judge) => judge.next_stream(name),
            None => self.judge = Some(Judge::new(self.policy.clone(), name)),
        }
    }

    fn event(&mut self, event: Event) {
        if let Body::Header(header) = &event.body {
            self.releases.insert(header.kernel.clone());
        }
        if let Some(judge) = &mut self.judge {
            judge.event(event);
        }
    }

    fn doubt(&mut self, doubt: String) {
        if let Some(judge) = &mut self.judge {
            judge.doubt(doubt);
        }
    }
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
