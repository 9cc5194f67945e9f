//! Explains a name: what requests it, what would be loaded here, and what prevents that.

mod module;

use serde::Serialize;

use super::{
    Effect, Mention, Mentions, Prospect, Reach,
    families::{self, Access},
    machine::Machine,
};
use crate::{
    event::{Reason, Text},
    glob,
    modprobe::{Config, ModuleIndex, Planned, Resolution, resolve},
};

/// Maximum length of a requested name, bytes (`MODULE_NAME_LEN` without the NUL).
const NAME_BYTES: usize = 55;

/// The result of a request for the name on this system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Verdict {
    /// Modules would be loaded.
    Loads,
    /// All of them are loaded already.
    AlreadyLoaded,
    /// The module is built in.
    BuiltIn,
    /// The configuration or a kernel setting prevents it.
    Blocked,
    /// The name is blocked, but the kernel does not request it: the module is loaded as a dependency of others.
    AsDependency,
    /// No module has this name or alias.
    NotFound,
    /// modprobe's configuration or the kernel's modules cannot be read.
    Unknown,
}

/// A cause of requests for the name, or for an alias of the module with this name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Cause {
    /// The requested alias; a pattern if the module has many.
    pub alias: String,
    /// The action of a user or program.
    pub action: String,
    /// The family of the alias.
    pub family: &'static str,
    /// The users that can cause it on this system.
    pub access: Access,
    /// The users in words.
    pub who: String,
    /// The setting or device node of this system that decides who they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Kernel file and function of the request.
    pub source: &'static str,
    /// Versions and examples.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub notes: &'static str,
    /// Number of further aliases of the module with the same cause.
    #[serde(skip_serializing_if = "is_zero")]
    pub more_aliases: usize,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
const fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// A module that would be loaded, in the order of loading.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Step {
    /// Its name.
    pub module: String,
    /// Why it would be loaded.
    pub reason: Reason,
    /// Its file below the module directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Whether it is loaded already. `None` if unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loaded: Option<bool>,
    /// A command that is run instead (`install` in modprobe.d).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
}

/// An alias of a module that is blocked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct BlockedAlias {
    /// The normalized alias, or a pattern.
    pub alias: String,
    /// What blocks it.
    pub block: String,
}

/// The explanation of a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Answer {
    /// The name, with U+FFFD for bytes that are not UTF-8.
    pub name: String,
    /// Its bytes in hexadecimal, if it is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name_hex: Option<String>,
    /// The result of a request.
    pub verdict: Verdict,
    /// Whether a kernel request has this form, or a module has this name or alias.
    pub known: bool,
    /// A description, which contains no byte of the name.
    pub detail: String,
    /// The causes of a request.
    pub causes: Vec<Cause>,
    /// Whether any user can be root of a user namespace here, which decides who has `user-namespace` access.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_namespaces_for_anyone: Option<bool>,
    /// The modules that would be loaded, in order.
    pub modules: Vec<Step>,
    /// What prevents the load.
    pub blocks: Vec<String>,
    /// Lines that would prevent the load, but have no effect now.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ineffective: Vec<String>,
    /// Aliases of the module with this name that are blocked, each with the line.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub blocked_aliases: Vec<BlockedAlias>,
    /// Other ways to load the module, if requests for it are blocked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub still_loaded: Vec<String>,
    /// The modules with this alias, if there are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub carriers: Vec<String>,
    /// Lines of other files that name the module, to be loaded at boot or by a program.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub named_in: Vec<Mention>,
    /// Lines about it that look like configuration of modprobe, and have no effect, or another one than they seem to have.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ignored_lines: Vec<String>,
    /// Reasons why the configuration may be another one, so that the result is unknown.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub doubts: Vec<String>,
    /// Modules that depend on the one with this name: loading them loads it too.
    pub needed_by: Vec<String>,
}

