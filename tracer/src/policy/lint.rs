//! What is doubtful in a policy that can be read.

use jiff::civil::Date;

use super::{
    expect::{Kernel, Lookup},
    field::Field,
    file::Action,
    rule::{Place, Policy, Rule},
};

/// Something doubtful.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lint {
    /// Where.
    pub place: Place,
    /// What kind: `unreachable`, `expired`, `unknown-module`, `unknown-alias` or `never-fails`.
    pub kind: &'static str,
    /// What and why.
    pub message: String,
}

/// Looks for rules that cannot matter, have ended, or name what this kernel does not have.
#[must_use]
pub fn lint(policy: &Policy, today: Date, kernel: &dyn Kernel) -> Vec<Lint> {
    let mut lints = Vec::new();
    for (number, rule) in policy.rules.iter().enumerate() {
        let mut add = |kind, message: &str| {
            lints.push(Lint { place: rule.place.clone(), kind, message: format!("rule {:?} {message}", rule.name) });
        };
        let earlier = policy.rules.iter().take(number);
        if let Some(by) = earlier.into_iter().find(|earlier| hides(earlier, rule)) {
            add("unreachable", &format!("never decides: rule {:?} ({}) matches all that it does", by.name, by.place));
        }
        if let Some(last) = rule.expires.filter(|last| *last < today) {
            let counts = match rule.action {
                Action::Deny => "and counts all the same: a prohibition ends only when its rule is removed",
                Action::Allow | Action::Ignore | Action::Expect => "and does not count any more",
            };
            add("expired", &format!("expired on {last}, {counts}"));
        }
        for name in rule.literals(Field::Module) {
            if kernel.look_up(name) == Lookup::Missing {
                add("unknown-module", &format!("names the module {name:?}, which this kernel does not have"));
            }
        }
        // What is forbidden need not exist, and what is wanted not to be found must not.
        if rule.action == Action::Expect && rule.patterns(Field::Result).is_none() {
            for name in rule.literals(Field::Alias) {
                if kernel.look_up(name) == Lookup::Missing {
                    add(
                        "unknown-alias",
                        &format!("expects something of the alias {name:?}, which no module of this kernel provides"),
                    );
                }
            }
        }
    }
    let can_fail = policy.rules.iter().any(|rule| matches!(rule.action, Action::Deny | Action::Expect));
    if policy.default == Action::Allow && policy.default_unloaded == Action::Allow && !can_fail {
        lints.push(Lint {
            place: Place { file: policy.file.clone(), line: 1, column: 1 },
            kind: "never-fails",
            message: "nothing can violate this policy: it denies nothing and expects nothing".to_owned(),
        });
    }
    lints
}

/// Whether an earlier rule decides all that a later one could. An expectation is still an expectation when another
/// rule decides, and a rule that ends gives way.
fn hides(earlier: &Rule, later: &Rule) -> bool {
    let outlives = earlier.action == Action::Deny
        || earlier.expires.is_none()
        || (later.expires.is_some() && earlier.expires >= later.expires);
    let is_superfluous = later.action != Action::Expect || earlier.action == Action::Deny;
    outlives && is_superfluous && earlier.holds(later)
}
