//! Runs the scenarios on each kernel line. A line that cannot be tested fails; the others are still tested.

use anyhow::Result;

use crate::build;
use crate::kernels;
use crate::vm::{self, Guest};

use super::Options;
use super::summary::{Part, Summary};

/// The name of the check of `docs/kernels.md`.
const ATTACH_CHECK: &str = "attach methods match docs/kernels.md";

/// Builds, and runs all rounds.
pub(super) fn run(options: &Options, summary: &mut Summary) {
    let built = build::run();
    if let Err(error) = &built {
        eprintln!("xtask: {error:#}");
    }
    for (kernel, scenarios) in options.rounds() {
        let part = match &built {
            Ok(_) => round(options, &kernel, &scenarios),
            Err(error) => {
                let mut part = Part::new(&kernel, "cargo xtask build");
                part.problem(&format!("not tested: {error:#}"));
                part
            }
        };
        summary.push(part);
    }
}

/// Runs one round. An error ends only this round.
fn round(options: &Options, kernel: &str, scenarios: &[String]) -> Part {
    let mut part = Part::new(kernel, repeat(kernel, &options.scenario));
    let guest = match Guest::prepare(kernel, options.accel) {
        Ok(guest) => guest,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            if vm::is_image_error(&error) {
                part.repeat_with(format!("cargo xtask vm fetch --kernel {kernel}"));
            }
            part.problem(&format!("not tested: {error:#}"));
            return part;
        }
    };
    if let Err(error) = scenarios_on(&guest, options, kernel, scenarios, &mut part) {
        eprintln!("xtask: {error:#}");
        part.problem(&format!("ended early: {error:#}"));
    }
    part
}

fn scenarios_on(guest: &Guest, options: &Options, kernel: &str, scenarios: &[String], part: &mut Part) -> Result<()> {
    let show = |outcome: &vm::Outcome| println!("{}", vm::outcome_line(kernel, outcome));
    let report = guest.run_scenarios(scenarios, options.parallel, &show)?;
    println!("{report}");
    let failed: Vec<String> = report.failed().map(str::to_owned).collect();
    let only_scenarios_failed = report.problems.is_empty() && report.evidence.is_empty();
    if !failed.is_empty() && only_scenarios_failed {
        part.repeat_with(repeat(kernel, &failed));
    }
    part.count(report.counts(), failed);
    // Problems outside the scenarios must not look like a pass.
    if !report.is_good() && report.counts().failed == 0 {
        let first = report.problems.iter().chain(&report.evidence).next();
        part.problem(first.map_or("a guest failed", String::as_str));
    }
    if options.scenario.is_empty() {
        let problems = kernels::check(kernel, guest)?;
        let status = if problems.is_empty() { "ok     " } else { "FAILED " };
        println!("{status} {kernel:<9} {ATTACH_CHECK}");
        problems.iter().for_each(|problem| println!("  {problem}"));
        let counts = vm::Counts {
            passed: usize::from(problems.is_empty()),
            failed: usize::from(!problems.is_empty()),
            skipped: 0,
        };
        part.count(counts, (!problems.is_empty()).then(|| format!("\"{ATTACH_CHECK}\"")));
        if !problems.is_empty() {
            let only = report.is_good().then(|| format!("cargo xtask kernels --kernel {kernel}"));
            part.repeat_with(only.unwrap_or_else(|| repeat(kernel, &[])));
        }
    }
    Ok(())
}

/// The command that repeats these scenarios on one line, or all of them if none is named.
fn repeat(kernel: &str, scenarios: &[String]) -> String {
    let scenarios = scenarios.iter().map(|name| format!(" --scenario {name}"));
    format!("cargo xtask test --kernel {kernel}{}", scenarios.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The command names the kernel and every scenario that failed.
    #[test]
    fn repeat_command_names_failed_scenarios() {
        assert_eq!(repeat("6.12", &[]), "cargo xtask test --kernel 6.12");
        let failed = ["outage".to_owned(), "storm".to_owned()];
        assert_eq!(repeat("6.1", &failed), "cargo xtask test --kernel 6.1 --scenario outage --scenario storm");
    }
}
