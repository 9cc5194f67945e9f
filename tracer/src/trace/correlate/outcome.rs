//! Classifies the outcome of a request: by what arrived in its chain, by the kernel's return value, and, where these are not enough,
//! by the configuration of the installed modprobe and the modules on disk. The latter is marked as inferred.

mod not_arrived;

use std::sync::Arc;

use not_arrived::{failure, success};

use super::{environment::Environment, history::History};
use crate::{
    event::{Attribution, Outcome, Reason, RequestId, Status, Text},
    glob,
    kernel::errno,
    modprobe::{Planned, Resolution, Unresolved},
};

/// A module that failed to load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// The module or file.
    pub what: String,
    /// Negative errno.
    pub ret: i32,
}

impl Failure {
    pub(super) fn detail(&self) -> String {
        format!("{}: {}", self.what, errno_name(self.ret))
    }

    fn outcome(&self) -> Outcome {
        Outcome {
            errno: Some(errno_name(self.ret)),
            detail: Some(self.detail()),
            ..Outcome::new(Status::Failed, Attribution::exact())
        }
    }
}

/// Maximum number of failures in a detail.
const FAILURES_SHOWN: usize = 4;

/// What is known when a request ends.
#[derive(Debug)]
pub(super) struct OutcomeInput<'a> {
    pub id: RequestId,
    pub name: &'a Text,
    /// Return value of `call_usermodehelper_exec`.
    pub ret: i32,
    pub wait: bool,
    /// When it began, nanoseconds since boot and since 1970.
    pub began_ns: u64,
    pub began_realtime_ns: i64,
    pub duration_ns: Option<u64>,
    /// Modules that were loaded for it and not removed.
    pub loaded: &'a [String],
    pub failures: &'a [Failure],
    /// What requests of its helper's descendants did.
    pub nested: &'a Nested,
    pub history: &'a History,
}

/// What is known of the requests that descendants of a request's helper made.
#[derive(Clone, Debug, Default)]
pub(super) struct Nested {
    /// Modules that were loaded for them and not removed.
    pub loaded: Vec<String>,
    /// A load for one of them failed.
    pub has_failed: bool,
}

impl OutcomeInput<'_> {
    /// The modules that arrived in its chain and stayed.
    fn arrived(&self) -> impl Iterator<Item = &String> {
        self.loaded.iter().chain(&self.nested.loaded)
    }

    /// Whether the requested module arrived. Dependencies are loaded even if a command runs instead of the module.
    fn is_loaded(&self, resolution: Option<&Resolution>, environment: &mut dyn Environment) -> bool {
        // A module requested by its own name needs no index to be recognized.
        let own = glob::normalize(self.name.as_bytes());
        if own.is_some_and(|own| self.arrived().any(|module| module.as_bytes() == own)) {
            return true;
        }
        let is_planned = |module: &String| match resolution {
            Some(Resolution::Modules(modules)) => {
                modules.iter().any(|planned| is_wanted(planned) && planned.module == *module)
            }
            Some(Resolution::Install { module: wanted, .. }) => wanted == module,
            _ => false,
        };
        self.arrived().any(|module| is_planned(module) || environment.carries(self.name, module))
    }

    /// Whether a module was loaded when the request began; `None` if that is unknown.
    fn was_loaded(&self, module: &str, environment: &mut dyn Environment) -> Option<bool> {
        self.history.was_loaded(module, self.began_ns, environment.is_loaded(module))
    }

    /// Who loaded a module while the request ran, outside its chain.
    fn loaded_elsewhere(&self, module: &str) -> Option<String> {
        let arrival = self.history.arrival_since(module, self.began_ns)?;
        match arrival.by {
            Some(by) if by == self.id => None,
            Some(by) => Some(format!("request {by}")),
            None => Some("a process outside of it".to_owned()),
        }
    }

    /// The exit code of the helper, or the signal that killed it.
    fn end_of_helper(&self) -> String {
        match (self.ret & 0x7f, self.ret >> 8) {
            (0, code) => format!("modprobe exited with {code}"),
            (signal, _) => format!("modprobe was killed by signal {signal}"),
        }
    }
}

/// Whether a module is the requested one, and not only a dependency.
const fn is_wanted(planned: &Planned) -> bool {
    matches!(planned.reason, Reason::Asked | Reason::Alias)
}

/// Classifies a request that reached the usermode helper code.
pub(super) fn classify(input: &OutcomeInput<'_>, environment: &mut dyn Environment) -> Outcome {
    let is_killed = input.ret & 0x7f != 0;
    let mut outcome = match input.ret {
        ret if ret < 0 => by_errno(ret),
        _ if !input.wait && !is_killed => Outcome::new(Status::NotWaited, Attribution::exact()),
        ret => {
            // The configuration may have changed right before the request.
            environment.expire_before(input.began_realtime_ns);
            let resolution = environment.resolve(input.name).map(Arc::unwrap_or_clone);
            // What arrived decides, whatever the configuration and the exit code say.
            if input.is_loaded(resolution.as_ref().ok(), environment) {
                loaded(input)
            } else if is_killed {
                killed(ret)
            } else {
                let changed = resolution.is_ok().then(|| environment.changed_since(input.began_realtime_ns)).flatten();
                let resolution = match changed {
                    Some(path) => Err(Unresolved::Config(format!("{path} was changed while the request ran"))),
                    None => resolution,
                };
                if ret == 0 { success(input, resolution, environment) } else { failure(input, resolution, environment) }
            }
        }
    };
    outcome.code = Some(input.ret);
    outcome.duration_ns = input.duration_ns;
    outcome
}

/// The requested module arrived. The detail lists what else went wrong.
fn loaded(input: &OutcomeInput<'_>) -> Outcome {
    let mut failures: Vec<String> = input.failures.iter().take(FAILURES_SHOWN).map(Failure::detail).collect();
    let more = input.failures.len().saturating_sub(FAILURES_SHOWN);
    if more > 0 {
        failures.push(format!("and {more} more failures"));
    }
    if failures.is_empty() && input.ret != 0 {
        failures.push(input.end_of_helper());
    }
    let detail = (!failures.is_empty()).then(|| format!("nevertheless {}", failures.join("; ")));
    Outcome { detail, ..Outcome::new(Status::Loaded, Attribution::exact()) }
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
