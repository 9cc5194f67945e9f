//! Outcomes of requests whose module did not arrive: the configuration of modprobe and the modules on disk explain why. These
//! outcomes are marked as inferred.

use super::{OutcomeInput, is_wanted};
use crate::{
    event::{Attribution, Outcome, Reason, Status},
    modprobe::{Command, Planned, Resolution, Unresolved, for_dependency, install_line, replaced_dependencies},
    trace::correlate::environment::Environment,
};

/// The rule of a status that was inferred from the configuration.
const BY_CONFIG: &str = "modprobe-config";

/// An outcome inferred from the configuration.
fn by_config(status: Status, detail: Option<String>) -> Outcome {
    Outcome { detail, ..Outcome::new(status, Attribution::inferred(BY_CONFIG)) }
}

/// An outcome that nothing determines.
fn unknown(detail: String) -> Outcome {
    Outcome { detail: Some(detail), ..Outcome::new(Status::Unknown, Attribution::unknown()) }
}

/// modprobe exited with 0, and the requested module did not arrive.
pub(super) fn success(
    input: &OutcomeInput<'_>,
    resolution: Result<Resolution, Unresolved>,
    environment: &mut dyn Environment,
) -> Outcome {
    let others: Vec<&str> = input.arrived().map(String::as_str).collect();
    let others = others.join(", ");
    let resolution = match resolution {
        Ok(resolution) => resolution,
        Err(Unresolved::NoModules(why) | Unresolved::Index(why) | Unresolved::Config(why)) => {
            let open = match others.as_str() {
                "" => String::new(),
                others => format!(", so it is unknown whether {others} is the requested module"),
            };
            return unknown(format!("modprobe reports success; its configuration is unknown: {why}{open}"));
        }
    };
    match &resolution {
        Resolution::Install { module, command, before } => {
            replaced(input, &resolution, (module, command, before), environment)
        }
        Resolution::Off { .. } | Resolution::Blacklisted { .. } => {
            by_config(Status::Blocklisted, Some(resolution.detail()))
        }
        Resolution::BuiltIn { module } => built_in(module),
        Resolution::Modules(modules) => nothing_new(input, modules, environment),
        Resolution::NotFound if others.is_empty() => {
            unknown("modprobe reports success without loading anything".to_owned())
        }
        Resolution::NotFound => {
            unknown(format!("modprobe reports success; it is unknown whether {others} provides the name"))
        }
    }
}

/// modprobe reports success for modules of which none arrived: they were loaded before, or are blocked.
fn nothing_new(input: &OutcomeInput<'_>, modules: &[Planned], environment: &mut dyn Environment) -> Outcome {
    // Soft dependencies may be missing.
    let mut wanted = modules.iter().filter(|planned| is_wanted(planned) && planned.command.is_none());
    let mut meanwhile = None;
    let open = wanted.find_map(|planned| match input.was_loaded(&planned.module, environment) {
        Some(true) => None,
        state => match input.loaded_elsewhere(&planned.module) {
            Some(by) => {
                meanwhile.get_or_insert(by);
                None
            }
            None => Some((planned, state)),
        },
    });
    match (open, input.failures.last()) {
        (None, _) => by_config(Status::AlreadyLoaded, meanwhile.map(|by| format!("loaded meanwhile by {by}"))),
        (Some(_), Some(failure)) => failure.outcome(),
        (Some((planned, state)), None) => stopped_by_command(input, modules, environment).unwrap_or_else(|| {
            unknown(match state {
                Some(_) => format!("modprobe reports success, but {} is not loaded", planned.module),
                None => format!(
                    "modprobe reports success; it is unknown whether {} was loaded when the request began",
                    planned.module
                ),
            })
        }),
    }
}

/// The outcome if a command replaces a dependency that was not loaded: modprobe runs the command only then.
fn stopped_by_command(
    input: &OutcomeInput<'_>,
    modules: &[Planned],
    environment: &mut dyn Environment,
) -> Option<Outcome> {
    let mut replaced = replaced_dependencies(modules);
    let (module, command) = replaced.find(|(module, _)| input.was_loaded(module, environment) != Some(true))?;
    let line = for_dependency(module, command);
    Some(match names_loader(&command.text) {
        true => by_config(Status::Failed, Some(format!("the command did not load {module}: {line}"))),
        false => by_config(Status::Blocklisted, Some(line)),
    })
}

