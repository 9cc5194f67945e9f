//! The summary of a test run: results of the host and of each kernel, and the command that repeats failed tests.

use std::fmt;

use crate::vm::Counts;

/// Maximum number of failed tests that a line names.
const NAMED: usize = 8;

/// One part of a run: the tests of the host, or those of one kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    name: String,
    counts: Counts,
    failed: Vec<String>,
    problems: Vec<String>,
    repeat: String,
}

impl Part {
    /// A part without results. `repeat` is the command that repeats it.
    pub(super) fn new(name: impl Into<String>, repeat: impl Into<String>) -> Self {
        let (failed, problems) = (Vec::new(), Vec::new());
        Self { name: name.into(), counts: Counts::default(), failed, problems, repeat: repeat.into() }
    }

    /// Adds results. `failed` names failed tests, which are included in `counts`.
    pub(super) fn count(&mut self, counts: Counts, failed: impl IntoIterator<Item = String>) {
        self.counts.passed += counts.passed;
        self.counts.failed += counts.failed;
        self.counts.skipped += counts.skipped;
        self.failed.extend(failed);
    }

    /// Adds a problem outside the tests. It counts as one more failure.
    pub(super) fn problem(&mut self, reason: &str) {
        self.counts.failed += 1;
        // The complete message was printed when it happened.
        self.problems.push(reason.lines().next().unwrap_or_default().trim_end_matches(':').to_owned());
    }

    /// Sets the command that repeats the failed tests.
    pub(super) fn repeat_with(&mut self, command: impl Into<String>) {
        self.repeat = command.into();
    }

    /// Numbers of passed, failed and skipped tests.
    pub(super) const fn counts(&self) -> Counts {
        self.counts
    }
}

impl fmt::Display for Part {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts { passed, failed, skipped } = self.counts;
        write!(out, "{:<10} {passed} passed, {failed} failed, {skipped} skipped", self.name)?;
        if failed == 0 {
            return Ok(());
        }
        let named: Vec<&str> = self.failed.iter().take(NAMED).map(String::as_str).collect();
        if !named.is_empty() {
            write!(out, ": {}", named.join(", "))?;
        }
        if let more @ 1.. = self.failed.len().saturating_sub(NAMED) {
            write!(out, " and {more} more")?;
        }
        for problem in &self.problems {
            write!(out, "\n{:<10} {problem}", "")?;
        }
        write!(out, "\n{:<10} repeat with: {}", "", self.repeat)
    }
}

/// All parts of a run.
#[derive(Clone, Debug, Default)]
pub(super) struct Summary {
    parts: Vec<Part>,
}

impl Summary {
    /// Adds a finished part.
    pub(super) fn push(&mut self, part: Part) {
        self.parts.push(part);
    }

    fn total(&self) -> Counts {
        self.parts.iter().fold(Counts::default(), |sum, part| Counts {
            passed: sum.passed + part.counts.passed,
            failed: sum.failed + part.counts.failed,
            skipped: sum.skipped + part.counts.skipped,
        })
    }

    /// Whether anything passed or failed.
    pub(super) fn has_results(&self) -> bool {
        self.total().passed + self.total().failed > 0
    }

    /// Whether nothing failed.
    pub(super) fn is_good(&self) -> bool {
        self.total().failed == 0
    }
}

impl fmt::Display for Summary {
    /// One or more lines for each part, then the totals on the last line.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in &self.parts {
            writeln!(out, "{part}")?;
        }
        let Counts { passed, failed, skipped } = self.total();
        write!(out, "\n{passed} passed, {failed} failed, {skipped} skipped")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(name: &str, passed: usize, failed: usize) -> Part {
        let mut part = Part::new(name, format!("cargo xtask test --kernel {name}"));
        part.count(Counts { passed, failed, skipped: 1 }, (0..failed).map(|n| format!("scenario-{n}")));
        part
    }

    fn shown(parts: &[Part]) -> Vec<String> {
        let summary = Summary { parts: parts.to_vec() };
        summary.to_string().lines().map(str::to_owned).collect()
    }

    /// A passed part is one line, and the totals are on the last line.
    #[test]
    fn passed_parts_are_one_line_each() {
        let lines = shown(&[part("host", 1200, 0), part("6.1", 140, 0)]);
        assert_eq!(lines[0], "host       1200 passed, 0 failed, 1 skipped");
        assert_eq!(lines[1], "6.1        140 passed, 0 failed, 1 skipped");
        assert_eq!(lines[2..], ["", "1340 passed, 0 failed, 2 skipped"]);
    }

    /// An untested kernel fails the run with a reason and a command, and does not hide other kernels.
    #[test]
    fn untested_kernel_fails_the_run() {
        let mut lost = Part::new("6.12", "cargo xtask vm fetch --kernel 6.12");
        lost.problem("not tested: no mirror has the suite trixie:\nhttp://a.example/debian: a page of text");
        let parts = [part("6.1", 140, 0), lost, part("7", 3, 0)];
        let lines = shown(&parts);
        assert_eq!(
            lines[1..5],
            [
                "6.12       0 passed, 1 failed, 0 skipped",
                "           not tested: no mirror has the suite trixie",
                "           repeat with: cargo xtask vm fetch --kernel 6.12",
                "7          3 passed, 0 failed, 1 skipped",
            ]
        );
        assert_eq!(lines.last().unwrap(), "143 passed, 1 failed, 2 skipped");
        assert!(!Summary { parts: parts.to_vec() }.is_good());
    }

    /// Failed scenarios are named up to a limit, and another problem counts as one more failure.
    #[test]
    fn failures_are_named() {
        let mut bad = part("6.1", 5, NAMED + 2);
        bad.problem("storm: no result");
        let lines = shown(&[bad]);
        assert!(lines[0].starts_with("6.1        5 passed, 11 failed, 1 skipped: scenario-0, "), "{}", lines[0]);
        assert!(lines[0].ends_with("scenario-7 and 2 more"), "{}", lines[0]);
        assert_eq!(lines[1], "           storm: no result");
        assert_eq!(lines.last().unwrap(), "5 passed, 11 failed, 1 skipped");
    }

    /// A run with only skips has no results; a run with only failures has.
    #[test]
    fn skips_are_no_results() {
        assert!(!Summary { parts: vec![part("6.1", 0, 0)] }.has_results());
        assert!(Summary { parts: vec![part("6.1", 0, 1)] }.has_results());
    }
}
