//! `policy test`: runs the test cases of a policy.

use jiff::civil::Date;

use super::{
    decide::Decision,
    file::Action,
    load::DEFAULT_RULE,
    rule::{Case, Place, Policy},
};

/// The result of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CaseResult {
    /// The description of the case.
    pub name: String,
    /// Its position in the file.
    pub place: Place,
    /// The failure; absent if the rules decide as expected.
    pub failure: Option<String>,
}

impl Policy {
    /// Runs every case, on the given day unless the case has its own.
    #[must_use]
    pub fn run_cases(&self, today: Date) -> Vec<CaseResult> {
        let result = |case: &Case| CaseResult {
            name: case.name.clone(),
            place: case.place.clone(),
            failure: self.case_failure(case, case.date.unwrap_or(today)),
        };
        self.cases.iter().map(result).collect()
    }

    fn case_failure(&self, case: &Case, day: Date) -> Option<String> {
        let decision = self.decide(&case.field_values, case.is_load, day);
        let rule = match &decision {
            Decision::Rule(number) => self.rules.get(*number)?.name.as_str(),
            Decision::Default => DEFAULT_RULE,
            Decision::Undetermined(_) => {
                return Some("no rule decides: a key that a rule tests is missing from the case".to_owned());
            }
        };
        let action = self.action(&decision, case.is_load);
        // An expected load is also allowed.
        let is_wanted = action == case.want || (case.want == Action::Allow && action == Action::Expect);
        if !is_wanted {
            return Some(format!("expected {}, but rule {rule:?} decides {}", case.want.name(), action.name()));
        }
        let other = case.rule.as_deref().filter(|wanted| *wanted != rule);
        other.map(|wanted| format!("expected rule {wanted:?} to decide, but rule {rule:?} does"))
    }
}
