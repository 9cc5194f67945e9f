//! What a round of scenarios came to.

use std::fmt;
use std::time::Duration;

use kmodtrace_tests::protocol::{Counts, Outcome, Status};

/// The results of one kernel line.
#[derive(Debug)]
pub(crate) struct Report {
    /// The line.
    pub(crate) kernel: &'static str,
    /// How each scenario ended, in the order in which they did.
    pub(crate) outcomes: Vec<Outcome>,
    /// What else is wrong with the results.
    pub(crate) problems: Vec<String>,
    /// What was kept of boots that went wrong, ready to be shown.
    pub(crate) evidence: Vec<String>,
    /// How many guests were booted.
    pub(crate) boots: usize,
    /// How long each took until its agent ran.
    pub(crate) boot_ms: Vec<u64>,
    /// How long all of it took.
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

    /// Whether nothing at all is wrong.
    pub(crate) fn is_good(&self) -> bool {
        self.problems.is_empty() && self.evidence.is_empty() && self.counts().failed == 0
    }
}

/// One line for a scenario, as it is shown while the others still run.
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
    /// Failures with all that is known of them, then the counts.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for outcome in self.outcomes.iter().filter(|outcome| outcome.status == Status::Failed) {
            writeln!(out, "\n{} on {} failed:\n{}", outcome.name, self.kernel, indent(&outcome.reason))?;
            if !outcome.output.is_empty() {
                writeln!(out, "what it did:\n{}", indent(&outcome.output))?;
            }
        }
        for problem in &self.problems {
            writeln!(out, "\nproblem on {}: {problem}", self.kernel)?;
        }
        for evidence in &self.evidence {
            writeln!(out, "\na guest with {} went wrong:\n{}", self.kernel, indent(evidence))?;
        }
        let Counts { passed, failed, skipped } = self.counts();
        let slowest_ms = self.boot_ms.iter().max().copied().unwrap_or_default();
        write!(
            out,
            "{}: {passed} passed, {failed} failed, {skipped} skipped, {} problems; {} boots (slowest {}.{} s), {} s",
            self.kernel,
            self.problems.len() + self.evidence.len(),
            self.boots,
            slowest_ms / 1000,
            slowest_ms % 1000 / 100,
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

    /// Only a report without failures, problems and evidence is good.
    #[test]
    fn one_blemish_is_enough() {
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

    /// A failure shows its reason and its output, a pass only counts.
    #[test]
    fn shows_failures_whole() {
        let mut report = Report::new("6.1");
        report.outcomes = vec![outcome(Status::Failed), outcome(Status::Passed)];
        let text = report.to_string();
        assert!(text.contains("outage on 6.1 failed:\n  why\nwhat it did:\n  what"), "{text}");
        assert!(text.contains("1 passed, 1 failed, 0 skipped, 0 problems"), "{text}");
        assert!(outcome_line("6.1", &outcome(Status::Skipped)).ends_with("outage (1.2 s): why"));
    }
}
