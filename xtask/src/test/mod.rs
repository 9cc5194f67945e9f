//! `cargo xtask test`: all tests, on the host and in guests with real kernels.

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

/// Options of the tests.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// Run only the tests that need no guest.
    #[arg(long, conflicts_with = "scenario")]
    host: bool,
    /// Run only scenarios whose name contains NAME; repeatable.
    #[arg(long, value_name = "NAME")]
    scenario: Vec<String>,
    /// Amount of tests per kernel.
    #[arg(long, value_enum, value_name = "SIZE", default_value_t, conflicts_with = "kernel")]
    matrix: Matrix,
    /// Run all scenarios on this kernel line only, as in `cargo xtask vm list`; repeatable.
    #[arg(long, value_name = "LINE")]
    kernel: Vec<String>,
    /// Accelerator of the guests.
    #[arg(long, value_enum, default_value_t)]
    accel: vm::Choice,
    /// Number of concurrent guests.
    #[arg(long, value_name = "N", default_value_t = vm::default_parallel())]
    parallel: usize,
}

/// Amount of tests per kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Matrix {
    /// Every scenario on 6.1, those whose result depends on the kernel on 6.12, the scenarios `outage` on every kernel.
    #[default]
    Usual,
    /// Every scenario on every kernel.
    Full,
}

/// The kernel line on which every scenario runs by default.
const FULL_LINE: &str = "6.1";

/// The kernel line on which, by default, every scenario runs whose result depends on the kernel.
const SECOND_LINE: &str = "6.12";

/// The filter for the other lines: these scenarios load and attach every program, and check the requester.
const INCIDENT: &str = "outage";

impl Options {
    /// Kernel lines, and the scenarios to run on each.
    fn rounds(&self) -> Vec<(String, Vec<String>)> {
        let chosen = || self.scenario.clone();
        if !self.kernel.is_empty() {
            return self.kernel.iter().map(|kernel| (kernel.clone(), chosen())).collect();
        }
        let round = |line: &'static str| {
            let is_full = self.matrix == Matrix::Full || !self.scenario.is_empty();
            let scenarios = match line {
                _ if is_full => chosen(),
                FULL_LINE => Vec::new(),
                SECOND_LINE => vm::scenarios_of_the_kernel(),
                _ => vec![INCIDENT.to_owned()],
            };
            (line.to_owned(), scenarios)
        };
        vm::kernel_lines().map(round).collect()
    }
}

/// Sets up, builds, and runs the tests. The output always ends with the summary, and its last line has the totals.
pub(crate) fn verb(options: &Options) -> Result<ExitCode> {
    // Report an unknown name now, not after an hour.
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
