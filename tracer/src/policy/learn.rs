//! `policy learn`: creates the smallest policy that allows what was seen, and nothing else to the same requesters.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
};

use super::{
    baseline::{By, by},
    file::POLICY_VERSION,
    glob::quote,
    subject::Subject,
};
use crate::{
    chain::Chain,
    event::{Status, Text},
    select::Field,
    text::unicode::toml_string,
};

/// Maximum number of explanations quoted in a rule.
const REASONS_LIMIT: usize = 3;

/// The observations of one requester.
#[derive(Clone, Debug, Default)]
struct Seen {
    modules: BTreeSet<Text>,
    /// The modules whose init succeeded.
    live: BTreeSet<Text>,
    reasons: BTreeSet<String>,
}

/// A new rule: the modules, their origin, and the identification of its requesters.
type Key<'a> = (&'a BTreeSet<Text>, &'static str, u8);

/// Learns from chains.
#[derive(Clone, Debug, Default)]
pub struct Learner {
    seen: BTreeMap<(By, &'static str), Seen>,
}

impl Learner {
    /// Adds a chain.
    pub fn chain(&mut self, chain: &Chain) {
        Subject::for_each(chain, &mut |subject| self.subject(&subject));
    }

    fn subject(&mut self, subject: &Subject<'_>) {
        // A request that loaded nothing is allowed by default.
        let Some(module) = subject.module.filter(|module| !module.load.module.is_empty()) else { return };
        let key = (by(subject), subject.origin().name());
        let seen = self.seen.entry(key).or_default();
        seen.modules.insert(module.load.module.clone());
        if subject.status() == Status::Loaded {
            seen.live.insert(module.load.module.clone());
        }
        let request = subject.link.request.as_ref();
        seen.reasons.extend(request.and_then(|request| request.explanation.clone()));
    }

    /// Returns the policy. With `expect`, it also requires every module that was seen to be loaded.
    #[must_use]
    pub fn policy(&self, expect: bool) -> String {
        // Requesters that load the same modules share a rule.
        let mut rules: BTreeMap<Key<'_>, (BTreeSet<&By>, BTreeSet<&String>)> = BTreeMap::new();
        for ((by, origin), seen) in &self.seen {
            let kind = match by {
                By::Exe(_) => 0,
                By::Comm(_) => 1,
                By::Unknown => 2,
            };
            let (requesters, reasons) = rules.entry((&seen.modules, origin, kind)).or_default();
            requesters.insert(by);
            reasons.extend(&seen.reasons);
        }
        let mut text = format!("version = {POLICY_VERSION}\ndefault = \"deny\"\n");
        for ((modules, origin, _), (requesters, reasons)) in rules {
            text.push_str("\n[[rule]]\naction = \"allow\"\n");
            key(&mut text, Field::Module, modules.iter());
            let names = |exe: bool| {
                requesters.iter().filter_map(move |by| match by {
                    By::Exe(name) if exe => Some(name),
                    By::Comm(name) if !exe => Some(name),
                    _ => None,
                })
            };
            key(&mut text, Field::Exe, names(true));
            key(&mut text, Field::Comm, names(false));
            push(&mut text, format_args!("origin = {}\n", toml_string(origin)));
            let more = reasons.len().saturating_sub(REASONS_LIMIT);
            let mut reasons: Vec<String> = reasons.into_iter().take(REASONS_LIMIT).cloned().collect();
            if more > 0 {
                reasons.push(format!("and {more} more"));
            }
            if !reasons.is_empty() {
                push(&mut text, format_args!("reason = {}\n", toml_string(&reasons.join("; "))));
            }
        }
        let live: BTreeSet<&Text> = self.seen.values().flat_map(|seen| &seen.live).collect();
        for module in live.into_iter().filter(|_| expect) {
            text.push_str("\n[[rule]]\naction = \"expect\"\n");
            key(&mut text, Field::Module, [module].into_iter());
            text.push_str("reason = \"loaded when the policy was learned\"\n");
        }
        text
    }
}

fn key<'a>(text: &mut String, field: Field, values: impl Iterator<Item = &'a Text>) {
    let name = field.name();
    let values: Vec<String> = values.map(|value| toml_string(&quote(field, value))).collect();
    match values.as_slice() {
        [] => {}
        [one] => push(text, format_args!("{name} = {one}\n")),
        many => push(text, format_args!("{name} = [{}]\n", many.join(", "))),
    }
}

fn push(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = text.write_fmt(line);
}
