//! What is doubtful in a policy that can be read.

use std::collections::HashMap;

use jiff::civil::Date;

use super::{
    expect::{Kernel, Lookup},
    field::Field,
    file::Action,
    pattern::PatternSet,
    rule::{Place, Policy, Rule},
    value::Value,
};
use crate::{
    event::{Origin, Status},
    select::Match,
};

/// Of a rule that can match nothing.
pub(super) const NEVER_MATCHES: &str = "never-matches";

/// Of a policy that nothing can violate.
pub const NEVER_FAILS: &str = "never-fails";

/// Something doubtful.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lint {
    /// Where.
    pub place: Place,
    /// What kind: `never-matches`, `unreachable`, `expired`, `unknown-module`, `unknown-alias` or `never-fails`.
    pub kind: &'static str,
    /// What and why.
    pub message: String,
}

/// Looks for rules that cannot matter, have ended, or name what this kernel does not have.
#[must_use]
pub fn lint(policy: &Policy, today: Date, kernel: &dyn Kernel) -> Vec<Lint> {
    let mut lints = Vec::new();
    let mut earlier = Earlier::default();
    for (number, rule) in policy.rules.iter().enumerate() {
        let mut add = |kind, message: &str| {
            lints.push(Lint { place: rule.place.clone(), kind, message: format!("rule {:?} {message}", rule.name) });
        };
        if let Some(why) = contradiction(rule) {
            add(NEVER_MATCHES, why);
        }
        if let Some(by) = earlier.hiding(rule, &policy.rules) {
            add("unreachable", &format!("never decides: rule {:?} ({}) matches all that it does", by.name, by.place));
        }
        earlier.add(number, rule);
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
            kind: NEVER_FAILS,
            message: "nothing can violate this policy: it denies nothing and expects nothing".to_owned(),
        });
    }
    lints
}

/// Why no load and no request has all that a rule asks for.
fn contradiction(rule: &Rule) -> Option<&'static str> {
    let lacks = |field: Field, values: &[&str]| {
        let is_wanted = |set: &PatternSet| values.iter().any(|value| set.test(&Value::is(*value)) == Match::Yes);
        rule.patterns(field).is_some_and(|set| !is_wanted(set))
    };
    let wants = |field| rule.patterns(field).is_some_and(PatternSet::wants_a_value);
    let (loaded, failed, unknown) = (Status::Loaded.name(), Status::Failed.name(), Status::Unknown.name());
    if wants(Field::Module) && lacks(Field::Result, &[loaded, failed, unknown]) {
        return Some(
            "never matches: a module that arrived is `loaded` or `failed`, and of any other result there is none",
        );
    }
    let asks = wants(Field::Alias) || wants(Field::Family);
    if asks && lacks(Field::Origin, &[Origin::Request.name(), Origin::Unknown.name()]) {
        return Some("never matches: what has an alias has the origin `request`");
    }
    None
}

/// Rules by what they can hide, so that each is compared with few.
#[derive(Default)]
struct Earlier {
    /// Those that want nothing but names of a field, by each of these.
    by_name: HashMap<(Field, String), Vec<usize>>,
    /// All others.
    others: Vec<usize>,
}

impl Earlier {
    fn add(&mut self, number: usize, rule: &Rule) {
        match rule.tests.iter().find_map(|(field, patterns)| Some((*field, patterns.keys()?))) {
            Some((field, keys)) => {
                for key in keys {
                    self.by_name.entry((field, key)).or_default().push(number);
                }
            }
            None => self.others.push(number),
        }
    }

    /// The first that hides a rule.
    fn hiding<'a>(&self, rule: &Rule, rules: &'a [Rule]) -> Option<&'a Rule> {
        let keys = rule.tests.iter().filter_map(|(field, patterns)| Some((*field, patterns.first_key()?)));
        let named = keys.filter_map(|key| self.by_name.get(&key));
        let lists = named.chain([&self.others]);
        let first_of = |list: &Vec<usize>| {
            list.iter().copied().find(|number| rules.get(*number).is_some_and(|earlier| hides(earlier, rule)))
        };
        lists.filter_map(first_of).min().and_then(|number| rules.get(number))
    }
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Earlier, hides};
    use crate::policy::{Policy, PolicyError, parse};

    fn policy(rules: impl Iterator<Item = String>) -> Result<Policy, PolicyError> {
        let rules: String = rules.map(|rule| format!("[[rule]]\n{rule}\n")).collect();
        parse(&format!("version = 1\n{rules}"), "p")
    }

    /// By what each rule is hidden.
    fn hidden(policy: &Policy) -> Vec<Option<String>> {
        let mut earlier = Earlier::default();
        let rules = policy.rules.iter().enumerate().map(|(number, rule)| {
            let by = earlier.hiding(rule, &policy.rules).map(|by| by.name.clone());
            earlier.add(number, rule);
            by
        });
        rules.collect()
    }

    /// Check that a policy of many rules is looked at in no time: compared with each other they take minutes.
    #[test]
    fn many_rules_are_few_comparisons() {
        let rule = |number: usize| format!("action='allow'\nmodule='m{}'\nexe='/bin/a'", number % 14_000);
        let hidden = hidden(&policy((0..15_000).map(rule)).unwrap());
        assert_eq!(hidden.iter().filter(|by| by.is_some()).count(), 1_000);
    }

    proptest! {
        /// Check that the rules that are compared are all that matter.
        #[test]
        fn the_first_that_hides_is_found(
            rules in proptest::collection::vec(
                (0..3_usize, proptest::collection::vec(0..8_usize, 0..3), proptest::collection::vec(0..8_usize, 0..3)),
                1..20,
            ),
        ) {
            const MODULES: [&str; 8] = ["a_b", "a-b", "a*", "*", "!a_b", "c", "c?", "[c]"];
            const EXES: [&str; 8] = ["/bin/a", "a", "/bin/*", "!a", "*", "b", "/bin/b", "B"];
            let rules = rules.into_iter().map(|(action, modules, exes)| {
                let list = |key: &str, all: &[&str], chosen: Vec<usize>| {
                    let chosen: Vec<&str> = chosen.into_iter().filter_map(|at| all.get(at).copied()).collect();
                    if chosen.is_empty() { String::new() } else { format!("{key} = {chosen:?}\n") }
                };
                let action = ["allow", "deny", "expect"][action];
                format!("action='{action}'\n{}{}", list("module", &MODULES, modules), list("exe", &EXES, exes))
            });
            // One may take out all that it wants.
            let Ok(policy) = policy(rules) else { return Err(TestCaseError::reject("a rule that can never match")) };
            for (number, by) in hidden(&policy).into_iter().enumerate() {
                let (rule, earlier) = (&policy.rules[number], &policy.rules[..number]);
                prop_assert_eq!(by, earlier.iter().find(|earlier| hides(earlier, rule)).map(|by| by.name.clone()));
            }
        }
    }
}
