//! The engine: events in, one verdict out. All verbs with a policy use it.

use std::io;

use jiff::{Timestamp, civil::Date, tz::TimeZone};

use super::{
    decide::Decision,
    expect::{self, Kernel},
    field::Fields,
    file::Action,
    host::{CachedKernel, Hosts},
    load::DEFAULT_RULE,
    rule::{Place, Policy, Rule},
    subject::Subject,
    undetermined::UndeterminedReasons,
    verdict::{Counts, Finding, Outcome, RuleVerdict, State, Verdict},
};
use crate::{
    chain::{Chain, Item},
    event::{Body, Event},
    select::Match,
    stream::{Consumer, Issue, Severity, StreamInfo},
};

/// Maximum number of findings kept for each rule; `watch` may run for months.
const FINDINGS_LIMIT: usize = 1000;

/// The findings of a rule.
#[derive(Debug, Default)]
struct Tally {
    findings: Vec<Finding>,
    more: u64,
}

/// Judges streams of events.
#[derive(Debug)]
pub struct Judge {
    policy: Policy,
    /// The fields that its rules test.
    fields: Fields,
    /// For each rule, and for the default at the end.
    tallies: Vec<Tally>,
    counts: Counts,
    undetermined: UndeterminedReasons,
    /// The observations of each host and boot for expectations.
    hosts: Hosts,
    /// Violations that were not returned yet.
    news: Vec<Finding>,
    day: Day,
    last_day: Option<Date>,
}

/// The day of a time (UTC), kept: nearly all times of a capture are of the same.
#[derive(Debug, Default)]
struct Day(Option<(i128, Date)>);

impl Day {
    fn of(&mut self, time: Timestamp) -> Date {
        const DAY_NS: i128 = 24 * 60 * 60 * 1_000_000_000;
        let number = time.as_nanosecond().div_euclid(DAY_NS);
        match self.0 {
            Some((known, date)) if known == number => date,
            _ => {
                let date = time.to_zoned(TimeZone::UTC).date();
                self.0 = Some((number, date));
                date
            }
        }
    }
}

