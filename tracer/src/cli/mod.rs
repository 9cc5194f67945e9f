//! The command line: clap types, one file a verb, arguments turned into a checked plan.

mod assert;
mod block;
mod captures;
mod check;
mod diff;
mod doctor;
mod explain;
mod impact;
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
    Watch(watch::Args),
    /// Run a command and show what it makes the kernel load.
    Run(run::Args),
    /// Record what makes the kernel load modules into files that last.
    Record(record::Args),
    /// Verify the integrity of captures.
    Verify(verify::Args),
    /// Recover the intact parts of a damaged capture.
    Recover(recover::Args),
    /// Judge captures by a policy.
    Check(check::Args),
    /// Lint, learn and test policies.
    Policy(policy::Args),
    /// Put what captures hold into a form that two kernels can be compared by.
    Snapshot(snapshot::Args),
    /// Say what another kernel does otherwise with the same workload.
    Diff(diff::Args),
    /// Tell who loaded what, when and why, from captures.
    Report(report::Args),
    /// Say what asks for a module or alias, what would load here, and what is in the way.
    Explain(explain::Args),
    /// Show which programs used a module, from captures.
    Impact(impact::Args),
    /// List what users without privileges can make the kernel load here, and by what.
    Surface(surface::Args),
    /// Print lines for modprobe.d that keep modules out, tried with the installed modprobe.
    Block(block::Args),
    /// Say what works here, what does not, and how to mend it.
    Doctor(doctor::Args),
    /// Print the JSON Schema of events: of the lines of `--json` and of captures.
    Schema(schema::Args),
    /// Write a completion script for a shell.
    Completions(manual::CompletionArgs),
    /// Write the manual: a page to standard output, or all pages into a directory.
    Man(manual::ManArgs),
}

impl Cli {
    /// Does what was asked.
    ///
    /// # Errors
    /// With everything the user needs to know to mend it.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let probe_log = self.verbose >= 2;
        match self.verb {
            Verb::Watch(args) => watch::run(&args, probe_log),
            Verb::Run(args) => run::run(&args, probe_log),
            Verb::Record(args) => record::run(&args, probe_log),
            Verb::Verify(args) => verify::run(&args),
            Verb::Recover(args) => recover::run(&args),
            Verb::Check(args) => check::run(&args),
            Verb::Policy(args) => policy::run(&args),
            Verb::Snapshot(args) => snapshot::run(&args),
            Verb::Diff(args) => diff::run(&args),
            Verb::Report(args) => report::run(&args),
            Verb::Explain(args) => explain::run(&args),
            Verb::Impact(args) => impact::run(&args),
            Verb::Surface(args) => surface::run(&args),
            Verb::Block(args) => block::run(&args),
            Verb::Doctor(args) => doctor::run(&args),
            Verb::Schema(args) => schema::run(&args),
            Verb::Completions(args) => manual::completions(&args),
            Verb::Man(args) => manual::man(&args),
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
