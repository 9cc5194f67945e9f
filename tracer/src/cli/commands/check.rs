//! `kmodtrace check --policy P FILE...`: evaluates a policy on captures.

use std::{collections::BTreeSet, io, path::PathBuf, process::ExitCode};

use crate::{
    chain::Item,
    cli::{
        args::{
            boot::BootArgs,
            verdict::{InstalledKernel, VerdictArgs, exit_code},
        },
        io::{
            capture_in::{or_service, read_captures_of},
            output_files::OutputFiles,
        },
        public_key,
    },
    event::{Body, Event},
    policy::{self, Judge},
    stream::{Consumer, Issue, StreamInfo},
};

/// Arguments of `check`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit code: 0 the policy holds; 1 the policy is violated; 125 error, or undetermined because of incomplete captures."
)]
pub struct Args {
    /// Policy to evaluate.
    #[arg(short, long, value_name = "FILE")]
    policy: PathBuf,
    /// Write the verdict to standard output as one JSON object.
    #[arg(long)]
    json: bool,
    /// Require each seal to be signed; FILE is the public key (KEY.pub of record --sign KEY) [default: not checked].
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    #[command(flatten)]
    boot: BootArgs,
    #[command(flatten)]
    verdict: VerdictArgs,
    /// Captures of run --json, watch --json or record: files or directories; - is standard input [default: /var/log/kmodtrace].
    #[arg(value_name = "CAPTURE")]
    captures: Vec<PathBuf>,
}

pub(in crate::cli) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let policy = policy::load(&args.policy)?;
    let captures = or_service(&args.captures)?;
    let boot_id = args.boot.boot_id(&captures)?;
    let inputs: Vec<PathBuf> = captures.iter().chain([&args.policy]).cloned().collect();
    let mut outputs = args.verdict.open(OutputFiles::new(&inputs)?)?;
    if args.json {
        outputs.print_json()?;
    }
    let key = args.key.as_deref().map(public_key).transpose()?;
    let mut evaluation =
        Evaluation { judge: Judge::new(policy), releases: BTreeSet::new(), needs_seals: key.is_some() };
    read_captures_of(&captures, boot_id.as_deref(), key, &mut evaluation)?;
    let Evaluation { judge, releases, .. } = evaluation;
    let verdict = judge.finish(&kernel(releases));
    outputs.write(&verdict)?;
    Ok(ExitCode::from(exit_code(verdict.outcome, 0)))
}

/// A policy evaluation, and the kernels that the captures are from.
struct Evaluation {
    judge: Judge,
    releases: BTreeSet<String>,
    /// A key was given, and captures without seals are not signed.
    needs_seals: bool,
}

impl Consumer for Evaluation {
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
            self.judge.add_undetermined(&issue.to_string());
        }
        self.judge.issue(issue);
    }
}

/// The kernel that all captures are from.
fn kernel(releases: BTreeSet<String>) -> InstalledKernel {
    let mut releases = releases.into_iter();
    match (releases.next(), releases.next()) {
        (Some(release), None) => InstalledKernel::of(release),
        (Some(_), Some(_)) => InstalledKernel::unknown("the captures are from several kernels".to_owned()),
        (None, _) => InstalledKernel::unknown("the captures do not name their kernel".to_owned()),
    }
}
