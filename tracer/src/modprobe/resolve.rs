//! What modprobe would do with a name: the rules of libkmod, applied to its own configuration.
//!
//! The order of lookup and of loading is that of `kmod_module_new_from_lookup()` and `kmod_module_probe_insert_module()`,
//! libkmod 30 (libkmod/libkmod-module.c). Whether a module is loaded already is not considered.

use std::collections::HashSet;

use super::{config::Config, index::ModuleIndex, names::lossless, sources::Place};
use crate::{event::Reason, glob};

/// Soft dependencies may have soft dependencies; no real chain is this long.
const DEPTH_LIMIT: u32 = 32;

/// A module that modprobe would load.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Planned {
    /// Its name.
    pub module: String,
    /// Why it would be loaded.
    pub reason: Reason,
    /// A command that is run instead (`install` in modprobe.d).
    pub command: Option<Command>,
}

/// A command that modprobe runs instead of loading a module.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Command {
    /// The command.
    pub text: String,
    /// Where the line is.
    pub place: Place,
}

impl Command {
    /// A command whose line is in none of the usual files.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), place: Place::Elsewhere }
    }
}

/// What modprobe would do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Resolution {
    /// Nothing: no module has this name or alias.
    NotFound,
    /// Nothing: an `alias` line of the configuration leads to no module.
    Off {
        /// The line: `alias net_pf_29 off`.
        line: String,
        /// Where it is.
        place: Place,
    },
    /// Nothing: the module is blacklisted, which affects requests by alias.
    Blacklisted {
        /// The module.
        module: String,
        /// Where the line is.
        place: Place,
    },
    /// Run a command.
    Install {
        /// The module that the command replaces.
        module: String,
        /// The command.
        command: Command,
        /// Modules that are loaded before: dependencies and soft dependencies.
        before: Vec<Planned>,
    },
    /// Nothing: the module is built in.
    BuiltIn {
        /// The module.
        module: String,
    },
    /// Load modules, in this order.
    Modules(Vec<Planned>),
}

impl Resolution {
    /// Whether the configuration prevents modprobe from loading the requested module, or runs a command instead (which may
    /// load the module itself), if no module is loaded.
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        self.block(|_| false).is_some()
    }

    /// The line that prevents modprobe from loading the requested module now. A command that replaces a dependency runs only if
    /// that is not loaded already.
    #[must_use]
    pub fn block(&self, is_loaded: impl Fn(&str) -> bool) -> Option<String> {
        match self {
            Self::Off { .. } | Self::Blacklisted { .. } | Self::Install { .. } => Some(self.detail()),
            Self::Modules(modules) => {
                let mut blocks = replaced_dependencies(modules);
                blocks.find(|(module, _)| !is_loaded(module)).map(|(module, command)| for_dependency(module, command))
            }
            Self::NotFound | Self::BuiltIn { .. } => None,
        }
    }

    /// The commands that would replace dependencies if these were not loaded already: they have no effect before the next boot.
    #[must_use]
    pub fn ineffective(&self, is_loaded: impl Fn(&str) -> bool) -> Vec<String> {
        let Self::Modules(modules) = self else { return Vec::new() };
        let blocks = replaced_dependencies(modules).filter(|(module, _)| is_loaded(module));
        let line = |(module, command)| {
            format!("{}, until the next boot: {module} is loaded already", install_line(module, command))
        };
        blocks.map(line).collect()
    }

    /// The reason why a module would be loaded.
    #[must_use]
    pub fn reason(&self, module: &str) -> Option<Reason> {
        let (Self::Modules(modules) | Self::Install { before: modules, .. }) = self else { return None };
        modules.iter().find(|planned| planned.module == module).map(|planned| planned.reason)
    }

    /// A description.
    #[must_use]
    pub fn detail(&self) -> String {
        match self {
            Self::NotFound => "no module provides it".to_owned(),
            Self::Off { line, place } => format!("{line} {place}"),
            Self::Blacklisted { module, place } => format!("blacklist {module} {place}"),
            Self::Install { module, command, .. } => install_line(module, command),
            Self::BuiltIn { module } => format!("{module} is built into the kernel"),
            Self::Modules(modules) => match self.block(|_| false) {
                Some(line) => line,
                None => {
                    let names: Vec<&str> = modules.iter().map(|planned| planned.module.as_str()).collect();
                    format!("modprobe loads {}", names.join(", "))
                }
            },
        }
    }
}