impl Judge {
    /// Creates a judge.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        let tallies = (0..=policy.rules.len()).map(|_| Tally::default()).collect();
        Self {
            hosts: Hosts::new(policy.rules.iter().any(|rule| rule.action == Action::Expect)),
            fields: policy.rules.iter().flat_map(Rule::fields).fold(Fields::default(), Fields::with),
            policy,
            tallies,
            counts: Counts::default(),
            undetermined: UndeterminedReasons::default(),
            news: Vec::new(),
            day: Day::default(),
            last_day: None,
        }
    }

    /// Notes an out-of-scope event: an unattributed load may be in scope.
    pub fn out_of_scope(&mut self, event: &Event) {
        self.undetermined.out_of_scope(event);
    }

    /// Notes a reason why the verdict is undetermined.
    pub fn add_undetermined(&mut self, reason: &str) {
        self.undetermined.add("", reason);
    }

    /// The violations since the last call.
    pub fn take_news(&mut self) -> Vec<Finding> {
        std::mem::take(&mut self.news)
    }

    fn chain(&mut self, chain: &Chain, source: &str) {
        Subject::for_each(chain, &mut |subject| self.subject(&subject, source));
    }

    fn subject(&mut self, subject: &Subject<'_>, source: &str) {
        let field_values = subject.field_values(self.fields);
        let is_load = subject.module.is_some();
        let day = self.day.of(subject.link.time);
        *if is_load { &mut self.counts.loads } else { &mut self.counts.unloaded_requests } += 1;

        for (number, rule) in self.policy.rules.iter().enumerate() {
            if rule.action == Action::Expect && rule.is_in_force(day) && rule.matches(&field_values) == Match::Yes {
                if expect::is_met(rule, subject) {
                    self.hosts.met(number);
                } else {
                    self.hosts.near_miss(number, || Finding::of(subject, Action::Expect));
                }
            }
        }

        let decision = self.policy.decide(&field_values, is_load, day);
        let action = self.policy.action(&decision, is_load);
        match &decision {
            Decision::Undetermined(rules) => {
                for number in rules {
                    let Some(rule) = self.policy.rules.get(*number) else { continue };
                    let module = subject.module.map(|module| &module.load.module);
                    let what = module.or_else(|| Some(&subject.link.request.as_ref()?.name));
                    let fields = rule.open_fields(&field_values).join(" and ");
                    let what = what.map_or_else(|| "a request".to_owned(), |name| format!("{name:?}"));
                    let reason = format!(
                        "it is unknown whether rule {:?} applies to {what}: its {fields} was not seen in full",
                        rule.name
                    );
                    self.undetermined.add(source, &reason);
                }
                return;
            }
            Decision::Default | Decision::Rule(_) => {}
        }
        let is_default = decision == Decision::Default;
        let number = if let Decision::Rule(number) = decision { number } else { self.policy.rules.len() };
        let has_room = self.tallies.get(number).is_some_and(|tally| tally.findings.len() < FINDINGS_LIMIT);
        let is_news = action == Action::Deny && self.news.len() < FINDINGS_LIMIT;
        // Most are counted only.
        let finding = (has_room || is_news).then(|| {
            let expired = self.policy.expired(&field_values, day).filter(|_| is_default && action == Action::Deny);
            Finding { expired: expired.map(str::to_owned), ..Finding::of(subject, action) }
        });
        match action {
            Action::Allow | Action::Expect => self.counts.allowed += 1,
            Action::Ignore => self.counts.ignored += 1,
            Action::Deny => {
                self.counts.denied += 1;
                if is_news {
                    self.news.extend(finding.clone());
                }
            }
        }
        if let Some(tally) = self.tallies.get_mut(number) {
            if has_room {
                tally.findings.extend(finding);
            } else {
                tally.more += 1;
            }
        }
    }

    /// Returns the verdict. The kernel is only queried for unmet expectations.
    #[must_use]
    pub fn finish(self, kernel: &dyn Kernel) -> Verdict {
        let Self { policy, tallies, mut counts, undetermined, mut hosts, last_day, .. } = self;
        let mut undetermined = undetermined.finish();
        hosts.finish();
        let kernel = CachedKernel::new(kernel);
        let default = default_rule(&policy);
        let mut rules = Vec::new();
        for (number, (rule, tally)) in policy.rules.into_iter().chain([default]).zip(tallies).enumerate() {
            let state = match rule.action {
                Action::Expect => hosts.state(number, &rule, &kernel),
                _ => state(&rule, &tally, last_day.is_some_and(|day| !rule.is_in_force(day))),
            };
            match &state {
                State::Unmet { .. } => counts.unmet += 1,
                State::Skipped { .. } => counts.skipped += 1,
                State::Undetermined { why } => {
                    undetermined.push(format!("it is unknown whether rule {:?} could be met: {why}", rule.name));
                }
                _ => {}
            }
            rules.push(RuleVerdict { rule, state, findings: tally.findings, more: tally.more });
        }
        let outcome = match (undetermined.is_empty(), counts.denied + counts.unmet) {
            (false, _) => Outcome::Error,
            (true, 0) => Outcome::Holds,
            (true, _) => Outcome::Violated,
        };
        Verdict { policy: policy.file, outcome, undetermined, rules, counts }
    }
}

impl Consumer for Judge {
    fn event(&mut self, event: &Event, stream: &StreamInfo) -> io::Result<()> {
        let day = self.day.of(event.time);
        self.hosts.select(stream);
        self.hosts.day(day);
        if let Body::Baseline(baseline) = &event.body {
            self.hosts.baseline(&baseline.modules);
        }
        self.last_day = Some(day);
        Ok(())
    }

    fn item(&mut self, item: &Item, stream: &StreamInfo) -> io::Result<()> {
        if let Item::Chain(chain) = item {
            self.hosts.select(stream);
            self.chain(chain, &stream.source);
        }
        Ok(())
    }

    fn issue(&mut self, issue: &Issue) {
        if issue.kind.severity() > Severity::Note {
            self.undetermined.issue(issue);
        }
    }
}

/// The verdict if nothing was run.
#[must_use]
pub fn skipped(policy: Policy, why: &str) -> Verdict {
    let default = default_rule(&policy);
    let not_run =
        |rule| RuleVerdict { rule, state: State::NotRun { why: why.to_owned() }, findings: Vec::new(), more: 0 };
    Verdict {
        policy: policy.file,
        outcome: Outcome::Skipped,
        undetermined: Vec::new(),
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

/// The state of a rule that is not an expectation.
fn state(rule: &Rule, tally: &Tally, has_ended: bool) -> State {
    let is_denied = tally.findings.iter().any(|finding| finding.action == Action::Deny);
    match rule.action {
        _ if is_denied => State::Violated,
        _ if has_ended && tally.findings.is_empty() => State::Expired,
        // A deny rule holds if it matched nothing.
        Action::Deny => State::Held,
        Action::Allow | Action::Ignore | Action::Expect if tally.findings.is_empty() => State::Unused,
        Action::Allow | Action::Ignore | Action::Expect => State::Held,
    }
}
