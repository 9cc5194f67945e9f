//! Rules and policies after parsing.

use jiff::civil::Date;

use super::{
    field::{Field, FieldValues},
    file::{Action, SkipReason},
    pattern::PatternSet,
};
use crate::select::Match;

/// A position in a policy file.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[non_exhaustive]
pub struct Place {
    /// The file, as given.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1, in characters.
    pub column: usize,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// A rule.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Its unique name in the policy.
    pub name: String,
    /// Its action.
    pub action: Action,
    /// Its position in the file.
    pub place: Place,
    /// Why it exists.
    pub reason: Option<String>,
    /// Its last day.
    pub expires: Option<Date>,
    /// For `expect`: the reasons for which it is skipped.
    pub skip: Vec<SkipReason>,
    /// The patterns that must all match.
    pub(super) tests: Vec<(Field, PatternSet)>,
}

impl Rule {
    /// Whether the rule matches. A field that does not match decides; unknown values leave it undetermined.
    pub(super) fn matches(&self, field_values: &FieldValues) -> Match {
        self.tests.iter().map(|(field, patterns)| patterns.test(field_values.get(*field))).min().unwrap_or(Match::Yes)
    }

    /// The fields that it tests.
    pub(super) fn fields(&self) -> impl Iterator<Item = Field> {
        self.tests.iter().map(|(field, _)| *field)
    }

    /// The fields because of which the result is undetermined.
    pub(super) fn open_fields(&self, field_values: &FieldValues) -> Vec<&'static str> {
        let is_open =
            |(field, patterns): &&(Field, PatternSet)| patterns.test(field_values.get(*field)) == Match::Maybe;
        self.tests.iter().filter(is_open).map(|(field, _)| field.name()).collect()
    }

    /// Whether it applies on a day. A deny rule never expires: that would be a silent pass.
    pub(super) fn is_in_force(&self, day: Date) -> bool {
        self.action == Action::Deny || self.expires.is_none_or(|last| day <= last)
    }

    /// The patterns of a field.
    pub(super) fn patterns(&self, field: Field) -> Option<&PatternSet> {
        self.tests.iter().find(|(own, _)| *own == field).map(|(_, patterns)| patterns)
    }

    /// Names of a field that the rule wants literally.
    pub(super) fn literals(&self, field: Field) -> impl Iterator<Item = &str> {
        self.patterns(field).into_iter().flat_map(PatternSet::literals)
    }

    /// Whether this rule certainly matches everything that the other one matches.
    pub(super) fn subsumes(&self, other: &Self) -> bool {
        self.tests.iter().all(|(field, ours)| other.patterns(*field).is_some_and(|theirs| ours.subsumes(theirs)))
    }

    /// A one-line description: `deny module=nf_*,!nf_tables origin=request`.
    pub(super) fn describe(action: Action, tests: &[(Field, PatternSet)]) -> String {
        let tests: Vec<String> = tests.iter().map(|(field, patterns)| format!("{}={patterns}", field.name())).collect();
        if tests.is_empty() {
            format!("{} everything", action.name())
        } else {
            format!("{} {}", action.name(), tests.join(" "))
        }
    }
}

/// A test case: a made-up load or request, and what the rules must decide.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its description.
    pub name: String,
    /// Its position in the file.
    pub place: Place,
    pub(super) want: Action,
    pub(super) rule: Option<String>,
    pub(super) field_values: FieldValues,
    /// Whether it is a load, not a request that loaded nothing.
    pub(super) is_load: bool,
    pub(super) date: Option<Date>,
}

/// A validated policy.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Policy {
    /// The file, as given.
    pub file: String,
    /// The rules, in order.
    pub rules: Vec<Rule>,
    /// The action for a module that no rule matches.
    pub default: Action,
    /// The action for a request that loaded nothing and that no rule matches.
    pub default_unloaded: Action,
    /// The test cases of `policy test`.
    pub cases: Vec<Case>,
}