/// The outcome if a command replaces the module, and the module did not arrive.
fn replaced(
    input: &OutcomeInput<'_>,
    resolution: &Resolution,
    (module, command, before): (&str, &Command, &[Planned]),
    environment: &mut dyn Environment,
) -> Outcome {
    // modprobe runs no command for a loaded module.
    let was_loaded = input.was_loaded(module, environment);
    if input.ret == 0 && was_loaded == Some(true) {
        return by_config(Status::AlreadyLoaded, Some(resolution.detail()));
    }
    if let Some(failure) = input.failures.last() {
        return failure.outcome();
    }
    if let Some(by) = input.loaded_elsewhere(module) {
        return unknown(format!("{module} was loaded by {by} while the command ran: {}", resolution.detail()));
    }
    if input.ret == 0 && was_loaded.is_none() {
        return unknown(format!(
            "it is unknown whether {module} was loaded when the request began: {}",
            resolution.detail()
        ));
    }
    let is_planned = |name: &String| before.iter().any(|planned| planned.module == *name);
    let others: Vec<&str> = input.arrived().filter(|name| !is_planned(name)).map(String::as_str).collect();
    let has_acted = !others.is_empty() || input.nested.has_failed;
    // A name that only has a command: what that loads is what the configuration means by the name.
    let is_virtual = input.ret == 0 && !environment.has_module(module);
    match (has_acted, names_loader(&command.text)) {
        (true, _) if is_virtual && !others.is_empty() => by_config(Status::Loaded, Some(resolution.detail())),
        (false, true) if is_virtual => {
            unknown(format!("the command reports success without loading anything: {}", resolution.detail()))
        }
        (true, _) if input.ret == 0 && !others.is_empty() => unknown(format!(
            "the command loaded {}; it is unknown whether that is what was requested: {}",
            others.join(", "),
            resolution.detail()
        )),
        (true, _) | (_, true) => {
            by_config(Status::Failed, Some(format!("the command did not load {module}: {}", resolution.detail())))
        }
        // Whatever its form, a command that loads nothing keeps the module out.
        (false, false) => by_config(Status::Blocklisted, Some(resolution.detail())),
    }
}

/// The kernel asks for a built-in feature only if that is not there.
fn built_in(module: &str) -> Outcome {
    let detail =
        format!("{module} is built into the kernel, but switched off, or has not registered what was requested");
    by_config(Status::BuiltIn, Some(detail))
}

/// modprobe exited with an error, and the requested module did not arrive. The kernel does not distinguish the reasons.
pub(super) fn failure(
    input: &OutcomeInput<'_>,
    resolution: Result<Resolution, Unresolved>,
    environment: &mut dyn Environment,
) -> Outcome {
    if let Some(failure) = input.failures.last() {
        return match (&resolution, input.arrived().next()) {
            (Err(Unresolved::NoModules(why) | Unresolved::Index(why) | Unresolved::Config(why)), Some(module)) => {
                unknown(format!("{}; it is unknown whether {module} is the requested module: {why}", failure.detail()))
            }
            _ => failure.outcome(),
        };
    }
    let resolution = match resolution {
        Ok(resolution) => resolution,
        Err(Unresolved::NoModules(why)) => return by_config(Status::NoModules, Some(why)),
        Err(Unresolved::Index(why)) => return by_config(Status::Failed, Some(why)),
        Err(Unresolved::Config(why)) => {
            let detail = format!("{}; its configuration is unknown: {why}", input.end_of_helper());
            return Outcome { detail: Some(detail), ..Outcome::new(Status::Failed, Attribution::unknown()) };
        }
    };
    match &resolution {
        Resolution::NotFound => by_config(Status::NotFound, None),
        Resolution::Install { module, command, before } => {
            replaced(input, &resolution, (module, command, before), environment)
        }
        Resolution::Off { .. } | Resolution::Blacklisted { .. } => {
            by_config(Status::Blocklisted, Some(resolution.detail()))
        }
        Resolution::BuiltIn { module } => built_in(module),
        Resolution::Modules(modules) => unloaded(input, modules, environment),
    }
}

/// modprobe failed before it called the kernel for modules that nothing forbids.
fn unloaded(input: &OutcomeInput<'_>, modules: &[Planned], environment: &mut dyn Environment) -> Outcome {
    if let Some(outcome) = stopped_by_command(input, modules, environment) {
        return outcome;
    }
    for planned in modules.iter().filter(|planned| planned.command.is_none() && planned.reason != Reason::Softdep) {
        if input.was_loaded(&planned.module, environment) != Some(true)
            && let Some(problem) = environment.file_problem(&planned.module)
        {
            return by_config(Status::Failed, Some(problem));
        }
    }
    // The last of several modules determines modprobe's exit code.
    let replaced = modules.iter().rfind(|planned| is_wanted(planned) && planned.command.is_some());
    if let Some(Planned { module, command: Some(command), .. }) = replaced {
        let line = format!("{}, for one of several modules", install_line(module, command));
        let status = if names_loader(&command.text) { Status::Failed } else { Status::Blocklisted };
        return by_config(status, Some(line));
    }
    by_config(
        Status::Failed,
        Some(format!("{} before it called the kernel; the reason was not seen", input.end_of_helper())),
    )
}

/// Whether a command names a program that loads modules.
fn names_loader(command: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    command.split(|c| !is_part(c)).any(|word| matches!(word, "modprobe" | "insmod"))
}

#[cfg(test)]
mod tests {
    use super::names_loader;

    /// Programs that load modules are found wherever they are in a command.
    #[test]
    fn command_that_names_a_loader_is_recognized() {
        for command in [
            "/sbin/modprobe -i x && true",
            "/bin/sh -c 'modprobe --ignore-install x'",
            "insmod /x.ko",
            "true;insmod x",
            "$(/usr/sbin/modprobe)",
            "busybox modprobe x",
        ] {
            assert!(names_loader(command), "{command}");
        }
        for command in
            ["/bin/false", "logger -t modprobe-blocked x; exit 1", "/usr/local/bin/my-modprobe", "", "modprobe.sh"]
        {
            assert!(!names_loader(command), "{command}");
        }
    }
}