/// The dependencies that commands replace, each with its command.
pub(crate) fn replaced_dependencies(modules: &[Planned]) -> impl Iterator<Item = (&str, &Command)> {
    let dependencies = modules.iter().filter(|planned| planned.reason == Reason::Dependency);
    dependencies.filter_map(|planned| Some((planned.module.as_str(), planned.command.as_ref()?)))
}

/// A line that replaces a dependency.
pub(crate) fn for_dependency(module: &str, command: &Command) -> String {
    format!("{}, for a dependency", install_line(module, command))
}

/// The line of a command with its place.
pub(crate) fn install_line(module: &str, Command { text, place }: &Command) -> String {
    format!("install {module} {text} {place}")
}

/// A module that a name resolves to.
#[derive(Clone, Debug)]
struct Target {
    module: String,
    /// The matching alias line; `None` if the name is the module's own.
    alias: Option<String>,
    from_config: bool,
}

impl Target {
    fn own(module: &str) -> Self {
        Self { module: module.to_owned(), alias: None, from_config: false }
    }

    fn indexed(name: &str, module: &str) -> Self {
        Self { module: module.to_owned(), alias: Some(format!("alias {name} {module}")), from_config: false }
    }
}

/// Determines what modprobe would do with a name.
#[must_use]
pub fn resolve(config: &Config, index: &ModuleIndex, name: &[u8]) -> Resolution {
    // Several modules may match, and modprobe tries all: a load takes precedence over every other result.
    let outcomes: Vec<Resolution> =
        lookup(config, index, name).iter().map(|target| outcome(config, index, target)).collect();
    if !outcomes.iter().any(|outcome| matches!(outcome, Resolution::Modules(_))) {
        return outcomes.into_iter().next().unwrap_or(Resolution::NotFound);
    }
    let mut modules: Vec<Planned> = Vec::new();
    for outcome in outcomes {
        let more = match outcome {
            Resolution::Modules(more) => more,
            // The command runs in addition to the loads of the others.
            Resolution::Install { module, command, mut before } => {
                before.push(Planned { module, reason: Reason::Alias, command: Some(command) });
                before
            }
            _ => continue,
        };
        let is_new = |new: &Planned| modules.iter().all(|old| old.module != new.module);
        let new: Vec<_> = more.into_iter().filter(is_new).collect();
        modules.extend(new);
    }
    Resolution::Modules(modules)
}

/// Determines what modprobe would do with one module that a name leads to: the module's own name or an alias.
pub(crate) fn resolve_module(config: &Config, index: &ModuleIndex, module: &str, is_alias: bool) -> Resolution {
    let target = if is_alias { Target::indexed("", module) } else { Target::own(module) };
    outcome(config, index, &target)
}

/// Modules that a name resolves to; the first source with a match decides.
fn lookup(config: &Config, index: &ModuleIndex, name: &[u8]) -> Vec<Target> {
    let Some(name) = glob::normalize(name) else { return Vec::new() };
    let text = lossless(&name);
    let name = text.as_bytes();

    let aliases = config.aliases.iter().filter(|rule| glob::matches(rule.pattern.as_bytes(), name));
    let configured: Vec<Target> = aliases
        .map(|rule| Target {
            module: rule.value.clone(),
            alias: Some(format!("alias {} {}", rule.pattern, rule.value)),
            from_config: true,
        })
        .collect();
    if !configured.is_empty() {
        return configured;
    }
    if index.file(&text).is_some() {
        return vec![Target::own(&text)];
    }
    // libkmod looks up symbols before commands, but commands for symbols do not exist.
    if config.installs.iter().any(|rule| rule.pattern == text) {
        return vec![Target::own(&text)];
    }
    let mut indexed: Vec<&str> = config.indexed(name).collect();
    // Several patterns of one module may match.
    indexed.sort_by_key(|module| (index.file(module).map_or(usize::MAX, |file| file.position), *module));
    indexed.dedup();
    if !indexed.is_empty() {
        return indexed.into_iter().map(|module| Target::indexed(&text, module)).collect();
    }
    if index.is_builtin(&text) {
        return vec![Target::own(&text)];
    }
    index.builtin_by_alias(name).map(|module| Target::indexed(&text, module)).collect()
}

