//! `kmodtrace policy`: lints, learns and tests policies.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context;
use jiff::{Timestamp, tz::TimeZone};

use crate::{
    chain::Item,
    cli::{
        EXIT_VERDICT,
        args::verdict::InstalledKernel,
        io::{capture_in::read_captures, output_files::OutputFiles, print},
    },
    logging::notice,
    output::{count, escape_str, sentence},
    policy::{self, Learner, NEVER_FAILS},
    stream::{Consumer, StreamInfo},
};

/// Arguments of `policy`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit code: 0 success; 1 negative verdict; 125 error.")]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Find rules that have no effect.
    ///
    /// Reports rules that never match or never decide, that have expired, or that name modules or aliases unknown to this
    /// kernel.
    #[command(after_help = "Exit code: 0 no findings; 1 at least one finding; 125 error, or not a policy.")]
    Check {
        /// Policy to check.
        #[arg(value_name = "POLICY")]
        policy: PathBuf,
    },
    /// Run the test cases of a policy.
    #[command(after_help = "Exit code: 0 all cases pass; 1 at least one case fails; 125 error, or no case.")]
    Test {
        /// Policy to test.
        #[arg(value_name = "POLICY")]
        policy: PathBuf,
    },
    /// Generate the smallest policy that holds for captures.
    ///
    /// It allows each module for the programs that loaded it, and denies everything else.
    #[command(after_help = "Exit code: 0 success; 125 error, or incomplete captures.")]
    Learn {
        /// Also expect each module, so that the policy is violated if one is no longer loaded.
        #[arg(long)]
        expect: bool,
        /// Write to FILE [default: standard output].
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
        /// Captures: files or directories; - is standard input.
        #[arg(required = true, value_name = "CAPTURE")]
        captures: Vec<PathBuf>,
    },
    /// Print the JSON Schema of policies.
    #[command(after_help = "Exit code: 0 success; 125 error.")]
    Schema,
}

pub(in crate::cli) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    match &args.verb {
        Verb::Check { policy } => check(policy),
        Verb::Test { policy } => test(policy),
        Verb::Learn { expect, output, captures } => learn(*expect, output.as_deref(), captures),
        Verb::Schema => {
            let schema = serde_json::to_string_pretty(&policy::schema()).context("cannot write the schema")?;
            print::stdout(&format!("{schema}\n")).map(|()| ExitCode::SUCCESS)
        }
    }
}

fn today() -> jiff::civil::Date {
    Timestamp::now().to_zoned(TimeZone::UTC).date()
}

fn check(path: &Path) -> anyhow::Result<ExitCode> {
    let (policy, mut lints) = policy::load_for_lint(path)?;
    let rules = policy.rules.len() + lints.len();
    let kernel = InstalledKernel::running();
    // Whether a policy can fail is unknown if some of its rules are invalid.
    let is_complete = lints.is_empty();
    let more = policy::lint(&policy, today(), &kernel);
    lints.extend(more.into_iter().filter(|lint| is_complete || lint.kind != NEVER_FAILS));
    let lines = lints
        .iter()
        .map(|lint| format!("{}: {}: {}\n", escape_str(&lint.place.to_string()), lint.kind, sentence(&lint.message)));
    print::stdout(&lines.collect::<String>())?;
    if let Some(why) = kernel.unknown_why() {
        notice(&format!("warning: cannot check the names of modules and aliases: {why}"));
    }
    notice(&format!("{}, {}", count(rules as u64, "rule", "rules"), count(lints.len() as u64, "finding", "findings")));
    Ok(if lints.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_VERDICT) })
}

fn test(path: &Path) -> anyhow::Result<ExitCode> {
    let policy = policy::load(path)?;
    let results = policy.run_cases(today());
    anyhow::ensure!(!results.is_empty(), "cannot test {}: it has no [[case]]", path.display());
    let mut text = String::new();
    for result in &results {
        let name = escape_str(&result.name);
        text += &match &result.failure {
            None => format!("ok      {name}\n"),
            Some(why) => format!("not ok  {name} ({}): {}\n", escape_str(&result.place.to_string()), sentence(why)),
        };
    }
    print::stdout(&text)?;
    let failed = results.iter().filter(|result| result.failure.is_some()).count();
    notice(&format!("{}, {failed} failed", count(results.len() as u64, "case", "cases")));
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(EXIT_VERDICT) })
}

fn learn(expect: bool, output: Option<&Path>, paths: &[PathBuf]) -> anyhow::Result<ExitCode> {
    let mut outputs = OutputFiles::new(paths)?;
    let file = output.map(|path| outputs.open(path)).transpose()?;
    let mut learning = Learning(Learner::default());
    read_captures(paths, None, &mut learning)?.require_complete("learn a policy")?;
    let text = learning.0.policy(expect);
    match file {
        Some(mut file) => {
            file.write_all(text.as_bytes()).and_then(|()| file.flush()).context("cannot write the policy")?;
            outputs.keep()?;
        }
        None => print::stdout(&text)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Feeds chains to the learner.
struct Learning(Learner);

impl Consumer for Learning {
    fn item(&mut self, item: &Item, _: &StreamInfo) -> io::Result<()> {
        if let Item::Chain(chain) = item {
            self.0.chain(chain);
        }
        Ok(())
    }
}
