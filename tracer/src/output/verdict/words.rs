//! Text for findings and rules, shared by all verdict formats.

use std::collections::BTreeMap;

use super::super::words::{comm_pid, command};
use crate::text::{alias as alias_name, argument, count, escape_str, module as module_name, name};
use crate::{
    chain::ChainKey,
    event::{Origin, ProcessId},
    policy::{Action, Finding, Requester, RuleVerdict, SkipReason, StartedBy, State, Verdict},
};

/// Name of the test for the evidence, in formats with tests.
pub(super) const EVIDENCE: &str = "evidence";

/// Test name of a finding: stable between runs, so that a CI system can track it.
pub(super) fn subject(finding: &Finding) -> String {
    let by = finding.requester.as_ref().map_or_else(|| "unknown requester".to_owned(), identity);
    match (&finding.module, &finding.alias) {
        (Some(module), Some(alias)) => format!("{} for {} by {by}", module_name(module), alias_name(alias)),
        (Some(module), None) => format!("{} by {by}", module_name(module)),
        (None, Some(alias)) => format!("request for {} by {by}", alias_name(alias)),
        (None, None) => format!("request by {by}"),
    }
}

/// The requester without process ids, which change between runs.
fn identity(requester: &Requester) -> String {
    match (&requester.behalf, &requester.process.exe) {
        (Some((comm, _)), _) => name(comm),
        (None, Some(exe)) => argument(exe),
        (None, None) => name(&requester.process.comm),
    }
}

/// The requester: its command line and the script or process that ran it.
fn requester(finding: &Finding) -> String {
    let Some(requester) = &finding.requester else { return "unknown requester".to_owned() };
    if let Some((comm, pid)) = &requester.behalf {
        return format!("{} through the kernel thread {}", comm_pid(comm, *pid), name(&requester.process.comm));
    }
    let by = requester.started_by().map(|by| match by {
        StartedBy::Script(script, Some(line)) => format!("{}:{line}", argument(script)),
        StartedBy::Script(script, None) => argument(script),
        StartedBy::Parent(parent) => comm_pid(&parent.comm, parent.pid),
    });
    let by = by.map(|by| format!(" run by {by}")).unwrap_or_default();
    if requester.process.kthread {
        return format!("kernel thread {}", comm_pid(&requester.process.comm, requester.process.pid));
    }
    format!("`{}`{by}", command(&requester.process))
}

/// The findings of one requester, shown as one line.
#[derive(Debug)]
struct FindingGroup<'a> {
    first: &'a Finding,
    modules: Vec<&'a Finding>,
}

/// The requester of a group: a process, or a chain if its requester is unknown.
type GroupKey = Result<ProcessId, ChainKey>;

/// One line per requester: "`ss -tlnp` run by net.sh loaded tcp_diag, inet_diag (asked for ...)".
pub(super) fn finding_lines<'a>(findings: impl IntoIterator<Item = &'a Finding>) -> Vec<String> {
    let mut groups: Vec<FindingGroup<'a>> = Vec::new();
    let mut by_key: BTreeMap<(GroupKey, Option<&str>), usize> = BTreeMap::new();
    for finding in findings {
        let key = finding.requester.as_ref().map(|requester| requester.process.id()).ok_or(finding.key);
        let key = (key, finding.expired.as_deref());
        // Requests that loaded nothing have one line each.
        let known = by_key.get(&key).copied().filter(|_| finding.module.is_some());
        match known.and_then(|index| groups.get_mut(index)) {
            Some(group) => group.modules.push(finding),
            None => {
                if finding.module.is_some() {
                    by_key.insert(key, groups.len());
                }
                let modules = if finding.module.is_some() { vec![finding] } else { Vec::new() };
                groups.push(FindingGroup { first: finding, modules });
            }
        }
    }
    groups.iter().map(FindingGroup::line).collect()
}

