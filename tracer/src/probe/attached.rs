//! Hooks as they are attached: each in the best way that works.

use std::{num::NonZero, panic::resume_unwind, path::Path, sync::Mutex, thread, time::Duration};

use aya::{Btf, Ebpf};

use super::{
    ProbeError, attach,
    hooks::{ASIDE, Hook, Program},
    options::Preference,
    programs::Programs,
};

/// What became of a hook.
#[derive(Debug)]
pub struct AttachedHook {
    /// The hook.
    pub hook: &'static Hook,
    /// The programs that are attached; empty when none could be.
    pub programs: &'static [Program],
    /// Ways that were tried in vain, and why.
    pub refused: Vec<String>,
    /// Whether it stays attached when this process is gone.
    pub pinned: bool,
}

impl AttachedHook {
    /// How it is attached: `fexit+fentry`; `None` when it is not.
    #[must_use]
    pub fn how(&self) -> Option<String> {
        let names: Vec<&str> = self.programs.iter().map(|program| program.how.name()).collect();
        (!names.is_empty()).then(|| names.join("+"))
    }
}

/// How programs are attached.
#[derive(Clone, Copy)]
pub(super) struct Attaching<'a> {
    /// The functions that they attach to.
    pub(super) targets: &'a Btf,
    pub(super) preference: Preference,
    /// Where they are pinned.
    pub(super) pins: Option<&'a Path>,
}

/// Attaches hooks, each in the best way that works; with `pins`, in one that outlasts this process if there is any.
///
/// One after the other: late stages come first. But the verifier has most of the work, so programs are loaded ahead, side
/// by side; and one hook is attached aside.
///
/// # Errors
/// When a map of the object cannot be used.
pub(super) fn attach_hooks(
    ebpf: &mut Ebpf,
    hooks: &[&'static Hook],
    how: Attaching<'_>,
) -> Result<Vec<AttachedHook>, ProbeError> {
    let programs = &Programs::of(ebpf)?;
    let ahead = &Mutex::new(ahead(hooks, how.preference).into_iter());
    let next = || ahead.lock().ok()?.next();
    let load_ahead = move || {
        while let Some(program) = next() {
            // Whoever attaches it will see for himself, and say why.
            programs.with_unused(program.name, |loaded| attach::load(loaded, program, how.targets).ok());
            // To attach the first trampoline, the kernel waits until every task has slept (synchronize_rcu_tasks).
            thread::sleep(Duration::from_micros(1));
        }
    };
    let attached = thread::scope(|scope| {
        let attach = move |hook: &'static Hook| attach_hook(programs, hook, how);
        let aside = hooks.iter().position(|hook| hook.name == ASIDE).and_then(|at| {
            let hook = hooks.get(at)?;
            let thread = thread::Builder::new().spawn_scoped(scope, move || attach(hook));
            thread.map(|thread| (at, thread)).inspect_err(|error| log::debug!("{ASIDE} comes in between: {error}")).ok()
        });
        let threads = thread::available_parallelism().map_or(1, NonZero::get).min(LOADERS_MAX);
        for _ in 0..threads {
            if let Err(error) = thread::Builder::new().spawn_scoped(scope, load_ahead) {
                log::debug!("no program is loaded ahead: {error}");
            }
        }
        let others = hooks.iter().filter(|hook| aside.is_none() || hook.name != ASIDE);
        let mut attached: Vec<AttachedHook> = others.map(|hook| attach(hook)).collect();
        if let Some((at, thread)) = aside {
            attached.insert(at, thread.join().unwrap_or_else(|panic| resume_unwind(panic)));
        }
        attached
    });
    Ok(attached)
}

/// Few programs take long.
const LOADERS_MAX: usize = 4;

/// What will be needed where the first way of each hook works, those that others jump to first: they have most to do.
fn ahead(hooks: &[&'static Hook], preference: Preference) -> Vec<Program> {
    let first = |hook: &&'static Hook| hook.ways.iter().find(|way| preference.allows(way)).or(hook.ways.first());
    let programs = || hooks.iter().filter_map(first).copied().flatten();
    let tails = programs().filter_map(|program| program.jumps_to);
    let mut wanted: Vec<Program> = Vec::new();
    for program in tails.chain(programs()) {
        if wanted.iter().all(|other| other.name != program.name) {
            wanted.push(*program);
        }
    }
    wanted
}

/// Attaches a hook.
fn attach_hook(programs: &Programs<'_>, hook: &'static Hook, how: Attaching<'_>) -> AttachedHook {
    let mut refused = Vec::new();
    let places: &[Option<&Path>] = if how.pins.is_some() { &[how.pins, None] } else { &[None] };
    for place in places {
        for way in hook.ways {
            if !how.preference.allows(way) && hook.ways.iter().any(|way| how.preference.allows(way)) {
                continue;
            }
            let attached = way.iter().try_for_each(|program| match place {
                Some(pins) => attach::attach_pinned(programs, *program, how.targets, pins),
                None => attach::attach(programs, *program, how.targets),
            });
            match attached {
                Ok(()) => return AttachedHook { hook, programs: way, refused, pinned: place.is_some() },
                Err(error) => {
                    refused.push(error.to_string());
                    for program in *way {
                        attach::detach(programs, *program);
                        if let Some(pins) = place {
                            attach::detach_pinned(*program, pins);
                        }
                    }
                }
            }
        }
    }
    AttachedHook { hook, programs: &[], refused, pinned: false }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{super::hooks::HOOKS, Hook, Preference, ahead};

    /// Check that each program of the first ways is loaded ahead, once, and before all others those that do most of the work.
    #[test]
    fn the_largest_programs_are_loaded_first() {
        let hooks: Vec<&Hook> = HOOKS.iter().collect();
        let wanted = ahead(&hooks, Preference::Best);
        let names: HashSet<&str> = wanted.iter().map(|program| program.name).collect();
        assert_eq!(names.len(), wanted.len());
        let first = HOOKS.iter().filter_map(|hook| hook.ways.first()).copied().flatten();
        assert!(first.clone().all(|program| names.contains(program.name)));
        let tails: HashSet<&str> = first.filter_map(|program| program.jumps_to).map(|program| program.name).collect();
        assert_eq!(tails, wanted.iter().take(tails.len()).map(|program| program.name).collect());
    }
}
