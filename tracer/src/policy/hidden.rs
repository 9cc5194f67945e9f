//! Rules that never decide because an earlier rule matches everything that they match, found without comparing every pair.

use std::collections::HashMap;

use super::{
    field::Field,
    file::Action,
    glob::{Affix, Glob},
    pattern::PatternSet,
    rule::Rule,
};

/// Maximum number of pattern comparisons for one policy. Rules that differ in a name, or in the prefix or suffix of a
/// pattern, need few each; this allows about 2000 rules without such differences. Beyond it, the remaining rules are not
/// compared, and that is reported.
pub(super) const COMPARISONS_MAX: u64 = 4_000_000;

/// An index of rules, so that each rule is compared with few others.
#[derive(Default)]
pub(super) struct Earlier {
    /// Each rule is in the lists of one of its fields, one for each wanted pattern of that field.
    by_affix: HashMap<(Field, Affix), Vec<usize>>,
    /// Rules without wanted patterns.
    others: Vec<usize>,
    /// Number of comparisons so far.
    pub(super) comparisons: u64,
}

impl Earlier {
    /// Adds a rule to the shortest lists by which it is found.
    pub(super) fn add(&mut self, number: usize, rule: &Rule) {
        let wanted = rule.tests.iter().filter(|(_, patterns)| patterns.wants_a_value());
        let longest = |(field, patterns): &(Field, PatternSet)| {
            let of = |glob: &Glob| self.by_affix.get(&(*field, glob.affix())).map_or(0, Vec::len);
            patterns.wanted().iter().map(of).max().unwrap_or(0)
        };
        match wanted.min_by_key(|test| longest(test)) {
            Some((field, patterns)) => {
                for glob in patterns.wanted() {
                    let list = self.by_affix.entry((*field, glob.affix())).or_default();
                    if list.last() != Some(&number) {
                        list.push(number);
                    }
                }
            }
            None => self.others.push(number),
        }
    }

    /// The first rule that hides a rule.
    ///
    /// # Errors
    /// If that needs too many comparisons.
    pub(super) fn hiding<'a>(&mut self, rule: &Rule, rules: &'a [Rule]) -> Result<Option<&'a Rule>, TooMany> {
        let mut first: Option<usize> = None;
        // A rule that subsumes all wanted patterns of a field subsumes the first of them.
        let wanted = rule.tests.iter().filter_map(|(field, patterns)| Some((*field, patterns.wanted().first()?)));
        let keys =
            wanted.flat_map(|(field, glob)| glob.affixes_that_hold().into_iter().map(move |affix| (field, affix)));
        let named = keys.filter_map(|key| self.by_affix.get(&key));
        for list in named.chain([&self.others]) {
            for number in list.iter().copied() {
                if first.is_some_and(|first| first <= number) {
                    break;
                }
                let Some(earlier) = rules.get(number) else { continue };
                self.comparisons = self.comparisons.saturating_add(cost(earlier, rule));
                if self.comparisons > COMPARISONS_MAX {
                    return Err(TooMany);
                }
                if hides(earlier, rule) {
                    first = Some(number);
                }
            }
        }
        Ok(first.and_then(|number| rules.get(number)))
    }
}

/// More comparisons than [`COMPARISONS_MAX`].
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooMany;

/// Number of pattern comparisons for one comparison of rules.
fn cost(earlier: &Rule, later: &Rule) -> u64 {
    let pairs = |(field, ours): &(Field, PatternSet)| {
        later.patterns(*field).map_or(1, |theirs| ours.globs().count().saturating_mul(theirs.globs().count()))
    };
    earlier.tests.iter().map(|test| u64::try_from(pairs(test)).unwrap_or(u64::MAX)).fold(1, u64::saturating_add)
}