impl FindingGroup<'_> {
    fn line(&self) -> String {
        // The line of a script is not always known: prefer a finding that has it.
        let has_line = |finding: &&&Finding| {
            let by = finding.requester.as_ref().and_then(Requester::started_by);
            matches!(by, Some(StartedBy::Script(_, Some(_))))
        };
        let requester = requester(self.modules.iter().find(has_line).copied().unwrap_or(self.first));
        let mut line = if self.modules.is_empty() {
            let alias = self.first.alias.as_ref().map_or_else(|| "a module".to_owned(), alias_name);
            let detail = self.first.detail.as_ref().map(|detail| format!(", {}", escape_str(detail)));
            format!("{requester} asked for {alias}: {}{}", self.first.status.name(), detail.unwrap_or_default())
        } else {
            let modules: Vec<String> =
                self.modules.iter().filter_map(|finding| finding.module.as_ref()).map(module_name).collect();
            format!("{requester} loaded {}", modules.join(", "))
        };
        if !self.modules.is_empty() {
            line.push_str(&self.why());
        }
        if let Some(expired) = &self.first.expired {
            line.push_str(&format!("; rule \"{}\", which allowed it, has expired", escape_str(expired)));
        }
        line
    }

    /// The requested aliases and their explanation.
    fn why(&self) -> String {
        let mut aliases: Vec<String> =
            self.modules.iter().filter_map(|finding| finding.alias.as_ref()).map(alias_name).collect();
        aliases.dedup();
        if aliases.is_empty() {
            return match self.first.origin {
                Origin::Udev => " for a device".to_owned(),
                Origin::Explicit => " explicitly".to_owned(),
                Origin::Request | Origin::Unknown => String::new(),
            };
        }
        let explanation = self.first.explanation.as_ref().map(|words| format!("; {}", escape_str(words)));
        format!(" (asked for {}{})", aliases.join(", "), explanation.unwrap_or_default())
    }
}

/// The findings of a rule and its reason.
pub(super) fn rule_lines(verdict: &RuleVerdict) -> Vec<String> {
    let mut lines = match &verdict.state {
        State::Violated => {
            let denied = verdict.findings.iter().filter(|finding| finding.action == Action::Deny);
            finding_lines(denied)
        }
        State::Unmet { why } => vec![format!("expected, but did not happen: {}", escape_str(why))],
        State::Undetermined { why } => {
            vec![format!("expected, but it is unknown whether it could happen: {}", escape_str(why))]
        }
        State::Skipped { skip_reason, why } => vec![skip_words(*skip_reason, why)],
        State::NotRun { why } => vec![escape_str(why)],
        State::Held | State::Unused | State::Expired => Vec::new(),
    };
    if verdict.more > 0 && verdict.is_violated() {
        lines.push(format!("and {} not shown", count(verdict.more, "load or request", "loads or requests")));
    }
    if let (false, Some(reason)) = (lines.is_empty(), &verdict.rule.reason) {
        lines.push(format!("reason of the rule: {}", escape_str(reason)));
    }
    lines
}

/// `built-in: ext4 is built into the kernel`.
pub(super) fn skip_words(skip_reason: SkipReason, why: &str) -> String {
    format!("{}: {}", skip_reason.name(), escape_str(why))
}

/// The first line: `policy autoload.toml is violated: 5 modules loaded, 2 denied`.
pub(super) fn headline(verdict: &Verdict) -> String {
    let counts = verdict.counts;
    let mut parts = vec![format!("{} loaded", count(counts.loads, "module", "modules"))];
    let mut add = |number: u64, words: &str| {
        if number > 0 {
            parts.push(format!("{number} {words}"));
        }
    };
    add(counts.denied, "denied");
    add(counts.ignored, "ignored");
    add(counts.unmet, if counts.unmet == 1 { "expectation not met" } else { "expectations not met" });
    add(counts.skipped, "skipped");
    let outcome = match verdict.outcome {
        crate::policy::Outcome::Holds => "holds",
        crate::policy::Outcome::Violated => "is violated",
        crate::policy::Outcome::Error => "cannot be judged",
        crate::policy::Outcome::Skipped => "is not judged",
    };
    format!("policy {} {outcome}: {}", escape_str(&verdict.policy), parts.join(", "))
}
