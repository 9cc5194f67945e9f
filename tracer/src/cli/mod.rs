//! The command line: clap types, one file a verb, arguments turned into a checked plan.

mod assert;
mod block;
mod captures;
mod check;
mod diff;
mod doctor;
mod explain;
mod impact;
mod later;
mod live;
mod manual;
mod memory;
mod outputs;
mod policy;
mod print;
mod record;
mod recover;
mod report;
mod run;
mod schema;
mod scratch;
mod select;
mod session;
mod sink;
mod snapshot;
mod spare;
mod sudo;
mod surface;
mod until;
mod verdict;
mod verify;
mod watch;

use std::{io, path::Path, process::ExitCode};

use clap::{Parser, Subcommand};

use self::later::Later;
use crate::capture::sign::{KeyError, PublicKey};

/// Own errors and usage errors; 1 is a verdict, 2 and 3 mean something to kselftest.
pub const EXIT_ERROR: u8 = 125;

/// Tracing is not possible here, and the caller said to skip then: kselftest's code for a skipped test.
const EXIT_SKIPPED: u8 = 4;

/// The time given was not enough.
const EXIT_TIMEOUT: u8 = 124;

/// A verdict against.
const EXIT_VERDICT: u8 = 1;

/// Which process made the kernel load this module, why, and what came of it.
#[derive(Debug, Parser)]
#[command(name = "kmodtrace", version, propagate_version = true, max_term_width = 100)]
pub struct Cli {
    /// Say more: -v what the tool does, -vv also what each probe sees.
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    pub verbose: u8,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Show what makes the kernel load modules, as it happens, until Ctrl-C.
    Watch(Later<watch::Args>),
    /// Run a command and show what it makes the kernel load.
    Run(Later<run::Args>),
    /// Record what makes the kernel load modules into files that last.
    Record(Later<record::Args>),
    /// Verify the integrity of captures.
    Verify(Later<verify::Args>),
    /// Recover the intact parts of a damaged capture.
    Recover(Later<recover::Args>),
    /// Judge captures by a policy.
    Check(Later<check::Args>),
    /// Lint, learn and test policies.
    Policy(policy::Args),
    /// Put what captures hold into a form that two kernels can be compared by.
    Snapshot(Later<snapshot::Args>),
    /// Say what another kernel does otherwise with the same workload.
    Diff(Later<diff::Args>),
    /// Tell who loaded what, when and why, from captures.
    Report(Later<report::Args>),
    /// Say what asks for a module or alias, what would load here, and what is in the way.
    Explain(Later<explain::Args>),
    /// Show which programs used a module, from captures.
    Impact(Later<impact::Args>),
    /// List what users without privileges can make the kernel load here, and by what.
    Surface(Later<surface::Args>),
    /// Print lines for modprobe.d that keep modules out, tried with the installed modprobe.
    Block(Later<block::Args>),
    /// Say what works here, what does not, and how to mend it.
    Doctor(Later<doctor::Args>),
    /// Print the JSON Schema of events: of the lines of `--json` and of captures.
    Schema(Later<schema::Args>),
    /// Write a completion script for a shell.
    Completions(Later<manual::CompletionArgs>),
    /// Write the manual: a page to standard output, or all pages into a directory.
    Man(Later<manual::ManArgs>),
}

impl Cli {
    /// Does what was asked.
    ///
    /// # Errors
    /// With everything the user needs to know to mend it.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let probe_log = self.verbose >= 2;
        match self.verb {
            Verb::Watch(Later(args)) => watch::run(&args, probe_log),
            Verb::Run(Later(args)) => run::run(&args, probe_log),
            Verb::Record(Later(args)) => record::run(&args, probe_log),
            Verb::Verify(Later(args)) => verify::run(&args),
            Verb::Recover(Later(args)) => recover::run(&args),
            Verb::Check(Later(args)) => check::run(&args),
            Verb::Policy(args) => policy::run(&args),
            Verb::Snapshot(Later(args)) => snapshot::run(&args),
            Verb::Diff(Later(args)) => diff::run(&args),
            Verb::Report(Later(args)) => report::run(&args),
            Verb::Explain(Later(args)) => explain::run(&args),
            Verb::Impact(Later(args)) => impact::run(&args),
            Verb::Surface(Later(args)) => surface::run(&args),
            Verb::Block(Later(args)) => block::run(&args),
            Verb::Doctor(Later(args)) => doctor::run(&args),
            Verb::Schema(Later(args)) => schema::run(&args),
            Verb::Completions(Later(args)) => manual::completions(&args),
            Verb::Man(Later(args)) => manual::man(&args),
        }
    }
}

/// Reads the public half of a key.
fn public_key(path: &Path) -> anyhow::Result<PublicKey> {
    PublicKey::load(path).map_err(|error| match error {
        KeyError::Read { source, .. } if source.kind() != io::ErrorKind::InvalidData => {
            anyhow::Error::new(source).context(format!("cannot read the public key {}", path.display()))
        }
        _ => anyhow::anyhow!(
            "{} is not a public key: expected 64 hexadecimal digits, as in KEY.pub, which record --sign KEY writes",
            path.display()
        ),
    })
}
