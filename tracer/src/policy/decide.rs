//! The decision about one load or request. Pure.

use jiff::civil::Date;

use super::{field::FieldValues, file::Action, rule::Policy};
use crate::select::Match;

/// The source of a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// A rule, by number.
    Rule(usize),
    /// The policy's default.
    Default,
    /// These rules may match, and that would change the result.
    Undetermined(Vec<usize>),
}

/// The effect of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    Fine,
    Against,
    Ignored,
}

const fn effect(action: Action) -> Effect {
    match action {
        Action::Allow | Action::Expect => Effect::Fine,
        Action::Deny => Effect::Against,
        Action::Ignore => Effect::Ignored,
    }
}

impl Policy {
    /// The first matching rule decides. A rule that may match is only relevant if its effect differs from that of the
    /// decision.
    pub(super) fn decide(&self, field_values: &FieldValues, is_load: bool, day: Date) -> Decision {
        let mut open = Vec::new();
        let mut decision = Decision::Default;
        for (number, rule) in self.rules.iter().enumerate().filter(|(_, rule)| rule.is_in_force(day)) {
            match rule.matches(field_values) {
                Match::No => {}
                Match::Maybe => open.push(number),
                Match::Yes => {
                    decision = Decision::Rule(number);
                    break;
                }
            }
        }
        let decided = effect(self.action(&decision, is_load));
        open.retain(|number| self.rules.get(*number).is_some_and(|rule| effect(rule.action) != decided));
        if open.is_empty() { decision } else { Decision::Undetermined(open) }
    }

    /// The action of a decision. An undetermined one counts as the worst.
    pub(super) fn action(&self, decision: &Decision, is_load: bool) -> Action {
        match decision {
            Decision::Rule(number) => self.rules.get(*number).map_or(Action::Deny, |rule| rule.action),
            Decision::Default if is_load => self.default,
            Decision::Default => self.default_unloaded,
            Decision::Undetermined(_) => Action::Deny,
        }
    }

    /// The first rule that would match if it had not expired.
    pub(super) fn expired(&self, field_values: &FieldValues, day: Date) -> Option<&str> {
        let ended = self.rules.iter().filter(|rule| !rule.is_in_force(day));
        ended.filter(|rule| rule.matches(field_values) == Match::Yes).map(|rule| rule.name.as_str()).next()
    }
}
