//! `kmodtrace check --policy P FILE...`: judges captures.

use std::{collections::BTreeSet, io, path::PathBuf, process::ExitCode};

use super::{
    captures,
    outputs::Outputs,
    public_key,
    verdict::{InstalledKernel, VerdictArgs, exit_code},
};
use crate::{
    chain::Item,
    event::{Body, Event},
    policy::{self, Judge},
    stream::{Consumer, Issue, StreamInfo},
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
    /// Each seal must be signed by the key with this public half (KEY.pub of record --sign KEY).
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
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
    let key = args.key.as_deref().map(public_key).transpose()?;
    let mut judged = Judged { judge: Judge::new(policy), releases: BTreeSet::new(), needs_seals: key.is_some() };
    captures::read(&args.captures, key, &mut judged)?;
    let Judged { judge, releases, .. } = judged;
    let verdict = judge.finish(&kernel(releases));
    sinks.put(&verdict)?;
    Ok(ExitCode::from(exit_code(verdict.outcome, 0)))
}

/// A judge of captures, and the kernels that they are of.
struct Judged {
    judge: Judge,
    releases: BTreeSet<String>,
    /// A capture without seals is not signed by any key.
    needs_seals: bool,
}

impl Consumer for Judged {
    fn event(&mut self, event: &Event, stream: &StreamInfo) -> io::Result<()> {
        if let Body::Header(header) = &event.body {
            self.releases.insert(header.kernel.clone());
        }
        self.judge.event(event, stream)
    }

    fn item(&mut self, item: &Item, stream: &StreamInfo) -> io::Result<()> {
        self.judge.item(item, stream)
    }

    fn issue(&mut self, issue: &Issue) {
        if self.needs_seals && issue.kind == crate::stream::IssueKind::Unsealed {
            self.judge.doubt(&issue.to_string());
        }
        self.judge.issue(issue);
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
