//! The results of a round of scenarios.

use std::fmt;
use std::time::Duration;

use kmodtrace_tests::protocol::{Counts, Outcome, Status};

/// The results of one kernel line.
#[derive(Debug)]
pub(crate) struct Report {
    /// The line.
    pub(crate) kernel: &'static str,
    /// The outcome of each scenario, in the order in which they ended.
    pub(crate) outcomes: Vec<Outcome>,
    /// Other problems with the results.
    pub(crate) problems: Vec<String>,
    /// Descriptions of failed boots.
    pub(crate) evidence: Vec<String>,
    /// Number of boots.
    pub(crate) boots: usize,
    /// Number of guests that continued from a stored one.
    pub(crate) restores: usize,
    /// Time until the agent started, for each boot.
    pub(crate) boot_ms: Vec<u64>,
    /// Total duration.
    pub(crate) took: Duration,
}

impl Report {
    /// An empty report.
    pub(super) fn new(kernel: &'static str) -> Self {
        Self {
            kernel,
            outcomes: Vec::new(),
            problems: Vec::new(),
            evidence: Vec::new(),
            boots: 0,
            restores: 0,
            boot_ms: Vec::new(),
            took: Duration::ZERO,
        }
    }

    /// Scenarios by status.
    pub(crate) fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for outcome in &self.outcomes {
            counts.add(outcome.status);
        }
        counts
    }

    /// Names of the scenarios that failed.
    pub(crate) fn failed(&self) -> impl Iterator<Item = &str> {
        let failed = self.outcomes.iter().filter(|outcome| outcome.status == Status::Failed);
        failed.map(|outcome| outcome.name.as_str())
    }

    /// Whether there are no failures, problems or failed boots.
    pub(crate) fn is_good(&self) -> bool {
        self.problems.is_empty() && self.evidence.is_empty() && self.counts().failed == 0
    }
}

/// One line for a scenario, printed when it ends.
pub(crate) fn outcome_line(kernel: &str, outcome: &Outcome) -> String {
    let status = match outcome.status {
        Status::Passed => "ok     ",
        Status::Failed => "FAILED ",
        Status::Skipped => "skipped",
    };
    let seconds = outcome.duration_ms / 1000;
    let tenths = outcome.duration_ms % 1000 / 100;
    let reason = if outcome.status == Status::Skipped { format!(": {}", outcome.reason) } else { String::new() };
    format!("{status} {kernel:<9} {} ({seconds}.{tenths} s){reason}", outcome.name)
}

impl fmt::Display for Report {
    /// Prints failures in full, then the counts.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for outcome in self.outcomes.iter().filter(|outcome| outcome.status == Status::Failed) {
            writeln!(out, "\n{} on {} failed:\n{}", outcome.name, self.kernel, indent(&outcome.reason))?;
            if !outcome.output.is_empty() {
                writeln!(out, "output:\n{}", indent(&outcome.output))?;
            }
        }
        for problem in &self.problems {
            writeln!(out, "\nproblem on {}: {problem}", self.kernel)?;
        }
        for evidence in &self.evidence {
            writeln!(out, "\na guest with {} failed:\n{}", self.kernel, indent(evidence))?;
        }
        let Counts { passed, failed, skipped } = self.counts();
        let slowest_ms = self.boot_ms.iter().max().copied().unwrap_or_default();
        write!(
            out,
            "{}: {passed} passed, {failed} failed, {skipped} skipped, {} problems; {} boots (slowest {}.{} s), {} restored, {} s",
            self.kernel,
            self.problems.len() + self.evidence.len(),
            self.boots,
            slowest_ms / 1000,
            slowest_ms % 1000 / 100,
            self.restores,
            self.took.as_secs()
        )
    }
}

fn indent(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(|line| format!("  {line}")).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(status: Status) -> Outcome {
        Outcome { name: "outage".into(), status, reason: "why".into(), duration_ms: 1234, output: "what".into() }
    }

    /// A failure, a problem or a failed boot makes the report bad.
    #[test]
    fn any_problem_makes_report_bad() {
        let mut report = Report::new("6.1");
        report.outcomes.push(outcome(Status::Passed));
        assert!(report.is_good());
        report.problems.push("x".into());
        assert!(!report.is_good());
        report.problems.clear();
        report.evidence.push("x".into());
        assert!(!report.is_good());
        report.evidence.clear();
        report.outcomes.push(outcome(Status::Failed));
        assert!(!report.is_good());
    }

    /// A failure is shown with reason and output; a pass is only counted.
    #[test]
    fn failures_are_shown_in_full() {
        let mut report = Report::new("6.1");
        report.outcomes = vec![outcome(Status::Failed), outcome(Status::Passed)];
        let text = report.to_string();
        assert!(text.contains("outage on 6.1 failed:\n  why\noutput:\n  what"), "{text}");
        assert!(text.contains("1 passed, 1 failed, 0 skipped, 0 problems"), "{text}");
        assert!(outcome_line("6.1", &outcome(Status::Skipped)).ends_with("outage (1.2 s): why"));
    }
}
