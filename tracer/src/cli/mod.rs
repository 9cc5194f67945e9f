//! The command line: arguments and verbs.

mod args;
mod commands;
mod io;
mod memory;
mod session;
mod sudo;

use std::{io::ErrorKind, path::Path, process::ExitCode};

use clap::{Parser, Subcommand};

use self::commands::{
    block, check, diff, doctor, explain, impact, manual, policy, record, recover, report, run, schema, snapshot,
    surface, verify, watch, why,
};
use crate::capture::sign::{KeyError, PublicKey};

/// Errors, including usage errors. 1 is a negative verdict; 2 and 3 have a meaning in kselftest.
pub const EXIT_ERROR: u8 = 125;

/// Tracing is not possible and --skip-if-unsupported was given: kselftest's code for a skipped test.
const EXIT_SKIPPED: u8 = 4;

/// A time limit was reached.
const EXIT_TIMEOUT: u8 = 124;

/// A negative verdict.
const EXIT_VERDICT: u8 = 1;

/// Show which process made the kernel load a module, why, and with which result.
#[derive(Debug, Parser)]
#[command(name = "kmodtrace", version, propagate_version = true, max_term_width = 100)]
pub struct Cli {
    /// Increase verbosity (-v: info, -vv: probe debug log) [default: warnings].
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    pub verbose: u8,
    /// The verb.
    #[command(subcommand)]
    pub verb: Verb,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Show module requests and loads of this host as they happen.
    Watch(watch::Args),
    /// Run a command and show the modules that it makes the kernel load.
    Run(run::Args),
    /// Record module requests and loads of this host into captures.
    Record(record::Args),
    /// Show which process loaded which module, when and why, from captures.
    Report(report::Args),
    /// Verify the integrity of captures.
    Verify(verify::Args),
    /// Recover the intact parts of a damaged capture.
    Recover(recover::Args),
    /// Create a snapshot for comparing kernels.
    Snapshot(snapshot::Args),
    /// Compare two snapshots or captures.
    Diff(diff::Args),
    /// Evaluate a policy on captures.
    Check(check::Args),
    /// Lint, learn and test policies.
    Policy(policy::Args),
    /// Show what requests a module or alias, what would be loaded, and what prevents it.
    Explain(explain::Args),
    /// Show why a module is loaded and what holds it, also if nothing was recording.
    Why(why::Args),
    /// Show which programs used a module, from captures.
    Impact(impact::Args),
    /// List the modules that unprivileged users can make the kernel load.
    Surface(surface::Args),
    /// Print modprobe.d rules that block modules, after a dry run with modprobe.
    Block(block::Args),
    /// Check this system and suggest fixes.
    Doctor(doctor::Args),
    /// Print the JSON Schema of events.
    Schema(schema::Args),
    /// Print a completion script for a shell.
    Completions(manual::CompletionArgs),
    /// Print a manual page, or write all pages into a directory.
    Man(manual::ManArgs),
}

impl Cli {
    /// Runs the verb.
    ///
    /// # Errors
    /// If the verb fails; the message contains cause and action.
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
            Verb::Why(args) => why::run(&args),
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

/// Reads a public key.
fn public_key(path: &Path) -> anyhow::Result<PublicKey> {
    PublicKey::load(path).map_err(|error| match error {
        KeyError::Read { source, .. } if source.kind() != ErrorKind::InvalidData => {
            anyhow::Error::new(source).context(format!("cannot read the public key {}", path.display()))
        }
        _ => anyhow::anyhow!(
            "invalid public key {}: expected 64 hexadecimal digits, as in KEY.pub, which record --sign KEY writes",
            path.display()
        ),
    })
}
