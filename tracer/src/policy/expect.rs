//! Expectations: whether one is met, and the reason if not.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    field::Field,
    file::SkipReason,
    pattern::PatternSet,
    rule::Rule,
    subject::Subject,
    value::FieldValue,
    verdict::{Finding, State},
};
use crate::{
    event::{Status, Text},
    modprobe::{Resolution, Resolver},
    select::Match,
};

/// The result of loading a name on a kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Lookup {
    /// The module is built in.
    BuiltIn,
    /// These modules would be loaded, in this order.
    Modules(Vec<String>),
    /// No module has this name or alias.
    Missing,
    /// The configuration of modprobe prevents it.
    Blocked(String),
    /// Unknown.
    Unknown(String),
}

/// The kernel to which expectations apply.
pub trait Kernel {
    /// The result of loading a name.
    fn look_up(&self, name: &str) -> Lookup;
}

impl Kernel for Resolver {
    fn look_up(&self, name: &str) -> Lookup {
        let doubts = self.doubts().sentences();
        if !doubts.is_empty() {
            return Lookup::Unknown(doubts.join("; "));
        }
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

/// An unknown kernel, with the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownKernel(pub String);

impl Kernel for UnknownKernel {
    fn look_up(&self, _: &str) -> Lookup {
        Lookup::Unknown(self.0.clone())
    }
}

/// Whether a subject that matches the rule meets its expectation: if no result is given, that a module was loaded.
pub(super) fn is_met(rule: &Rule, subject: &Subject<'_>) -> bool {
    rule.patterns(Field::Result).is_some() || (subject.module.is_some() && subject.status() == Status::Loaded)
}

/// The state of an unmet expectation.
pub(super) fn unmet(rule: &Rule, near: Option<&Finding>, baseline: &BTreeSet<Arc<str>>, kernel: &dyn Kernel) -> State {
    match reason(rule, near, baseline, kernel) {
        Reason::Skip(skip_reason, why) if rule.skip.contains(&skip_reason) => State::Skipped { skip_reason, why },
        // If the rule has no skip reasons, it does not matter.
        Reason::Undetermined(why) if !rule.skip.is_empty() => State::Undetermined { why },
        Reason::Skip(_, why) | Reason::Undetermined(why) | Reason::None(why) => State::Unmet { why },
    }
}

/// Why an expectation was not met.
enum Reason {
    /// It could not be met.
    Skip(SkipReason, String),
    /// It is unknown whether it could be met.
    Undetermined(String),
    /// It could have been met.
    None(String),
}

fn reason(rule: &Rule, near: Option<&Finding>, baseline: &BTreeSet<Arc<str>>, kernel: &dyn Kernel) -> Reason {
    // modprobe normalizes names to `_`.
    let normal = |name: &str| name.replace('-', "_");
    let modules: Vec<String> = rule.literals(Field::Module).map(normal).collect();
    let aliases: Vec<&str> = rule.literals(Field::Alias).collect();
    if let Some(module) = modules.iter().find(|module| baseline.contains(module.as_str())) {
        return Reason::Skip(SkipReason::AlreadyLoaded, format!("{module} was loaded before tracing began"));
    }
    let is_wanted = |set: &PatternSet, name: &str| set.test(&FieldValue::is(name)) == Match::Yes;
    let module_set = rule.patterns(Field::Module);
    if let Some(module) = module_set.and_then(|set| baseline.iter().find(|name| is_wanted(set, name))) {
        return Reason::Skip(SkipReason::AlreadyLoaded, format!("{module} was loaded before tracing began"));
    }
    let names: Vec<&str> = modules.iter().map(String::as_str).chain(aliases).collect();
    let found: Vec<(&str, Lookup)> = names.iter().map(|name| (*name, kernel.look_up(name))).collect();
    for (name, lookup) in &found {
        match lookup {
            Lookup::BuiltIn => return Reason::Skip(SkipReason::BuiltIn, format!("{name} is built into the kernel")),
            Lookup::Modules(modules)
                if !modules.is_empty() && modules.iter().all(|module| baseline.contains(module.as_str())) =>
            {
                let modules = modules.join(", ");
                return Reason::Skip(
                    SkipReason::AlreadyLoaded,
                    format!("{name}: {modules} was loaded before tracing began"),
                );
            }
            _ => {}
        }
    }
    if let Some(near) = near {
        let why = near_words(near);
        return match skip_reason_of_near_miss(near) {
            Some(skip_reason) => Reason::Skip(skip_reason, why),
            None => Reason::None(why),
        };
    }
    if !found.is_empty() && found.iter().all(|(_, lookup)| *lookup == Lookup::Missing) {
        let names = names.join(", ");
        return Reason::Skip(SkipReason::Missing, format!("this kernel has no module for {names}"));
    }
    let open = found.iter().find_map(|(name, lookup)| match lookup {
        Lookup::Unknown(why) => {
            Some(format!("it was not requested, and it is unknown whether this kernel has {name}: {why}"))
        }
        _ => None,
    });
    // One name that could have been requested is enough.
    if let Some(why) = open.filter(|_| !found.iter().any(|(_, lookup)| matches!(lookup, Lookup::Modules(_)))) {
        return Reason::Undetermined(why);
    }
    let blocked = found.iter().find_map(|(name, lookup)| match lookup {
        Lookup::Blocked(why) => Some(format!("it was not requested, and {name} is blocked on this system: {why}")),
        _ => None,
    });
    Reason::None(blocked.unwrap_or_else(|| "it was not requested".to_owned()))
}

/// The skip reason that follows from the outcome of a request.
fn skip_reason_of_near_miss(near: &Finding) -> Option<SkipReason> {
    match near.status {
        Status::BuiltIn => Some(SkipReason::BuiltIn),
        Status::AlreadyLoaded => Some(SkipReason::AlreadyLoaded),
        Status::NotFound => Some(SkipReason::Missing),
        _ => None,
    }
}

fn near_words(near: &Finding) -> String {
    let what = near.alias.as_ref().or(near.module.as_ref()).map_or_else(|| "it".to_owned(), Text::field);
    let detail = near.detail.as_ref().map(|detail| format!(" ({detail})")).unwrap_or_default();
    format!("the request for {what} ended {}{detail}", near.status.name())
}
