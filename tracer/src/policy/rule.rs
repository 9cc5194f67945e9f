//! Rules as the engine takes them.

use jiff::civil::Date;

use super::{
    field::{Facts, Field},
    file::{Action, Excuse},
    pattern::PatternSet,
};
use crate::select::Match;

/// Where something stands in a policy file.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize)]
pub struct Place {
    /// The file, as it was named.
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
    /// Its name: unique in its policy.
    pub name: String,
    /// What it does.
    pub action: Action,
    /// Where it stands.
    pub place: Place,
    /// Why it is there.
    pub reason: Option<String>,
    /// Its last day.
    pub expires: Option<Date>,
    /// For `expect`: what skips it.
    pub skip: Vec<Excuse>,
    /// All of these must match.
    pub(super) tests: Vec<(Field, PatternSet)>,
}

impl Rule {
    /// Whether the rule matches. The first field that does not settles it; what is not known leaves it open.
    pub(super) fn matches(&self, facts: &Facts) -> Match {
        self.tests.iter().map(|(field, patterns)| patterns.test(facts.get(*field))).min().unwrap_or(Match::Yes)
    }

    /// The fields that it asks about.
    pub(super) fn fields(&self) -> impl Iterator<Item = Field> {
        self.tests.iter().map(|(field, _)| *field)
    }

    /// The fields that leave open whether it matches.
    pub(super) fn open_fields(&self, facts: &Facts) -> Vec<&'static str> {
        let is_open = |(field, patterns): &&(Field, PatternSet)| patterns.test(facts.get(*field)) == Match::Maybe;
        self.tests.iter().filter(is_open).map(|(field, _)| field.name()).collect()
    }

    /// Whether it still counts on that day. A prohibition never ends by itself: that would be a silent pass.
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

    /// True when whatever the other rule matches is certain to be matched by this one.
    pub(super) fn holds(&self, other: &Self) -> bool {
        self.tests.iter().all(|(field, ours)| other.patterns(*field).is_some_and(|theirs| ours.holds(theirs)))
    }

    /// What it asks for, in one line: `deny module=nf_*,!nf_tables origin=request`.
    pub(super) fn describe(action: Action, tests: &[(Field, PatternSet)]) -> String {
        let tests: Vec<String> = tests.iter().map(|(field, patterns)| format!("{}={patterns}", field.name())).collect();
        if tests.is_empty() {
            format!("{} everything", action.name())
        } else {
            format!("{} {}", action.name(), tests.join(" "))
        }
    }
}

/// A made-up load or request, and what the rules must say of it.
#[derive(Clone, Debug)]
pub struct Case {
    /// What it shows.
    pub name: String,
    /// Where it stands.
    pub place: Place,
    pub(super) want: Action,
    pub(super) rule: Option<String>,
    pub(super) facts: Facts,
    /// A load, not a request that loaded nothing.
    pub(super) is_load: bool,
    pub(super) date: Option<Date>,
}

/// A checked policy.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The file it was read from, as it was named.
    pub file: String,
    /// The rules in order.
    pub rules: Vec<Rule>,
    /// What becomes of a module that no rule matches.
    pub default: Action,
    /// What becomes of a request that loaded nothing and that no rule matches.
    pub default_unloaded: Action,
    /// What `policy test` runs.
    pub cases: Vec<Case>,
}
