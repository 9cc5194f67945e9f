//! KTAP version 1: one test for the evidence and one per rule, with the decisions of a rule as subtests.
//!
//! See Documentation/dev-tools/ktap.rst in the kernel source.

use std::{
    fmt::{self, Write},
    io,
};

use super::words::{EVIDENCE, finding_lines, headline, rule_lines, skip_words, subject};
use crate::policy::{Action, Finding, Outcome, RuleVerdict, State, Verdict};
use crate::text::{escape_str, sentence};

/// Writes a verdict as KTAP.
///
/// # Errors
/// When it cannot be written.
pub fn ktap(verdict: &Verdict, out: &mut dyn io::Write) -> io::Result<()> {
    out.write_all(text(verdict).as_bytes())
}

fn text(verdict: &Verdict) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = report(verdict, &mut text);
    text
}

fn report(verdict: &Verdict, out: &mut String) -> fmt::Result {
    writeln!(out, "KTAP version 1\n1..{}", verdict.rules.len() + 1)?;
    comment(out, "", &headline(verdict))?;
    for reason in &verdict.undetermined {
        comment(out, "", &format!("undetermined: {}", sentence(reason)))?;
    }
    let skip = (verdict.outcome == Outcome::Skipped).then_some("not run");
    result(out, "", verdict.undetermined.is_empty(), 1, EVIDENCE, skip)?;
    for (number, rule) in (2..).zip(&verdict.rules) {
        test(out, number, rule)?;
    }
    Ok(())
}

fn test(out: &mut String, number: usize, verdict: &RuleVerdict) -> fmt::Result {
    let title = escape_str(&verdict.rule.name);
    if !verdict.findings.is_empty() {
        nested(out, &title, &verdict.findings)?;
    }
    let skip = match &verdict.state {
        State::Unused => Some("nothing matched".to_owned()),
        State::Expired => Some("expired".to_owned()),
        State::Skipped { skip_reason, why } => Some(skip_words(*skip_reason, why)),
        State::NotRun { why } => Some(escape_str(why)),
        State::Held | State::Violated | State::Unmet { .. } | State::Undetermined { .. } => None,
    };
    let is_fine = !verdict.is_violated() && !matches!(verdict.state, State::Undetermined { .. });
    if !is_fine {
        for line in rule_lines(verdict) {
            comment(out, "", &line)?;
        }
    }
    result(out, "", is_fine, number, &title, skip.as_deref())
}

fn nested(out: &mut String, title: &str, findings: &[Finding]) -> fmt::Result {
    const INDENT: &str = "    ";
    writeln!(out, "{INDENT}KTAP version 1")?;
    writeln!(out, "{INDENT}# Subtest: {}", plain(title))?;
    writeln!(out, "{INDENT}1..{}", findings.len())?;
    for (number, finding) in (1..).zip(findings) {
        let is_fine = finding.action != Action::Deny;
        if !is_fine {
            for line in finding_lines([finding]) {
                comment(out, INDENT, &line)?;
            }
        }
        let ignored = (finding.action == Action::Ignore).then_some("ignored by the policy");
        result(out, INDENT, is_fine, number, &subject(finding), ignored)?;
    }
    Ok(())
}

fn result(
    out: &mut String,
    indent: &str,
    is_fine: bool,
    number: usize,
    title: &str,
    skip: Option<&str>,
) -> fmt::Result {
    let ok = if is_fine { "ok" } else { "not ok" };
    write!(out, "{indent}{ok} {number} {}", plain(title))?;
    if let Some(why) = skip {
        write!(out, " # SKIP {}", plain(why))?;
    }
    out.write_char('\n')
}

/// A diagnostic line. Its prefix prevents it from being parsed as a directive.
fn comment(out: &mut String, indent: &str, line: &str) -> fmt::Result {
    writeln!(out, "{indent}# kmodtrace: {}", plain(line))
}

/// Escapes `#`, which starts a directive, and a leading `-`, which parsers drop.
fn plain(text: &str) -> String {
    let text = text.replace('#', "\\x23");
    match text.strip_prefix('-') {
        Some(rest) => format!("\\x2d{rest}"),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::text;
    use crate::output::verdict::samples;

    /// Every state of a rule has its result line and diagnostics.
    #[test]
    fn ktap_verdict_with_every_state_is_written() {
        assert_eq!(text(&samples::mixed()), include_str!("mixed.ktap"));
    }

    /// Parses a result line as the kernel's parser does: ok, number, name without `#`, directive.
    fn result(line: &str) -> Option<(bool, usize, &str, Option<&str>)> {
        let (is_ok, rest) = match line.strip_prefix("not ok ") {
            Some(rest) => (false, rest),
            None => (true, line.strip_prefix("ok ")?),
        };
        let (number, rest) = rest.split_once(' ')?;
        let (name, directive) = match rest.split_once(" # ") {
            Some((name, directive)) => (name, Some(directive)),
            None => (rest, None),
        };
        assert!(!name.contains('#'), "{line}");
        Some((is_ok, number.parse().ok()?, name, directive))
    }

    proptest! {
        /// Hostile names do not add, hide or change results.
        #[test]
        fn ktap_hostile_names_are_escaped(verdict in samples::hostile()) {
            let text = text(&verdict);
            let mut top = Vec::new();
            let mut planned = 0;
            let mut inner = Vec::new();
            for line in text.lines().skip(2) {
                if let Some(line) = line.strip_prefix("    ") {
                    if let Some(plan) = line.strip_prefix("1..") {
                        planned += plan.parse::<usize>().unwrap();
                    } else if !line.starts_with('#') && line != "KTAP version 1" {
                        inner.push(result(line).unwrap().0);
                    }
                } else if !line.starts_with("# kmodtrace: ") {
                    let (is_ok, number, _, _) = result(line).unwrap();
                    top.push(is_ok);
                    prop_assert_eq!(number, top.len());
                }
            }
            prop_assert_eq!(inner.len(), planned);
            let wanted: Vec<bool> = std::iter::once(verdict.undetermined.is_empty())
                .chain(verdict.rules.iter().map(|rule| !rule.is_violated()))
                .collect();
            prop_assert_eq!(top, wanted);
            let denied = verdict.rules.iter().flat_map(|rule| &rule.findings);
            let denied: Vec<bool> = denied.map(|finding| finding.action != crate::policy::Action::Deny).collect();
            prop_assert_eq!(inner, denied);
        }
    }
}