impl Answer {
    /// Adds the lines of other files that name the modules that a request for this name would load.
    #[must_use]
    pub fn with_mentions(mut self, mentions: &Mentions, config: &Config) -> Self {
        for module in self.subjects() {
            let found = mentions.of(&module, config).into_iter().cloned();
            let new: Vec<Mention> = found.filter(|mention| !self.named_in.contains(mention)).collect();
            self.named_in.extend(new);
        }
        self
    }

    /// The name, and the modules that it is for.
    fn subjects(&self) -> Vec<String> {
        let own = glob::normalize(self.name.as_bytes()).and_then(|name| String::from_utf8(name).ok());
        let meant = self.modules.iter().filter(|step| matches!(step.reason, Reason::Asked | Reason::Alias));
        let mut subjects: Vec<String> = own.into_iter().chain(meant.map(|step| step.module.clone())).collect();
        subjects.extend(self.carriers.iter().cloned());
        subjects.dedup();
        subjects
    }
}

/// The configuration and index of modprobe, or the reason why they are unknown.
pub type Indexes<'a> = Result<(&'a Config, &'a ModuleIndex), &'a str>;

/// Explains a name.
#[must_use]
pub fn answer(name: &Text, indexes: Indexes<'_>, machine: &Machine) -> Answer {
    let mut answer = Answer {
        name: name.field(),
        name_hex: name.hex(),
        verdict: Verdict::NotFound,
        known: false,
        detail: String::new(),
        causes: families::find(name).map(|found| cause(name, found, machine)).into_iter().collect(),
        user_namespaces_for_anyone: machine.user_namespaces,
        modules: Vec::new(),
        blocks: Vec::new(),
        ineffective: Vec::new(),
        blocked_aliases: Vec::new(),
        still_loaded: Vec::new(),
        carriers: Vec::new(),
        named_in: Vec::new(),
        ignored_lines: Vec::new(),
        doubts: Vec::new(),
        needed_by: Vec::new(),
    };
    if let Some(wrong) = malformed(name) {
        answer.causes.clear();
        answer.detail = wrong.to_owned();
        return answer;
    }
    answer.known = !answer.causes.is_empty();
    match indexes {
        Ok((config, index)) => {
            foresee(&mut answer, name, config, index, machine);
            if !machine.doubts.is_empty() {
                answer.doubts.clone_from(&machine.doubts);
                answer.verdict = Verdict::Unknown;
                answer.detail = format!("not certain: {}", answer.detail);
            }
        }
        Err(why) => {
            answer.verdict = Verdict::Unknown;
            answer.detail = format!("it is unknown what would be loaded here: {why}");
        }
    }
    answer
}

/// Why no module can have this name.
fn malformed(name: &Text) -> Option<&'static str> {
    let bytes = name.as_bytes();
    let file = bytes.rsplit(|byte| *byte == b'/').next().unwrap_or(bytes);
    let is_file = [".ko", ".ko.xz", ".ko.gz", ".ko.zst"].iter().any(|end| file.ends_with(end.as_bytes()));
    if bytes.is_empty() {
        Some("the name is empty")
    } else if is_file {
        Some("this is a file name: use the module name, without directory and .ko")
    } else if glob::normalize(bytes).is_none() {
        Some("its square brackets are not balanced, so modprobe rejects it")
    } else {
        None
    }
}

fn cause(alias: &Text, found: families::Explanation, machine: &Machine) -> Cause {
    let families::Explanation { family, action } = found;
    let Reach { access, who, why } = Reach::of(alias, family, machine);
    Cause {
        alias: alias.field(),
        action,
        family: family.name,
        access,
        who,
        why,
        source: family.source,
        notes: family.notes,
        more_aliases: 0,
    }
}

