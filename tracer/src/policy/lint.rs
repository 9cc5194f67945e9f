//! Lints for valid policies.

use jiff::civil::Date;

use super::{
    expect::{Kernel, Lookup},
    field::Field,
    file::Action,
    hidden::{COMPARISONS_MAX, Earlier, TooMany},
    pattern::PatternSet,
    rule::{Place, Policy, Rule},
    value::FieldValue,
};
use crate::{
    event::{Origin, Status},
    select::Match,
};

/// The lint of a rule that can match nothing.
pub(super) const NEVER_MATCHES: &str = "never-matches";

/// The lint of a policy that cannot be violated.
pub const NEVER_FAILS: &str = "never-fails";

/// A lint.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lint {
    /// The position.
    pub place: Place,
    /// The kind: `never-matches`, `unreachable`, `not-compared`, `expired`, `unknown-module`, `unknown-alias` or
    /// `never-fails`.
    pub kind: &'static str,
    /// The message.
    pub message: String,
}

/// Finds rules that have no effect, have expired, or name something that this kernel does not have.
#[must_use]
pub fn lint(policy: &Policy, today: Date, kernel: &dyn Kernel) -> Vec<Lint> {
    let mut lints = Vec::new();
    let mut earlier = Some(Earlier::default());
    for (number, rule) in policy.rules.iter().enumerate() {
        let mut add = |kind, message: &str| {
            lints.push(Lint { place: rule.place.clone(), kind, message: format!("rule {:?} {message}", rule.name) });
        };
        if let Some(why) = contradiction(rule) {
            add(NEVER_MATCHES, why);
        }
        match earlier.as_mut().map(|earlier| earlier.hiding(rule, &policy.rules)) {
            Some(Ok(Some(by))) => {
                add(
                    "unreachable",
                    &format!("never decides: rule {:?} ({}) matches everything that it matches", by.name, by.place),
                );
            }
            Some(Err(TooMany)) => {
                add(
                    "not-compared",
                    &format!(
                        "and the rules after it were not compared with earlier rules: more than {COMPARISONS_MAX} \
                         comparisons would be needed"
                    ),
                );
                earlier = None;
            }
            Some(Ok(None)) | None => {}
        }
        if let Some(earlier) = &mut earlier {
            earlier.add(number, rule);
        }
        if let Some(last) = rule.expires.filter(|last| *last < today) {
            let counts = match rule.action {
                Action::Deny => "but still applies: a deny rule never expires",
                Action::Allow | Action::Ignore | Action::Expect => "and no longer applies",
            };
            add("expired", &format!("expired on {last} {counts}"));
        }
        for name in rule.literals(Field::Module) {
            if kernel.look_up(name) == Lookup::Missing {
                add("unknown-module", &format!("names the module {name:?}, which this kernel does not have"));
            }
        }
        // A denied module need not exist, and one that is expected to be not found must not.
        if rule.action == Action::Expect && rule.patterns(Field::Result).is_none() {
            for name in rule.literals(Field::Alias) {
                if kernel.look_up(name) == Lookup::Missing {
                    add(
                        "unknown-alias",
                        &format!("expects the alias {name:?}, which no module of this kernel provides"),
                    );
                }
            }
        }
    }
    let can_fail = policy.rules.iter().any(|rule| matches!(rule.action, Action::Deny | Action::Expect));
    if policy.default == Action::Allow && policy.default_unloaded == Action::Allow && !can_fail {
        lints.push(Lint {
            place: Place { file: policy.file.clone(), line: 1, column: 1 },
            kind: NEVER_FAILS,
            message: "the policy can never be violated: it denies nothing and expects nothing".to_owned(),
        });
    }
    lints
}

/// Why no load or request can match all keys of a rule.
fn contradiction(rule: &Rule) -> Option<&'static str> {
    let lacks = |field: Field, values: &[&str]| {
        let is_wanted = |set: &PatternSet| values.iter().any(|value| set.test(&FieldValue::is(*value)) == Match::Yes);
        rule.patterns(field).is_some_and(|set| !is_wanted(set))
    };
    let wants = |field| rule.patterns(field).is_some_and(PatternSet::wants_a_value);
    let (loaded, failed, unknown) = (Status::Loaded.name(), Status::Failed.name(), Status::Unknown.name());
    if wants(Field::Module) && lacks(Field::Result, &[loaded, failed, unknown]) {
        return Some("never matches: only the results `loaded` and `failed` have a module");
    }
    let asks = wants(Field::Alias) || wants(Field::Family);
    if asks && lacks(Field::Origin, &[Origin::Request.name(), Origin::Unknown.name()]) {
        return Some("never matches: only the origin `request` has an alias");
    }
    None
}
