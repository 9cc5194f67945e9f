//! The engine: events in, one verdict out. It serves every verb that takes a policy.

use std::{collections::BTreeSet, io};

use jiff::{civil::Date, tz::TimeZone};

use super::{
    decide::Decision,
    doubts::Doubts,
    expect::{self, Kernel},
    file::Action,
    load::DEFAULT_RULE,
    rule::{Place, Policy, Rule},
    subject::Subject,
    verdict::{Counts, Finding, Outcome, RuleVerdict, State, Verdict},
};
use crate::{
    chain::{Chain, Item},
    event::{Body, Event},
    select::Match,
    stream::{Consumer, Issue, Severity, StreamInfo},
};

/// Findings that are kept of each rule; a watch may last for months.
const FINDINGS_LIMIT: usize = 1000;

/// What a rule has seen.
#[derive(Debug, Default)]
struct Tally {
    findings: Vec<Finding>,
    more: u64,
    /// For an expectation: it happened.
    is_met: bool,
    /// The last that matched and did not do.
    near: Option<Finding>,
}

/// Judges streams of events.
#[derive(Debug)]
pub struct Judge {
    policy: Policy,
    /// Of each rule, and of the default at the end.
    tallies: Vec<Tally>,
    counts: Counts,
    doubts: Doubts,
    /// Modules that were there before.
    baseline: BTreeSet<String>,
    /// What is against the policy and was not told yet.
    news: Vec<Finding>,
    last_day: Option<Date>,
}

impl Judge {
    /// A judge that has seen nothing.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        let tallies = (0..=policy.rules.len()).map(|_| Tally::default()).collect();
        Self {
            policy,
            tallies,
            counts: Counts::default(),
            doubts: Doubts::default(),
            baseline: BTreeSet::new(),
            news: Vec::new(),
            last_day: None,
        }
    }

    /// Takes note of an event outside of what is judged: a load that is attributed to nothing may belong to it.
    pub fn out_of_scope(&mut self, event: &Event) {
        self.doubts.out_of_scope(event);
    }

    /// Takes note of something that was not seen.
    pub fn doubt(&mut self, doubt: &str) {
        self.doubts.add("", doubt);
    }

    /// What is against the policy since this was asked last.
    pub fn take_news(&mut self) -> Vec<Finding> {
        std::mem::take(&mut self.news)
    }

    fn chain(&mut self, chain: &Chain, source: &str) {
        Subject::each(chain, &mut |subject| self.subject(&subject, source));
    }

    fn subject(&mut self, subject: &Subject<'_>, source: &str) {
        let facts = subject.facts();
        let is_load = subject.module.is_some();
        let day = subject.link.time.to_zoned(TimeZone::UTC).date();
        *if is_load { &mut self.counts.loads } else { &mut self.counts.unloaded_requests } += 1;

        for (rule, tally) in self.policy.rules.iter().zip(&mut self.tallies) {
            if rule.action == Action::Expect && rule.is_in_force(day) && rule.matches(&facts) == Match::Yes {
                if expect::is_met(rule, subject) {
                    tally.is_met = true;
                } else {
                    tally.near = Some(Finding::of(subject, Action::Expect));
                }
            }
        }

        let decision = self.policy.decide(&facts, is_load, day);
        let action = self.policy.action(&decision, is_load);
        let mut finding = Finding::of(subject, action);
        match &decision {
            Decision::Open(rules) => {
                for number in rules {
                    let Some(rule) = self.policy.rules.get(*number) else { continue };
                    let what = finding.module.as_ref().or(finding.alias.as_ref());
                    let fields = rule.open_fields(&facts).join(" and ");
                    let what = what.map_or_else(|| "a request".to_owned(), |name| format!("{name:?}"));
                    let doubt = format!(
                        "whether rule {:?} is about {what} is unknown: its {fields} was not seen in full",
                        rule.name
                    );
                    self.doubts.add(source, &doubt);
                }
                return;
            }
            Decision::Default => {
                finding.expired =
                    self.policy.expired(&facts, day).filter(|_| action == Action::Deny).map(str::to_owned);
            }
            Decision::Rule(_) => {}
        }
        match action {
            Action::Allow | Action::Expect => self.counts.allowed += 1,
            Action::Ignore => self.counts.ignored += 1,
            Action::Deny => {
                self.counts.denied += 1;
                if self.news.len() < FINDINGS_LIMIT {
                    self.news.push(finding.clone());
                }
            }
        }
        let number = if let Decision::Rule(number) = decision { number } else { self.policy.rules.len() };
        if let Some(tally) = self.tallies.get_mut(number) {
            if tally.findings.len() < FINDINGS_LIMIT {
                tally.findings.push(finding);
            } else {
                tally.more += 1;
            }
        }
    }

    /// Gives the verdict. What the kernel has is asked only for expectations that were not met.
    #[must_use]
    pub fn finish(self, kernel: &dyn Kernel) -> Verdict {
        let Self { policy, tallies, mut counts, doubts, baseline, last_day, .. } = self;
        let mut doubts = doubts.finish();
        let default = default_rule(&policy);
        let mut rules = Vec::new();
        for (rule, tally) in policy.rules.into_iter().chain([default]).zip(tallies) {
            let has_ended = last_day.is_some_and(|day| !rule.is_in_force(day));
            let state = state(&rule, &tally, has_ended, &baseline, kernel);
            match &state {
                State::Unmet { .. } => counts.unmet += 1,
                State::Skipped { .. } => counts.skipped += 1,
                State::Open { why } => {
                    doubts.push(format!("whether rule {:?} could be met is not known: {why}", rule.name));
                }
                _ => {}
            }
            rules.push(RuleVerdict { rule, state, findings: tally.findings, more: tally.more });
        }
        let outcome = match (doubts.is_empty(), counts.denied + counts.unmet) {
            (false, _) => Outcome::Error,
            (true, 0) => Outcome::Holds,
            (true, _) => Outcome::Violated,
        };
        Verdict { policy: policy.file, outcome, doubts, rules, counts }
    }
}

