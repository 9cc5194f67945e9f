//! Expectations: whether one is met, and what else can be said when it is not.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    field::Field,
    file::Excuse,
    pattern::PatternSet,
    rule::Rule,
    subject::Subject,
    value::Value,
    verdict::{Finding, State},
};
use crate::{
    event::{Status, Text},
    modprobe::{Resolution, Resolver},
    select::Match,
};

/// What a kernel would do with a name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Lookup {
    /// It is part of the kernel.
    BuiltIn,
    /// These modules would be loaded, in this order.
    Modules(Vec<String>),
    /// No module has this name or alias.
    Missing,
    /// modprobe's configuration is in the way.
    Blocked(String),
    /// It is not known.
    Unknown(String),
}

/// The kernel that expectations are about.
pub trait Kernel {
    /// What it would do with a name.
    fn look_up(&self, name: &str) -> Lookup;
}

impl Kernel for Resolver {
    fn look_up(&self, name: &str) -> Lookup {
        let resolution = self.resolve(name.as_bytes());
        match &resolution {
            Resolution::BuiltIn { .. } => Lookup::BuiltIn,
            Resolution::NotFound => Lookup::Missing,
            Resolution::Modules(modules) => {
                Lookup::Modules(modules.iter().map(|planned| planned.module.clone()).collect())
            }
            Resolution::Off { .. } | Resolution::Blacklisted { .. } | Resolution::Install { .. } => {
                Lookup::Blocked(resolution.detail())
            }
        }
    }
}

/// A kernel of which nothing is known, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownKernel(pub String);

impl Kernel for UnknownKernel {
    fn look_up(&self, _: &str) -> Lookup {
        Lookup::Unknown(self.0.clone())
    }
}

/// Whether a subject that the rule matches does what the rule wants: without a wanted result, that a module came to life.
pub(super) fn is_met(rule: &Rule, subject: &Subject<'_>) -> bool {
    rule.patterns(Field::Result).is_some() || (subject.module.is_some() && subject.status() == Status::Loaded)
}

/// What an expectation that was not met comes to.
pub(super) fn unmet(rule: &Rule, near: Option<&Finding>, baseline: &BTreeSet<Arc<str>>, kernel: &dyn Kernel) -> State {
    match reason(rule, near, baseline, kernel) {
        Reason::Excuse(excuse, why) if rule.skip.contains(&excuse) => State::Skipped { excuse, why },
        // Where nothing is an excuse, it does not matter.
        Reason::Open(why) if !rule.skip.is_empty() => State::Open { why },
        Reason::Excuse(_, why) | Reason::Open(why) | Reason::None(why) => State::Unmet { why },
    }
}

/// Why an expectation was not met, in words.
enum Reason {
    /// It could not be.
    Excuse(Excuse, String),
    /// Whether it could be is not known.
    Open(String),
    /// It could have been.
    None(String),
}

fn reason(rule: &Rule, near: Option<&Finding>, baseline: &BTreeSet<Arc<str>>, kernel: &dyn Kernel) -> Reason {
    // modprobe knows names with `_`.
    let normal = |name: &str| name.replace('-', "_");
    let modules: Vec<String> = rule.literals(Field::Module).map(normal).collect();
    let aliases: Vec<&str> = rule.literals(Field::Alias).collect();
    if let Some(module) = modules.iter().find(|module| baseline.contains(module.as_str())) {
        return Reason::Excuse(Excuse::AlreadyLoaded, format!("{module} was loaded before tracing began"));
    }
    let is_wanted = |set: &PatternSet, name: &str| set.test(&Value::is(name)) == Match::Yes;
    let module_set = rule.patterns(Field::Module);
    if let Some(module) = module_set.and_then(|set| baseline.iter().find(|name| is_wanted(set, name))) {
        return Reason::Excuse(Excuse::AlreadyLoaded, format!("{module} was loaded before tracing began"));
    }
    let names: Vec<&str> = modules.iter().map(String::as_str).chain(aliases).collect();
    let found: Vec<(&str, Lookup)> = names.iter().map(|name| (*name, kernel.look_up(name))).collect();
    for (name, lookup) in &found {
        match lookup {
            Lookup::BuiltIn => return Reason::Excuse(Excuse::BuiltIn, format!("{name} is built into the kernel")),
            Lookup::Modules(modules)
                if !modules.is_empty() && modules.iter().all(|module| baseline.contains(module.as_str())) =>
            {
                let modules = modules.join(", ");
                return Reason::Excuse(
                    Excuse::AlreadyLoaded,
                    format!("{name}: {modules} was loaded before tracing began"),
                );
            }
            _ => {}
        }
    }
    if let Some(near) = near {
        let why = near_words(near);
        return match near_excuse(near) {
            Some(excuse) => Reason::Excuse(excuse, why),
            None => Reason::None(why),
        };
    }
    if !found.is_empty() && found.iter().all(|(_, lookup)| *lookup == Lookup::Missing) {
        let names = names.join(", ");
        return Reason::Excuse(Excuse::Missing, format!("this kernel has no module for {names}"));
    }
    let open = found.iter().find_map(|(name, lookup)| match lookup {
        Lookup::Unknown(why) => {
            Some(format!("nothing asked for it; whether this kernel has {name} is not known: {why}"))
        }
        _ => None,
    });
    // One that could have been asked for is enough.
    if let Some(why) = open.filter(|_| !found.iter().any(|(_, lookup)| matches!(lookup, Lookup::Modules(_)))) {
        return Reason::Open(why);
    }
    let blocked = found.iter().find_map(|(name, lookup)| match lookup {
        Lookup::Blocked(why) => Some(format!("nothing asked for it, and {name} is forbidden here: {why}")),
        _ => None,
    });
    Reason::None(blocked.unwrap_or_else(|| "nothing asked for it".to_owned()))
}

/// The request itself says that nothing had to be loaded.
fn near_excuse(near: &Finding) -> Option<Excuse> {
    match near.status {
        Status::AlreadyLoaded if near.is_built_in => Some(Excuse::BuiltIn),
        Status::AlreadyLoaded => Some(Excuse::AlreadyLoaded),
        Status::NotFound => Some(Excuse::Missing),
        _ => None,
    }
}

fn near_words(near: &Finding) -> String {
    let what = near.alias.as_ref().or(near.module.as_ref()).map_or_else(|| "it".to_owned(), Text::field);
    let detail = near.detail.as_ref().map(|detail| format!(" ({detail})")).unwrap_or_default();
    format!("the request for {what} ended {}{detail}", near.status.name())
}
