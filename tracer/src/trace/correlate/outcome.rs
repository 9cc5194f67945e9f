//! Classifies the outcome of a request: by the kernel's return value, by the observed loads, and, where these are not
//! enough, by the configuration of the installed modprobe. The latter is marked as inferred.

use super::environment::Environment;
use crate::{
    event::{Attribution, Outcome, Reason, Status, Text},
    glob,
    kernel::errno,
    modprobe::{Planned, Resolution},
};

/// The rule of a status that was inferred from the configuration.
const BY_CONFIG: &str = "modprobe-config";

/// A module that failed to load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// The module or file.
    pub what: String,
    /// Negative errno.
    pub ret: i32,
}

/// What is known when a request ends.
#[derive(Debug)]
pub(super) struct OutcomeInput<'a> {
    pub name: &'a Text,
    /// Return value of `call_usermodehelper_exec`.
    pub ret: i32,
    pub wait: bool,
    pub duration_ns: Option<u64>,
    /// Modules that were loaded and not removed.
    pub loaded: &'a [String],
    pub failures: &'a [Failure],
    /// Another request that loaded the same module while this one ran.
    pub parallel: Option<String>,
}

impl OutcomeInput<'_> {
    /// Whether the requested module was loaded. Dependencies are loaded even if a command runs instead of the module.
    fn is_loaded(&self, resolution: Option<&Resolution>) -> bool {
        let has_arrived = |module: &str| self.loaded.iter().any(|loaded| loaded == module);
        // A module requested by its own name needs no configuration to be recognized.
        let own = glob::normalize(self.name.as_bytes());
        if own.is_some_and(|own| self.loaded.iter().any(|loaded| loaded.as_bytes() == own)) {
            return true;
        }
        match resolution {
            Some(Resolution::Modules(modules)) => {
                let mut wanted = modules.iter().filter(|planned| is_wanted(planned));
                wanted.any(|planned| has_arrived(&planned.module))
            }
            Some(Resolution::Install { module, .. }) => has_arrived(module),
            _ => false,
        }
    }
}

/// Whether a module is the requested one, and not only a dependency.
const fn is_wanted(planned: &Planned) -> bool {
    matches!(planned.reason, Reason::Asked | Reason::Alias)
}

/// Classifies a request that reached the usermode helper code.
pub(super) fn classify(input: &OutcomeInput<'_>, environment: &mut dyn Environment) -> Outcome {
    let mut outcome = match input.ret {
        ret if ret < 0 => by_errno(ret),
        ret if ret & 0x7f != 0 => killed(ret),
        _ if !input.wait => Outcome::new(Status::NotWaited, Attribution::exact()),
        0 => success(input, environment),
        _ => failure(input, environment),
    };
    outcome.code = Some(input.ret);
    outcome.duration_ns = input.duration_ns;
    outcome
}

/// The name of an errno, or its number if it has none.
pub(super) fn errno_name(ret: i32) -> String {
    errno::name(-ret).map_or_else(|| format!("errno {}", -ret), str::to_owned)
}

/// `call_usermodehelper_exec` failed: modprobe was not executed, or the requester was killed.
fn by_errno(ret: i32) -> Outcome {
    /// `ERESTARTSYS`, include/linux/errno.h.
    const INTERRUPTED: i32 = -512;
    let status = if ret == INTERRUPTED { Status::Interrupted } else { Status::HelperFailed };
    let detail = match ret {
        INTERRUPTED => "the requester was killed while it waited; modprobe continued",
        -2 => "the program in kernel.modprobe does not exist",
        -13 => "permission to execute the program in kernel.modprobe was denied",
        -8 => "the program in kernel.modprobe is not executable by this kernel",
        _ => "the kernel could not run modprobe",
    };
    Outcome {
        errno: Some(errno_name(ret)),
        detail: Some(detail.to_owned()),
        ..Outcome::new(status, Attribution::exact())
    }
}

/// modprobe was killed: the wait status contains the signal.
fn killed(ret: i32) -> Outcome {
    let detail = format!("modprobe was killed by signal {}", ret & 0x7f);
    Outcome { detail: Some(detail), ..Outcome::new(Status::HelperFailed, Attribution::exact()) }
}

/// An outcome inferred from the configuration.
fn by_config(status: Status, detail: Option<String>) -> Outcome {
    Outcome { detail, ..Outcome::new(status, Attribution::inferred(BY_CONFIG)) }
}

