//! Loads each hook into the running kernel and attaches it briefly.

use std::path::Path;

use serde::Serialize;
use tokio::runtime::Builder;

use super::rights;
use crate::{
    causes::with_causes,
    kernel::{btf::Btf, sysinfo::SystemInfo},
    probe::{Addresses, AttachedHook, Need, Options, Tracer, is_built_in},
};

/// The result of the attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Hooks {
    /// The hooks were tried.
    Tried {
        /// All hooks.
        hooks: Vec<HookState>,
    },
    /// The hooks were not tried.
    NotTried {
        /// The reason.
        why: String,
    },
    /// The programs could not be loaded.
    Failed {
        /// The reason.
        why: String,
    },
}

/// The state of a hook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct HookState {
    /// Its name.
    pub hook: &'static str,
    /// Whether tracing works without it.
    pub required: bool,
    /// How it is attached (`fexit+fentry`); `None` if it is not.
    pub attached: Option<String>,
    /// Attach methods that the kernel refused, with the reasons.
    pub refused: Vec<String>,
    /// What is not traced if it is not attached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub costs: Option<&'static str>,
    /// The cost of each of its programs for the verifier.
    pub programs: Vec<ProgramCost>,
}

/// The verifier's cost of a program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ProgramCost {
    /// The program.
    pub program: &'static str,
    /// Number of verified instructions; `None` on kernels before 5.16, which do not report it.
    pub verified_instructions: Option<u32>,
}

/// Attaches every hook and detaches it again.
pub(super) fn try_all(sysinfo: &SystemInfo) -> Hooks {
    if sysinfo.root() != Path::new("/") {
        return Hooks::NotTried { why: "the root is not that of the running system".to_owned() };
    }
    if !is_built_in() {
        let why = "this kmodtrace was built without its eBPF object; build it with `cargo xtask build`";
        return Hooks::NotTried { why: why.to_owned() };
    }
    if let Some(missing) = rights::missing(sysinfo) {
        let why = format!("the hooks were not tried: missing privileges ({missing}); run `sudo kmodtrace doctor`");
        return Hooks::NotTried { why };
    }
    match attempt() {
        Ok(hooks) => Hooks::Tried { hooks },
        Err(error) => Hooks::Failed { why: with_causes(&*error) },
    }
}

fn attempt() -> Result<Vec<HookState>, Box<dyn std::error::Error>> {
    let btf = Btf::load()?;
    // The ring buffer of a tracer is registered with an event loop, although nothing is read here.
    let runtime = Builder::new_current_thread().enable_io().build()?;
    let entered = runtime.enter();
    let tracer = Tracer::attempt(&btf, Addresses::default(), Options::default())?;
    drop(entered);
    let costs = tracer.verified_instructions();
    Ok(tracer.hooks.iter().map(|hook| state(hook, &costs)).collect())
}

fn state(attached: &AttachedHook, costs: &[(String, u32)]) -> HookState {
    let cost = |name: &str| costs.iter().find(|(program, _)| program == name).map(|(_, count)| *count);
    let programs = attached.programs.iter();
    let programs = programs.map(|one| ProgramCost { program: one.name, verified_instructions: cost(one.name) });
    HookState {
        hook: attached.hook.name,
        required: attached.hook.need == Need::Required,
        attached: attached.how(),
        refused: attached.refused.clone(),
        costs: attached.programs.is_empty().then_some(attached.hook.without),
        programs: programs.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::{AttachedHook, Hooks, SystemInfo, state, try_all};
    use crate::probe::HOOKS;

    /// An attached hook has its programs and their cost, a missing one has the consequence.
    #[test]
    fn hook_has_its_cost_or_the_consequence() {
        let hook = &HOOKS[0];
        let programs = hook.methods[0];
        let costs = [(programs[0].name.to_owned(), 123)];
        let good = state(&AttachedHook { hook, programs, refused: Vec::new(), pinned: false }, &costs);
        assert_eq!((good.programs[0].verified_instructions, good.costs), (Some(123), None));
        let bad = state(&AttachedHook { hook, programs: &[], refused: vec!["no".to_owned()], pinned: false }, &costs);
        assert_eq!((bad.attached, bad.costs), (None, Some(hook.without)));
    }

    /// No hook is attached for another system's root.
    #[test]
    fn hooks_of_another_system_are_not_tried() {
        let root = tempfile::tempdir().unwrap();
        assert!(matches!(try_all(&SystemInfo::new(root.path())), Hooks::NotTried { .. }));
    }
}
