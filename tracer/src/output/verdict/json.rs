//! A verdict as one JSON object. Names that are not UTF-8 have an additional hex field, as in events.

use std::io::{self, Write};

use serde::Serialize;

use crate::{
    chain::ChainKey,
    event::{Process, Text},
    output,
    policy::{Counts, Finding, Outcome, RuleVerdict, State, Verdict},
};

/// Version of this format.
const VERDICT_VERSION: u32 = 1;

#[derive(Serialize)]
struct VerdictJson<'a> {
    verdict: u32,
    policy: &'a str,
    outcome: Outcome,
    counts: Counts,
    not_seen: &'a [String],
    rules: Vec<Rule<'a>>,
}

#[derive(Serialize)]
struct Rule<'a> {
    name: &'a str,
    action: &'a str,
    file: &'a str,
    line: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    state: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    skip_reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'a str>,
    findings: Vec<Found<'a>>,
    findings_not_shown: u64,
}

#[derive(Serialize)]
struct Found<'a> {
    action: &'a str,
    time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    module: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    module_hex: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    alias: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    alias_hex: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    explanation: Option<&'a str>,
    result: &'a str,
    origin: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    process: Option<&'a Process>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expired_rule: Option<&'a str>,
}

/// Writes a verdict as one line of JSON.
///
/// # Errors
/// When it cannot be written.
pub fn json(verdict: &Verdict, out: &mut dyn Write) -> io::Result<()> {
    let json = VerdictJson {
        verdict: VERDICT_VERSION,
        policy: &verdict.policy,
        outcome: verdict.outcome,
        counts: verdict.counts,
        not_seen: &verdict.undetermined,
        rules: verdict.rules.iter().map(rule).collect(),
    };
    out.write_all(output::json(&json)?.as_bytes())?;
    out.write_all(b"\n")
}

fn rule(verdict: &RuleVerdict) -> Rule<'_> {
    let (state, skip_reason, why) = match &verdict.state {
        State::Held => ("held", None, None),
        State::Unused => ("unused", None, None),
        State::Violated => ("violated", None, None),
        State::Unmet { why } => ("unmet", None, Some(why.as_str())),
        State::Undetermined { why } => ("unknown", None, Some(why.as_str())),
        State::Skipped { skip_reason, why } => ("skipped", Some(skip_reason.name()), Some(why.as_str())),
        State::Expired => ("expired", None, None),
        State::NotRun { why } => ("not-run", None, Some(why.as_str())),
    };
    Rule {
        name: &verdict.rule.name,
        action: verdict.rule.action.name(),
        file: &verdict.rule.place.file,
        line: verdict.rule.place.line,
        reason: verdict.rule.reason.as_deref(),
        state,
        skip_reason,
        why,
        findings: verdict.findings.iter().map(found).collect(),
        findings_not_shown: verdict.more,
    }
}

fn found(finding: &Finding) -> Found<'_> {
    Found {
        action: finding.action.name(),
        time: finding.time.to_string(),
        request: match finding.link {
            ChainKey::Request(id) => Some(id.to_string()),
            ChainKey::Loader(_) => None,
        },
        module: finding.module.as_ref().map(Text::field),
        module_hex: finding.module.as_ref().and_then(Text::hex),
        alias: finding.alias.as_ref().map(Text::field),
        alias_hex: finding.alias.as_ref().and_then(Text::hex),
        explanation: finding.explanation.as_deref(),
        result: finding.status.name(),
        origin: finding.origin.name(),
        process: finding.requester.as_ref().map(|requester| &requester.process),
        expired_rule: finding.expired.as_deref(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::json;
    use crate::output::verdict::samples;

    proptest! {
        /// A verdict is one line with its outcome and all rules, even with hostile names.
        #[test]
        fn json_verdict_is_one_line(verdict in samples::hostile()) {
            let mut out = Vec::new();
            json(&verdict, &mut out).unwrap();
            let text = String::from_utf8(out).unwrap();
            prop_assert_eq!(text.lines().count(), 1);
            let value: serde_json::Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(&value["outcome"], verdict.outcome.name());
            prop_assert_eq!(value["rules"].as_array().unwrap().len(), verdict.rules.len());
        }
    }
}