/// modprobe exited with 0. That does not prove that a module was loaded.
fn success(input: &OutcomeInput<'_>, environment: &mut dyn Environment) -> Outcome {
    let resolution = environment.resolve(input.name);
    if input.is_loaded(resolution.as_ref()) {
        return Outcome::new(Status::Loaded, Attribution::exact());
    }
    let unknown =
        |detail: String| Outcome { detail: Some(detail), ..Outcome::new(Status::Unknown, Attribution::unknown()) };
    let others = input.loaded.join(", ");
    let Some(resolution) = resolution else {
        let open = match others.as_str() {
            "" => String::new(),
            others => format!(", so it is unknown whether {others} is the requested module"),
        };
        return unknown(format!("modprobe reports success; its configuration could not be read{open}"));
    };
    if let Some(request) = &input.parallel {
        return by_config(Status::AlreadyLoaded, Some(format!("loaded meanwhile by request {request}")));
    }
    match &resolution {
        Resolution::Install { module, .. } if environment.is_loaded(module) => {
            by_config(Status::AlreadyLoaded, Some(resolution.detail()))
        }
        Resolution::Off { .. } | Resolution::Blacklisted { .. } | Resolution::Install { .. } => {
            by_config(Status::Blocklisted, Some(resolution.detail()))
        }
        Resolution::BuiltIn { .. } => by_config(Status::AlreadyLoaded, Some(resolution.detail())),
        Resolution::Modules(modules) => match missing(modules, environment) {
            None => by_config(Status::AlreadyLoaded, None),
            Some(_) if resolution.is_blocked() => by_config(Status::Blocklisted, Some(resolution.detail())),
            Some(planned) => unknown(format!("modprobe reports success, but {} is not loaded", planned.module)),
        },
        Resolution::NotFound if others.is_empty() => {
            unknown("modprobe reports success without loading anything".to_owned())
        }
        Resolution::NotFound => {
            unknown(format!("modprobe reports success; it is unknown whether {others} provides the name"))
        }
    }
}

/// The first requested module that is not loaded. Soft dependencies may be missing.
fn missing<'a>(modules: &'a [Planned], environment: &mut dyn Environment) -> Option<&'a Planned> {
    modules.iter().find(|planned| is_wanted(planned) && !environment.is_loaded(&planned.module))
}

/// modprobe exited with an error. The kernel does not distinguish the reasons.
fn failure(input: &OutcomeInput<'_>, environment: &mut dyn Environment) -> Outcome {
    if let Some(Failure { what, ret }) = input.failures.last() {
        return Outcome {
            errno: Some(errno_name(*ret)),
            detail: Some(format!("{what}: {}", errno_name(*ret))),
            ..Outcome::new(Status::Failed, Attribution::exact())
        };
    }
    let Some(resolution) = environment.resolve(input.name) else {
        let detail = format!("modprobe exited with {}; its configuration could not be read", input.ret >> 8);
        return Outcome { detail: Some(detail), ..Outcome::new(Status::Failed, Attribution::unknown()) };
    };
    match &resolution {
        Resolution::NotFound => by_config(Status::NotFound, None),
        Resolution::Install { command, .. } if !is_ban(command) => {
            by_config(Status::Failed, Some(format!("the command failed: {}", resolution.detail())))
        }
        _ if resolution.is_blocked() => by_config(Status::Blocklisted, Some(resolution.detail())),
        Resolution::BuiltIn { .. } => {
            by_config(Status::Failed, Some(format!("{}, but modprobe failed", resolution.detail())))
        }
        _ => by_config(
            Status::Failed,
            Some("modprobe failed before it called the kernel (a missing or unreadable module file?)".to_owned()),
        ),
    }
}

/// Whether an `install` command is one of the usual ways to disable a module.
fn is_ban(command: &str) -> bool {
    let program = command.split_ascii_whitespace().next().unwrap_or_default();
    let name = program.rsplit('/').next().unwrap_or_default();
    matches!(name, "false" | "true" | ":" | "exit")
}

#[cfg(test)]
mod tests {
    use super::is_ban;

    /// Commands that only succeed or fail count as a ban, all others as a replacement.
    #[test]
    fn install_command_without_effect_is_a_ban() {
        for command in ["/bin/false", "/bin/true", "false", "/usr/bin/true # off", ": nothing"] {
            assert!(is_ban(command), "{command}");
        }
        for command in ["/bin/sh -c 'modprobe --ignore-install x'", "", "/sbin/modprobe -i x && true"] {
            assert!(!is_ban(command), "{command}");
        }
    }
}
