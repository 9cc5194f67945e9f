//! `cargo xtask test`: every test: on the host, and in guests with real kernels.

mod guests;
mod host;
mod summary;

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;

use crate::requirements::Purpose;
use crate::setup;
use crate::vm;

use summary::Summary;

/// What to test.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// Only what needs no guest.
    #[arg(long, conflicts_with = "scenario")]
    host: bool,
    /// Only scenarios whose name contains this; may be given several times.
    #[arg(long, value_name = "NAME")]
    scenario: Vec<String>,
    /// How much to run on how many kernels.
    #[arg(long, value_enum, value_name = "SIZE", default_value_t, conflicts_with = "kernel")]
    matrix: Matrix,
    /// All scenarios on this kernel line alone, as `cargo xtask vm list` names them; may be given several times.
    #[arg(long, value_name = "LINE")]
    kernel: Vec<String>,
    /// What runs the guests.
    #[arg(long, value_enum, default_value_t)]
    accel: vm::Choice,
    /// How many guests run at the same time.
    #[arg(long, value_name = "N", default_value_t = vm::default_parallel())]
    parallel: usize,
}

/// How much to run on how many kernels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Matrix {
    /// Every scenario on 6.1 and 6.12, the incident on every kernel.
    #[default]
    Usual,
    /// Every scenario on every kernel.
    Full,
}

/// Kernel lines on which every scenario runs each time.
const WHOLE: [&str; 2] = ["6.1", "6.12"];

/// What runs on the other lines: loads every program, attaches it, and names the culprit.
const INCIDENT: &str = "outage";

impl Options {
    /// Kernel lines, and the scenarios to run on each.
    fn rounds(&self) -> Vec<(String, Vec<String>)> {
        let chosen = || self.scenario.clone();
        if !self.kernel.is_empty() {
            return self.kernel.iter().map(|kernel| (kernel.clone(), chosen())).collect();
        }
        let round = |line: &'static str| {
            let whole = self.matrix == Matrix::Full || WHOLE.contains(&line) || !self.scenario.is_empty();
            (line.to_owned(), if whole { chosen() } else { vec![INCIDENT.to_owned()] })
        };
        vm::kernel_lines().map(round).collect()
    }
}

/// Sets up, builds, and runs the tests. The last lines are the summary, whatever could not be tested; the very last counts.
pub(crate) fn verb(options: &Options) -> Result<ExitCode> {
    // A name that does not exist is reported now, not after an hour.
    vm::check_names(&options.kernel, &options.scenario)?;
    setup::run(Purpose::Everything)?;
    let mut summary = Summary::default();
    if options.scenario.is_empty() {
        summary.push(host::run());
    }
    if !options.host {
        guests::run(options, &mut summary);
    }
    if !summary.has_results() {
        bail!("no test ran");
    }
    println!("\n{summary}");
    Ok(if summary.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
