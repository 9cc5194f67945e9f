//! JUnit XML: one suite per policy, one case for the evidence and one per rule.

use std::io::{self, Write};

use quick_xml::{
    Writer,
    events::{BytesDecl, BytesText, Event},
};

use super::words::{EVIDENCE, headline, rule_lines, skip_words};
use crate::policy::{Outcome, RuleVerdict, State, Verdict};
use crate::text::{escape_str, sentence};

/// Result of a case.
enum Ending {
    Passed,
    Failure { kind: &'static str, lines: Vec<String> },
    Error { lines: Vec<String> },
    Skipped { why: String },
}

/// Writes a verdict as JUnit XML.
///
/// # Errors
/// When it cannot be written.
pub fn junit(verdict: &Verdict, out: &mut dyn Write) -> io::Result<()> {
    let policy = escape_str(&verdict.policy);
    let cases: Vec<(String, Ending)> = std::iter::once((EVIDENCE.to_owned(), evidence(verdict)))
        .chain(verdict.rules.iter().map(|rule| (escape_str(&rule.rule.name), ending(rule))))
        .collect();
    let counted = |is: fn(&Ending) -> bool| cases.iter().filter(|(_, ending)| is(ending)).count().to_string();
    let counts = [
        ("tests", cases.len().to_string()),
        ("failures", counted(|ending| matches!(ending, Ending::Failure { .. }))),
        ("errors", counted(|ending| matches!(ending, Ending::Error { .. }))),
        ("skipped", counted(|ending| matches!(ending, Ending::Skipped { .. }))),
    ];
    let attributes = || counts.iter().map(|(key, value)| (*key, value.as_str()));

    let mut writer = Writer::new_with_indent(out, b' ', 2);
    writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    let suites = writer.create_element("testsuites").with_attribute(("name", "kmodtrace"));
    suites.with_attributes(attributes()).write_inner_content(|writer| {
        let suite = writer.create_element("testsuite").with_attribute(("name", policy.as_str()));
        suite.with_attributes(attributes()).write_inner_content(|writer| {
            cases.iter().try_for_each(|(name, ending)| case(writer, &policy, name, ending))
        })?;
        Ok(())
    })?;
    writer.into_inner().write_all(b"\n")
}

fn case(writer: &mut Writer<&mut dyn Write>, policy: &str, name: &str, ending: &Ending) -> io::Result<()> {
    let case = writer.create_element("testcase").with_attributes([("classname", policy), ("name", name)]);
    let (element, kind, lines) = match ending {
        Ending::Passed => {
            case.write_empty()?;
            return Ok(());
        }
        Ending::Failure { kind, lines } => ("failure", Some(*kind), lines.clone()),
        Ending::Error { lines } => ("error", Some("evidence"), lines.clone()),
        Ending::Skipped { why } => ("skipped", None, vec![why.clone()]),
    };
    case.write_inner_content(|writer| {
        let message = lines.first().map_or("", String::as_str);
        let mut element = writer.create_element(element).with_attribute(("message", message));
        if let Some(kind) = kind {
            element = element.with_attribute(("type", kind));
        }
        if kind.is_some() {
            element.write_text_content(BytesText::new(&lines.join("\n")))?;
        } else {
            element.write_empty()?;
        }
        Ok(())
    })?;
    Ok(())
}

fn evidence(verdict: &Verdict) -> Ending {
    if verdict.outcome == Outcome::Skipped {
        return Ending::Skipped { why: "not run".to_owned() };
    }
    if verdict.undetermined.is_empty() {
        return Ending::Passed;
    }
    let reasons = verdict.undetermined.iter().map(|reason| sentence(reason));
    Ending::Error { lines: std::iter::once(headline(verdict)).chain(reasons).collect() }
}

fn ending(verdict: &RuleVerdict) -> Ending {
    match &verdict.state {
        State::Held | State::Unused => Ending::Passed,
        State::Violated => Ending::Failure { kind: "denied", lines: rule_lines(verdict) },
        State::Unmet { .. } => Ending::Failure { kind: "expected", lines: rule_lines(verdict) },
        State::Undetermined { .. } => Ending::Error { lines: rule_lines(verdict) },
        State::Skipped { skip_reason, why } => Ending::Skipped { why: skip_words(*skip_reason, why) },
        State::Expired => Ending::Skipped { why: "expired".to_owned() },
        State::NotRun { why } => Ending::Skipped { why: escape_str(why) },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use quick_xml::{Reader, events::Event};

    use super::junit;
    use crate::{output::verdict::samples, policy::Verdict};

    fn text(verdict: &Verdict) -> String {
        let mut out = Vec::new();
        junit(verdict, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    /// Failed cases have a message that names the cause.
    #[test]
    fn junit_verdict_with_every_state_is_written() {
        assert_eq!(text(&samples::mixed()), include_str!("mixed.xml"));
    }

    proptest! {
        /// The document is well-formed and hostile names add no elements.
        #[test]
        fn junit_hostile_names_are_escaped(verdict in samples::hostile()) {
            let text = text(&verdict);
            let allowed = |c: char| matches!(c, '\n' | '\u{20}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
            prop_assert!(text.chars().all(allowed), "{:?}", text);
            let mut reader = Reader::from_str(&text);
            let mut elements = Vec::new();
            loop {
                match reader.read_event().unwrap() {
                    Event::Start(element) | Event::Empty(element) => {
                        for attribute in element.attributes() {
                            attribute.unwrap();
                        }
                        elements.push(element.name().as_ref().to_owned());
                    }
                    Event::Eof => break,
                    _ => {}
                }
            }
            let count = |name: &str| elements.iter().filter(|element| *element == name).count();
            prop_assert_eq!((count("testsuites"), count("testsuite")), (1, 1));
            prop_assert_eq!(count("testcase"), verdict.rules.len() + 1);
            prop_assert_eq!(count("failure"), verdict.rules.iter().filter(|rule| rule.is_violated()).count());
            prop_assert_eq!(count("error"), usize::from(!verdict.undetermined.is_empty()));
        }
    }
}
