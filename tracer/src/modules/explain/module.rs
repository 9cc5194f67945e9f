//! What is to be known about a module, in addition to a request by its own name: its aliases, the modules that depend on it, and lines
//! that do not do what they seem to do.

use super::{Answer, BlockedAlias, Verdict, cause};
use crate::{
    event::Text,
    glob,
    modprobe::{Config, ModuleIndex, Resolution, resolve, resolve_module},
    modules::{Effect, Machine, Prospect, Reach, families, prospect::prospect_of_module},
};

/// Maximum number of aliases that are resolved, and of dependent modules that are tried; device drivers have thousands of aliases.
const TRIED: usize = 512;

/// Maximum number of names in one sentence.
const NAMED: usize = 6;

/// Completes the answer about a name.
pub(super) fn complete(
    answer: &mut Answer,
    name: &Text,
    resolution: &Resolution,
    config: &Config,
    index: &ModuleIndex,
    machine: &Machine,
) {
    let Some(normal) = glob::normalize(name.as_bytes()) else { return };
    let module = String::from_utf8_lossy(&normal).into_owned();
    ignored(answer, &module, resolution, config);
    if index.is_builtin(&module) || index.file(&module).is_some() {
        answer.known = true;
        answer.needed_by = index.users_of(&module);
        causes(answer, &module, config, index, machine);
    }
    if index.file(&module).is_some() {
        requests(answer, name, &module, config, index, machine);
        blacklist(answer, name, &module, config);
    }
    let subject = match resolution {
        Resolution::Blacklisted { module, .. } | Resolution::Install { module, .. } => Some(module.clone()),
        Resolution::Off { .. } => config.carriers(&module).next(),
        _ => None,
    };
    let is_own = index.file(&module).is_some();
    let subject = if is_own { Some(module) } else { subject };
    if let Some(subject) = subject.filter(|_| answer.verdict == Verdict::Blocked) {
        let is_dependency = still_loaded(answer, &subject, config, index, machine);
        if is_own && is_dependency && answer.causes.is_empty() {
            answer.verdict = Verdict::AsDependency;
            "its own name is blocked, but it is loaded as a dependency".clone_into(&mut answer.detail);
        }
    }
}

/// Adds lines that have no effect, if they name the module, or the name.
fn ignored(answer: &mut Answer, name: &str, resolution: &Resolution, config: &Config) {
    let mut names = vec![name];
    match resolution {
        Resolution::Modules(planned) => names.extend(planned.iter().map(|planned| planned.module.as_str())),
        Resolution::Blacklisted { module, .. }
        | Resolution::Install { module, .. }
        | Resolution::BuiltIn { module } => names.push(module),
        Resolution::Off { .. } | Resolution::NotFound => {}
    }
    let lines = config.ignored().iter().filter(|line| line.is_about(&names));
    answer.ignored_lines = lines.map(ToString::to_string).collect();
}

/// Adds the causes of requests for the aliases of a module.
fn causes(answer: &mut Answer, module: &str, config: &Config, index: &ModuleIndex, machine: &Machine) {
    let carried = config.aliases_of(module).map(str::as_bytes);
    for alias in carried.chain(index.builtin_aliases_of(module)) {
        let alias = Text::from(alias);
        let Some(found) = families::find(&alias) else { continue };
        let known = answer.causes.iter_mut().find(|known| known.action == found.action);
        match known {
            Some(known) => known.more_aliases += usize::from(known.alias != alias.field()),
            None => answer.causes.push(cause(&alias, found, machine)),
        }
    }
}

