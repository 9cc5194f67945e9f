//! `cargo xtask test`: every test: on the host, and in guests with real kernels.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::toolchain::linker;
use crate::vm::{self, Guest};
use crate::{build, kernels, setup};

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

/// Tests that passed, failed and were skipped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    passed: usize,
    failed: usize,
    skipped: usize,
}

/// Sets up, builds, and runs the tests. The last line counts them.
pub(crate) fn verb(options: &Options) -> Result<ExitCode> {
    setup::run(&setup::Options::default())?;
    let mut counts = Counts::default();
    let mut good = true;
    if options.scenario.is_empty() {
        good &= host(&mut counts)?;
    }
    if !options.host {
        build::run()?;
        for (kernel, scenarios) in options.rounds() {
            let guest = Guest::prepare(&kernel, options.accel)?;
            let show = |outcome: &vm::Outcome| println!("{}", vm::outcome_line(&kernel, outcome));
            let report = guest.run_scenarios(&scenarios, options.parallel, &show)?;
            println!("{report}");
            if options.scenario.is_empty() {
                let problems = kernels::check(&kernel, &guest)?;
                let status = if problems.is_empty() { "ok     " } else { "FAILED " };
                println!("{status} {kernel:<9} programs are attached as docs/kernels.md says");
                problems.iter().for_each(|problem| println!("  {problem}"));
                counts.passed += usize::from(problems.is_empty());
                counts.failed += usize::from(!problems.is_empty());
            }
            good &= report.is_good();
            let vm::Counts { passed, failed, skipped } = report.counts();
            counts.passed += passed;
            counts.failed += failed;
            counts.skipped += skipped;
            // What is wrong beside the scenarios themselves must not look like a pass.
            if !report.is_good() && failed == 0 {
                counts.failed += 1;
            }
        }
    }
    let Counts { passed, failed, skipped } = counts;
    if passed == 0 {
        bail!("no test ran");
    }
    println!("\n{passed} passed, {failed} failed, {skipped} skipped");
    Ok(if good && failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The workspace's unit and property tests. They need no eBPF object.
fn host(counts: &mut Counts) -> Result<bool> {
    let mut command = Command::new(linker::cargo());
    command.current_dir(setup::workspace()).args(["test", "--workspace", "--locked", "--no-fail-fast"]);
    command.env("KMODTRACE_EBPF", "skip").stdin(Stdio::null()).stdout(Stdio::piped());
    eprintln!("+ {}", crate::shell::show(&command));
    let mut child = command.spawn().context("cannot run cargo test")?;
    let stdout = child.stdout.take().context("no pipe to cargo test")?;
    let before = *counts;
    for line in BufReader::new(stdout).lines() {
        let line = line.context("cannot read what cargo test prints")?;
        if let Some(found) = result_line(&line) {
            counts.passed += found.passed;
            counts.failed += found.failed;
            counts.skipped += found.skipped;
        }
        println!("{line}");
    }
    let status = child.wait().context("cannot wait for cargo test")?;
    if !status.success() && counts.failed == before.failed {
        bail!("cargo test ended with {status}");
    }
    Ok(status.success())
}

/// `test result: ok. 55 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.80s`
fn result_line(line: &str) -> Option<Counts> {
    let rest = line.strip_prefix("test result: ")?;
    let (_, rest) = rest.split_once(". ")?;
    let number = |what: &str| {
        let part = rest.split("; ").find(|part| part.ends_with(what))?;
        part.split(' ').next()?.parse().ok()
    };
    Some(Counts { passed: number("passed")?, failed: number("failed")?, skipped: number("ignored")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Check that the counts of a result line are read, and that other lines are none.
    #[test]
    fn reads_result_lines() {
        let line = "test result: FAILED. 55 passed; 2 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.80s";
        assert_eq!(result_line(line), Some(Counts { passed: 55, failed: 2, skipped: 1 }));
        assert_eq!(result_line("test kernel::btf::tests::reads ... ok"), None);
    }
}