/// Whether an earlier rule decides everything that a later one could. An expectation remains one when another rule
/// decides, and a rule that expires gives way.
fn hides(earlier: &Rule, later: &Rule) -> bool {
    let outlives = earlier.action == Action::Deny
        || earlier.expires.is_none()
        || (later.expires.is_some() && earlier.expires >= later.expires);
    let is_superfluous = later.action != Action::Expect || earlier.action == Action::Deny;
    outlives && is_superfluous && earlier.subsumes(later)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Earlier, TooMany, hides};
    use crate::policy::{Policy, PolicyError, parse};

    fn policy(rules: impl Iterator<Item = String>) -> Result<Policy, PolicyError> {
        let rules: String = rules.map(|rule| format!("[[rule]]\n{rule}\n")).collect();
        parse(&format!("version = 1\n{rules}"), "p")
    }

    /// The rule that hides each rule, and the number of comparisons.
    fn hidden(policy: &Policy) -> Result<(Vec<Option<String>>, u64), TooMany> {
        let mut earlier = Earlier::default();
        let mut hidden = Vec::new();
        for (number, rule) in policy.rules.iter().enumerate() {
            hidden.push(earlier.hiding(rule, &policy.rules)?.map(|by| by.name.clone()));
            earlier.add(number, rule);
        }
        Ok((hidden, earlier.comparisons))
    }

    /// The keys of a numbered rule.
    type Form = fn(usize) -> String;

    /// The number of comparisons grows linearly with the rules, whether they differ in names, prefixes, suffixes, or one
    /// of several fields.
    #[test]
    fn comparisons_of_distinct_rules_grow_linearly() {
        let forms: [(&str, Form); 8] = [
            ("names", |number| format!("module='m{number}'\nexe='/bin/a'")),
            ("beginnings", |number| format!("module='m{number}_*'")),
            ("ends", |number| format!("module='*_m{number}'")),
            ("ends behind sets", |number| format!("comm='*[0-9]x{number}'")),
            ("names behind a wide pattern", |number| format!("module='nf_*'\nexe='/bin/a{number}'")),
            ("beginnings behind a wide pattern", |number| format!("module='*'\ncomm='a{number}_*'")),
            ("one of many names", |number| format!("module=['x', 'm{number}_*']\ncomm='a{number}'")),
            ("paths", |number| format!("exe='/opt/some/long/directory/of/one/program/p{number}/*'")),
        ];
        for (what, rule) in forms {
            let count = |size: usize| {
                let rules = policy((0..size).map(|number| format!("action='allow'\n{}", rule(number))));
                let (hidden, comparisons) = hidden(&rules.unwrap()).unwrap();
                assert!(hidden.iter().all(Option::is_none), "{what}");
                comparisons
            };
            let (one, four) = (count(250), count(1000));
            assert!(four <= 8 * one.max(250), "{what}: {one} and {four}");
        }
        let again = policy((0..15_000).map(|number| format!("action='allow'\nmodule='m{}_*'", number % 14_000)));
        let (hidden, _) = hidden(&again.unwrap()).unwrap();
        assert_eq!(hidden.iter().filter(|by| by.is_some()).count(), 1_000);
    }

    /// Rules that do not differ end at the limit, which allows the documented number.
    #[test]
    fn comparisons_of_similar_rules_end_at_the_limit() {
        let same =
            |size: usize| policy((0..size).map(|number| format!("action='allow'\nmodule='*{number}*'"))).unwrap();
        assert!(hidden(&same(1_900)).is_ok());
        assert_eq!(hidden(&same(3_000)), Err(TooMany));
        let list: Vec<String> = (0..2_500).map(|number| format!("'*{number}*'")).collect();
        let long = format!("action='allow'\nmodule=[{}]", list.join(","));
        assert_eq!(hidden(&policy([long.clone(), long].into_iter()).unwrap()), Err(TooMany));
    }

    proptest! {
        /// The compared rules are all relevant ones.
        #[test]
        fn index_finds_the_first_hiding_rule(
            rules in proptest::collection::vec(
                (0..3_usize, proptest::collection::vec(0..14_usize, 0..3), proptest::collection::vec(0..10_usize, 0..3)),
                1..20,
            ),
        ) {
            const MODULES: [&str; 14] =
                ["a_b", "a-b", "a*", "*", "!a_b", "c", "c?", "[c]", "*_b", "*-b", "*b", "a*b", "a_*", "[a-c]_b"];
            const EXES: [&str; 10] = ["/bin/a", "a", "/bin/*", "!a", "*", "b", "/bin/b", "B", "*/a", "/b*"];
            let rules = rules.into_iter().map(|(action, modules, exes)| {
                let list = |key: &str, all: &[&str], chosen: Vec<usize>| {
                    let chosen: Vec<&str> = chosen.into_iter().filter_map(|at| all.get(at).copied()).collect();
                    if chosen.is_empty() { String::new() } else { format!("{key} = {chosen:?}\n") }
                };
                let action = ["allow", "deny", "expect"][action];
                format!("action='{action}'\n{}{}", list("module", &MODULES, modules), list("exe", &EXES, exes))
            });
            // A rule may exclude everything that it wants.
            let Ok(policy) = policy(rules) else { return Err(TestCaseError::reject("a rule that can never match")) };
            for (number, by) in hidden(&policy).unwrap().0.into_iter().enumerate() {
                let (rule, earlier) = (&policy.rules[number], &policy.rules[..number]);
                prop_assert_eq!(by, earlier.iter().find(|earlier| hides(earlier, rule)).map(|by| by.name.clone()));
            }
        }
    }
}