/// The verdict for a module is that of the kernel's requests: by its own name, if it has a family, and by its aliases. Those that users
/// can cause decide, as on the surface; if there are none, those of root and of hardware.
fn requests(answer: &mut Answer, name: &Text, module: &str, config: &Config, index: &ModuleIndex, machine: &Machine) {
    let (mut by_users, mut by_root): (Option<Prospect>, Option<Prospect>) = (None, None);
    let mut add = |alias: &Text, prospect: Prospect| {
        let is_for_users =
            families::family(alias).is_some_and(|family| Reach::of(alias, family, machine).is_for_users());
        let best = if is_for_users { &mut by_users } else { &mut by_root };
        if best.as_ref().is_none_or(|best| prospect.effect < best.effect) {
            *best = Some(prospect);
        }
    };
    if families::family(name).is_some() {
        add(name, Prospect::of(&resolve(config, index, name.as_bytes()), machine));
    }
    let mut has_tried_pattern = false;
    let aliases = config.aliases_of(module).filter(|alias| families::family(&Text::from(*alias)).is_some());
    for alias in aliases.take(TRIED).filter(|alias| *alias != module) {
        let is_pattern = alias.contains(['*', '?', '[', '\\']);
        let prospect = match is_pattern {
            // All patterns of a module lead to the same.
            true if has_tried_pattern => continue,
            true => Prospect::of(&resolve_module(config, index, module, true), machine),
            false => prospect_of_module(alias, module, config, index, machine),
        };
        has_tried_pattern |= is_pattern;
        if let (Effect::Blocked, Some(block)) = (prospect.effect, prospect.blocks.first()) {
            answer.blocked_aliases.push(BlockedAlias { alias: alias.to_owned(), block: block.clone() });
        }
        add(&Text::from(alias), prospect);
    }
    let by_name = answer.verdict;
    if by_name == Verdict::Blocked && machine.is_live(module) {
        answer.verdict = Verdict::AlreadyLoaded;
        "it is loaded already: a request loads nothing".clone_into(&mut answer.detail);
        let until = |line| format!("{line}, until the next boot: {module} is loaded already");
        answer.ineffective.extend(answer.blocks.drain(..).map(until));
        return;
    }
    let is_open_to_root = by_root.as_ref().is_some_and(|best| best.effect == Effect::Loads);
    let has_users = by_users.is_some();
    let Some(best) = by_users.or(by_root) else { return };
    match (best.effect, by_name) {
        (Effect::Blocked, Verdict::Loads) => {
            answer.verdict = Verdict::Blocked;
            "the requests of the kernel for it are blocked".clone_into(&mut answer.detail);
            if has_users && is_open_to_root {
                "the requests that users can cause are blocked".clone_into(&mut answer.detail);
                answer.still_loaded.push("by requests that only root or hardware causes".to_owned());
            }
            answer.blocks = best.blocks;
        }
        (Effect::Loads, Verdict::Blocked) => {
            answer.verdict = Verdict::Loads;
            answer.detail =
                format!("its own name is blocked, but the kernel requests {module} by other names, which load it");
            let only = |line| format!("{line}: it affects this name only");
            answer.ineffective.extend(answer.blocks.drain(..).map(only));
        }
        _ => {}
    }
}

/// Adds a blacklist line that does not apply to this name.
fn blacklist(answer: &mut Answer, name: &Text, module: &str, config: &Config) {
    let Some(line) = config.blacklist_line(module) else { return };
    // Where an alias is blocked by it, it is shown with the alias.
    let is_shown = answer.blocks.iter().any(|block| block.starts_with(&line));
    let why = if families::family(name).is_some() {
        "the kernel requests this module by its own name, and a blacklist applies to aliases only"
    } else if config.aliases_of(module).next().is_none() {
        "a blacklist applies to aliases only, and this module has none"
    } else if is_shown {
        return;
    } else {
        "a blacklist applies to aliases only, not to `modprobe NAME` or dependencies"
    };
    answer.ineffective.push(format!("{line}: {why}"));
}

/// Adds the ways to load a module that remain if requests for it are blocked. Returns whether it is loaded as a dependency.
fn still_loaded(answer: &mut Answer, module: &str, config: &Config, index: &ModuleIndex, machine: &Machine) -> bool {
    let loads = |name: &str| {
        let resolution = resolve(config, index, name.as_bytes());
        let is_among = match &resolution {
            Resolution::Modules(planned) => {
                planned.iter().any(|planned| planned.module == module && planned.command.is_none())
            }
            _ => false,
        };
        is_among && Prospect::of(&resolution, machine).effect == Effect::Loads
    };
    let by_dependents: Vec<String> =
        index.users_of(module).into_iter().take(TRIED).filter(|user| loads(user)).collect();
    if !by_dependents.is_empty() {
        let more = by_dependents.len().saturating_sub(NAMED);
        let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
        let shown = by_dependents.get(..NAMED.min(by_dependents.len())).unwrap_or_default().join(", ");
        answer.still_loaded.push(format!("as a dependency of {shown}{rest}"));
    }
    if loads(module) {
        answer.still_loaded.push(format!("by `modprobe {module}`"));
    }
    !by_dependents.is_empty()
}
