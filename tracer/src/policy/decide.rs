//! The decision on one load or request: pure.

use jiff::civil::Date;

use super::{field::Facts, file::Action, rule::Policy};
use crate::select::Match;

/// Who decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// A rule, by its number.
    Rule(usize),
    /// The policy's default.
    Default,
    /// These rules may or may not match, and it matters.
    Open(Vec<usize>),
}

/// What a decision comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Fine,
    Against,
    Nothing,
}

const fn class(action: Action) -> Class {
    match action {
        Action::Allow | Action::Expect => Class::Fine,
        Action::Deny => Class::Against,
        Action::Ignore => Class::Nothing,
    }
}

impl Policy {
    /// The first rule that matches decides. One that may match, for all that was seen, matters only when it would
    /// decide otherwise than what follows.
    pub(super) fn decide(&self, facts: &Facts, is_load: bool, day: Date) -> Decision {
        let mut open = Vec::new();
        let mut decision = Decision::Default;
        for (number, rule) in self.rules.iter().enumerate().filter(|(_, rule)| rule.is_in_force(day)) {
            match rule.matches(facts) {
                Match::No => {}
                Match::Maybe => open.push(number),
                Match::Yes => {
                    decision = Decision::Rule(number);
                    break;
                }
            }
        }
        let decided = class(self.action(&decision, is_load));
        open.retain(|number| self.rules.get(*number).is_some_and(|rule| class(rule.action) != decided));
        if open.is_empty() { decision } else { Decision::Open(open) }
    }

    /// What a decision does. An open one counts as the worst.
    pub(super) fn action(&self, decision: &Decision, is_load: bool) -> Action {
        match decision {
            Decision::Rule(number) => self.rules.get(*number).map_or(Action::Deny, |rule| rule.action),
            Decision::Default if is_load => self.default,
            Decision::Default => self.default_unloaded,
            Decision::Open(_) => Action::Deny,
        }
    }

    /// The first rule that would match if it had not ended.
    pub(super) fn expired(&self, facts: &Facts, day: Date) -> Option<&str> {
        let ended = self.rules.iter().filter(|rule| !rule.is_in_force(day));
        ended.filter(|rule| rule.matches(facts) == Match::Yes).map(|rule| rule.name.as_str()).next()
    }
}