impl Consumer for Judge {
    fn event(&mut self, event: &Event, _: &StreamInfo) -> io::Result<()> {
        if let Body::Baseline(baseline) = &event.body {
            self.baseline.extend(baseline.modules.iter().cloned());
        }
        self.last_day = Some(event.time.to_zoned(TimeZone::UTC).date());
        Ok(())
    }

    fn item(&mut self, item: Item, stream: &StreamInfo) -> io::Result<()> {
        if let Item::Chain(chain) = &item {
            self.chain(chain, &stream.source);
        }
        Ok(())
    }

    fn issue(&mut self, issue: &Issue) {
        if issue.kind.severity() > Severity::Note {
            self.doubts.issue(issue);
        }
    }
}

/// The verdict where nothing was done.
#[must_use]
pub fn skipped(policy: Policy, why: &str) -> Verdict {
    let default = default_rule(&policy);
    let not_run =
        |rule| RuleVerdict { rule, state: State::NotRun { why: why.to_owned() }, findings: Vec::new(), more: 0 };
    Verdict {
        policy: policy.file,
        outcome: Outcome::Skipped,
        doubts: Vec::new(),
        rules: policy.rules.into_iter().chain([default]).map(not_run).collect(),
        counts: Counts::default(),
    }
}

fn default_rule(policy: &Policy) -> Rule {
    Rule {
        name: DEFAULT_RULE.to_owned(),
        action: policy.default,
        place: Place { file: policy.file.clone(), line: 1, column: 1 },
        reason: None,
        expires: None,
        skip: Vec::new(),
        tests: Vec::new(),
    }
}

fn state(rule: &Rule, tally: &Tally, has_ended: bool, baseline: &BTreeSet<String>, kernel: &dyn Kernel) -> State {
    let is_denied = tally.findings.iter().any(|finding| finding.action == Action::Deny);
    match rule.action {
        _ if is_denied => State::Violated,
        Action::Expect if tally.is_met => State::Held,
        _ if has_ended && tally.findings.is_empty() => State::Expired,
        Action::Expect => expect::unmet(rule, tally.near.as_ref(), baseline, kernel),
        // A prohibition holds when nothing was forbidden.
        Action::Deny => State::Held,
        Action::Allow | Action::Ignore if tally.findings.is_empty() => State::Unused,
        Action::Allow | Action::Ignore => State::Held,
    }
}
