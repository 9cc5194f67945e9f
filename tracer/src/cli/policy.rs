//! `kmodtrace policy`: lints, learns and tests policies.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context;
use jiff::{Timestamp, tz::TimeZone};

use super::{EXIT_VERDICT, captures, outputs::Outputs, print, verdict::InstalledKernel};
use crate::{
    chain::Item,
    logging::say,
    output::{count, escape_str, sentence},
    policy::{self, Learner, NEVER_FAILS},
    stream::{Consumer, StreamInfo},
};

/// Arguments of `policy`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Say what is wrong or doubtful in a policy.
    ///
    /// Rules that can never match or never decide, that have expired, and that name modules or aliases that this kernel does not have.
    /// Exit code: 0 nothing, 1 something is doubtful, 125 it is no policy.
    Check {
        /// The policy.
        #[arg(value_name = "POLICY")]
        policy: PathBuf,
    },
    /// Run the cases that a policy brings along.
    ///
    /// Exit code: 0 all are as wanted, 1 one is not, 125 it is no policy or has no case.
    Test {
        /// The policy.
        #[arg(value_name = "POLICY")]
        policy: PathBuf,
    },
    /// Write the smallest policy that holds for what was captured.
    ///
    /// It allows each module to those who made it load, and denies everything else.
    Learn {
        /// Also expect each module: a policy that is violated when one is not loaded any more.
        #[arg(long)]
        expect: bool,
        /// Write to FILE instead of standard output.
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
        /// Captures; `-` is standard input.
        #[arg(required = true, value_name = "CAPTURE")]
        captures: Vec<PathBuf>,
    },
    /// Print the JSON Schema of policies.
    Schema,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
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
    // Of a policy without the rules that were left out it is not known whether it can fail.
    let is_whole = lints.is_empty();
    let more = policy::lint(&policy, today(), &kernel);
    lints.extend(more.into_iter().filter(|lint| is_whole || lint.kind != NEVER_FAILS));
    let lines = lints
        .iter()
        .map(|lint| format!("{}: {}: {}\n", escape_str(&lint.place.to_string()), lint.kind, sentence(&lint.message)));
    print::stdout(&lines.collect::<String>())?;
    if let Some(why) = kernel.unknown_why() {
        say(&format!("names of modules and aliases were not checked: {why}"));
    }
    say(&format!("{}, {} doubtful", count(rules as u64, "rule", "rules"), lints.len()));
    Ok(if lints.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_VERDICT) })
}

fn test(path: &Path) -> anyhow::Result<ExitCode> {
    let policy = policy::load(path)?;
    let results = policy.run_cases(today());
    anyhow::ensure!(!results.is_empty(), "{} has no [[case]]: there is nothing to test", path.display());
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
    say(&format!("{}, {failed} not as wanted", count(results.len() as u64, "case", "cases")));
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(EXIT_VERDICT) })
}

fn learn(expect: bool, output: Option<&Path>, paths: &[PathBuf]) -> anyhow::Result<ExitCode> {
    let mut outputs = Outputs::of(paths)?;
    let file = output.map(|path| outputs.open(path)).transpose()?;
    let mut learning = Learning(Learner::default());
    captures::read(paths, None, &mut learning)?.require_complete("learn a policy")?;
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

/// Learns from chains.
struct Learning(Learner);

impl Consumer for Learning {
    fn item(&mut self, item: &Item, _: &StreamInfo) -> io::Result<()> {
        if let Item::Chain(chain) = item {
            self.0.chain(chain);
        }
        Ok(())
    }
}
