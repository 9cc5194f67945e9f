//! A verdict as a human-readable summary.

use super::words::{finding_lines, headline, rule_lines};
use crate::policy::{DEFAULT_RULE, Finding, Outcome, State, Verdict};
use crate::text::{escape_str, sentence};

/// The verdict in a few lines: the outcome, then each rule with findings.
#[must_use]
pub fn summary(verdict: &Verdict) -> Vec<String> {
    let mut lines = vec![headline(verdict)];
    for reason in &verdict.undetermined {
        lines.push(format!("  undetermined: {}", sentence(reason)));
    }
    if let (Outcome::Skipped, Some(rule)) = (verdict.outcome, verdict.rules.first()) {
        lines.extend(rule_lines(rule).into_iter().map(|line| format!("  {line}")));
    }
    for rule in &verdict.rules {
        let what = match &rule.state {
            State::Violated | State::Unmet { .. } => "violated",
            State::Undetermined { .. } => "unknown",
            State::Skipped { .. } => "skipped",
            State::Expired => "expired",
            State::Held | State::Unused | State::NotRun { .. } => continue,
        };
        let name = escape_str(&rule.rule.name);
        lines.push(if rule.rule.name == DEFAULT_RULE {
            format!("  {what}: no rule allows this, and the policy's default is to deny")
        } else {
            format!("  {what}: rule \"{name}\" ({}:{})", escape_str(&rule.rule.place.file), rule.rule.place.line)
        });
        lines.extend(rule_lines(rule).into_iter().map(|line| format!("    {line}")));
    }
    lines
}

/// Violations as they happen.
#[must_use]
pub fn news(findings: &[Finding]) -> Vec<String> {
    finding_lines(findings).into_iter().map(|line| format!("policy violated: {line}")).collect()
}