/// Adds what modprobe would do with the name, and which modules are loaded already.
fn foresee(answer: &mut Answer, name: &Text, config: &Config, index: &ModuleIndex, machine: &Machine) {
    let resolution = resolve(config, index, name.as_bytes());
    let step = |planned: &Planned| Step {
        module: planned.module.clone(),
        reason: planned.reason,
        file: index.file(&planned.module).map(|file| file.path.clone()),
        loaded: machine.loaded.as_ref().map(|_| machine.is_live(&planned.module)),
        command: planned.command.as_ref().map(|command| command.text.clone()),
    };
    if let Resolution::Modules(modules) | Resolution::Install { before: modules, .. } = &resolution {
        answer.modules = modules.iter().map(step).collect();
    }
    let prospect = Prospect::of(&resolution, machine);
    answer.known |= prospect.effect != Effect::NotFound;
    answer.blocks.clone_from(&prospect.blocks);
    answer.ineffective.clone_from(&prospect.ineffective);
    (answer.verdict, answer.detail) = match (prospect.effect, &resolution) {
        (Effect::NotFound, _) => (Verdict::NotFound, not_found(answer.known, name)),
        (Effect::BuiltIn, Resolution::BuiltIn { module }) => {
            (Verdict::BuiltIn, format!("{module} is part of this kernel: nothing is loaded"))
        }
        (Effect::Loaded, _) => {
            (Verdict::AlreadyLoaded, "everything is loaded already: a request loads nothing".to_owned())
        }
        (Effect::Loads, _) => (Verdict::Loads, count(answer)),
        (_, Resolution::Blacklisted { .. }) => (
            Verdict::Blocked,
            "modprobe ignores requests by alias for it; it is still loaded by its own name and as a dependency"
                .to_owned(),
        ),
        (_, Resolution::Install { .. }) => (Verdict::Blocked, "modprobe runs a command instead".to_owned()),
        (_, Resolution::Off { .. }) => (Verdict::Blocked, "an alias line disables it".to_owned()),
        (_, _) => (Verdict::Blocked, "modprobe has modules for it, but they are blocked".to_owned()),
    };
    carriers(answer, name, &resolution, config);
    module::complete(answer, name, &resolution, config, index, machine);
}

/// Adds the modules that share the alias, and lines that keep only some of them out.
fn carriers(answer: &mut Answer, name: &Text, resolution: &Resolution, config: &Config) {
    let Resolution::Modules(planned) = resolution else { return };
    let is_alias = planned.iter().any(|planned| planned.reason == Reason::Alias);
    let all: Vec<String> =
        std::str::from_utf8(name.as_bytes()).into_iter().flat_map(|name| config.carriers(name)).collect();
    if !is_alias || all.len() < 2 {
        return;
    }
    for carrier in &all {
        let is_planned = planned.iter().any(|planned| planned.module == *carrier);
        if let (false, Some(line)) = (is_planned, config.blacklist_line(carrier)) {
            answer.ineffective.push(format!("{line}, for the others with this alias: it keeps out {carrier} only"));
        }
    }
    answer.carriers = all;
}

fn not_found(has_cause: bool, name: &Text) -> String {
    match (has_cause, name.as_bytes().len() > NAME_BYTES) {
        (true, _) => "no module here provides it: a request loads nothing, and the requester continues without it",
        (false, false) => {
            "unknown name: the kernel requests no name of this form, and no module here has this name or alias"
        }
        (false, true) => {
            "unknown name: no module here has this name or alias, and it is longer than the 55 bytes that the \
             kernel can ask for"
        }
    }
    .to_owned()
}

/// The description of a load: `modprobe loads 2 modules, 1 more loaded already`.
fn count(answer: &Answer) -> String {
    let there = answer.modules.iter().filter(|step| step.loaded == Some(true)).count();
    let plural = |count: usize| if count == 1 { "" } else { "s" };
    let new = answer.modules.len() - there;
    let loaded = if there == 0 { String::new() } else { format!(", {there} more loaded already") };
    format!("modprobe loads {new} module{}{loaded}", plural(new))
}

#[cfg(test)]
mod tests;