/// The resolution for one module.
fn outcome(config: &Config, index: &ModuleIndex, target: &Target) -> Resolution {
    let module = &target.module;
    if index.is_builtin(module) {
        return Resolution::BuiltIn { module: module.clone() };
    }
    if target.alias.is_some() && config.blacklist.contains(module) {
        let place = config.place(&format!("blacklist {module}"));
        return Resolution::Blacklisted { module: module.clone(), place };
    }
    let reason = if target.alias.is_some() { Reason::Alias } else { Reason::Asked };
    let mut plan = Plan { config, index, visited: HashSet::new(), needed: HashSet::new(), modules: Vec::new() };
    plan.require(module);
    plan.visit(module, reason, DEPTH_LIMIT);
    let modules = plan.modules;

    let own = modules.iter().position(|planned| planned.module == *module);
    if let Some((before, command)) = own.and_then(|at| Some((modules.get(..at)?, modules.get(at)?.command.clone()?))) {
        return Resolution::Install { module: module.clone(), command, before: before.to_vec() };
    }
    match &target.alias {
        _ if index.file(module).is_some() => Resolution::Modules(modules),
        Some(line) if target.from_config => Resolution::Off { line: line.clone(), place: config.place(line) },
        _ => Resolution::NotFound,
    }
}

/// The list that `kmod_module_get_probe_list()` builds.
struct Plan<'a> {
    config: &'a Config,
    index: &'a ModuleIndex,
    visited: HashSet<String>,
    /// Dependencies of the requested module: they remain dependencies if a soft dependency adds them first.
    needed: HashSet<String>,
    modules: Vec<Planned>,
}

impl Plan<'_> {
    fn require(&mut self, module: &str) {
        if let Some(file) = self.index.file(module) {
            self.needed.extend(file.needs.iter().cloned());
        }
    }

    /// Adds a module after its dependencies.
    fn visit(&mut self, module: &str, reason: Reason, depth: u32) {
        if depth == 0 || !self.visited.insert(module.to_owned()) {
            return;
        }
        let index = self.index;
        for needed in index.file(module).into_iter().flat_map(|file| &file.needs) {
            self.add(needed, Reason::Dependency, depth);
        }
        self.add(module, reason, depth);
    }

    /// Adds a module between its soft dependencies.
    fn add(&mut self, module: &str, reason: Reason, depth: u32) {
        let softdep = self.config.softdeps.iter().find(|softdep| is_for(&softdep.pattern, module));
        let targets = |names: &[String]| -> Vec<Target> {
            names.iter().flat_map(|name| lookup(self.config, self.index, name.as_bytes())).collect()
        };
        let (before, after) =
            softdep.map(|softdep| (targets(&softdep.before), targets(&softdep.after))).unwrap_or_default();
        // A module with soft dependencies has no install command: `mod->ignorecmd`.
        let has_softdeps = !before.is_empty() || !after.is_empty();
        for target in &before {
            self.visit(&target.module, Reason::Softdep, depth - 1);
        }
        self.push(module, reason, !has_softdeps);
        for target in &after {
            self.visit(&target.module, Reason::Softdep, depth - 1);
        }
    }

    fn push(&mut self, module: &str, reason: Reason, may_have_command: bool) {
        let is_known = self.modules.iter().any(|planned| planned.module == module);
        if is_known || self.index.is_builtin(module) {
            return;
        }
        let install = self.config.installs.iter().find(|rule| is_for(&rule.pattern, module));
        let command = install.filter(|_| may_have_command).map(|rule| Command {
            text: rule.value.clone(),
            place: self.config.place(&format!("install {} {}", rule.pattern, rule.value)),
        });
        let has_file = self.index.file(module).is_some();
        if has_file || command.is_some() {
            let reason = if self.needed.contains(module) { Reason::Dependency } else { reason };
            self.modules.push(Planned { module: module.to_owned(), reason, command });
        }
    }
}

fn is_for(pattern: &str, module: &str) -> bool {
    glob::matches(pattern.as_bytes(), module.as_bytes())
}

#[cfg(test)]
mod tests;
