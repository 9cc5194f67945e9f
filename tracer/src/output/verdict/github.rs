//! Annotations for GitHub Actions: one workflow command per violated rule, and one for incomplete evidence.

use std::io::{self, Write};

use super::words::{headline, rule_lines};
use crate::policy::{Outcome, State, Verdict};
use crate::text::{escape_str, sentence};

/// Writes a verdict as workflow commands.
///
/// # Errors
/// When it cannot be written.
pub fn github(verdict: &Verdict, out: &mut dyn Write) -> io::Result<()> {
    for rule in &verdict.rules {
        let level = match rule.state {
            State::Violated | State::Unmet { .. } | State::Undetermined { .. } => "error",
            State::Skipped { .. } => "notice",
            State::Held | State::Unused | State::Expired | State::NotRun { .. } => continue,
        };
        let file = property(&rule.rule.place.file);
        let line = rule.rule.place.line;
        let title = property(&format!("kmodtrace: {}", escape_str(&rule.rule.name)));
        let message = data(&rule_lines(rule).join("\n"));
        writeln!(out, "::{level} file={file},line={line},title={title}::{message}")?;
    }
    if verdict.outcome == Outcome::Error {
        let reasons: Vec<String> = verdict.undetermined.iter().map(|reason| sentence(reason)).collect();
        let message = data(&format!("{}\n{}", headline(verdict), reasons.join("\n")));
        writeln!(out, "::error title={}::{message}", property("kmodtrace: incomplete evidence"))?;
    }
    if verdict.outcome == Outcome::Skipped {
        let why = verdict.rules.first().map(rule_lines).unwrap_or_default();
        let message = data(&format!("{}\n{}", headline(verdict), why.join("\n")));
        writeln!(out, "::warning title={}::{message}", property("kmodtrace: skipped"))?;
    }
    Ok(())
}

/// Escapes the message of a command. `##[` anywhere in a line would be a command in the old syntax.
fn data(text: &str) -> String {
    text.replace("##[", "\\x23\\x23[").replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::github;
    use crate::{output::verdict::samples, policy::Verdict};

    fn text(verdict: &Verdict) -> String {
        let mut out = Vec::new();
        github(verdict, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    /// An annotation has file and line of the rule, and its message names the cause.
    #[test]
    fn github_verdict_with_every_state_is_annotated() {
        assert_eq!(text(&samples::mixed()), include_str!("mixed.github"));
    }

    proptest! {
        /// Hostile names add no lines, properties or commands.
        #[test]
        fn github_hostile_names_are_escaped(verdict in samples::hostile()) {
            for line in text(&verdict).lines() {
                let rest = line.strip_prefix("::error ").or_else(|| line.strip_prefix("::notice "));
                let rest = rest.unwrap();
                let (properties, _) = rest.split_once("::").unwrap();
                for property in properties.split(',') {
                    let (key, value) = property.split_once('=').unwrap();
                    prop_assert!(["file", "line", "title"].contains(&key) && !value.contains(':'), "{}", line);
                }
                prop_assert!(!line.contains("##["), "{}", line);
            }
        }
    }
}
