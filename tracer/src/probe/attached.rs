//! Hooks as they are attached: each in the best way that works.

use std::path::Path;

use aya::{Btf, Ebpf};

use super::{
    attach,
    hooks::{Hook, Program},
    options::Preference,
};

/// What became of a hook.
#[derive(Debug)]
#[non_exhaustive]
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
/// One after the other, in this thread: late stages come first, and no kernel is known to go wrong where programs are loaded
/// one at a time.
pub(super) fn attach_hooks(
    ebpf: &mut Ebpf,
    hooks: impl IntoIterator<Item = &'static Hook>,
    how: Attaching<'_>,
) -> Vec<AttachedHook> {
    hooks.into_iter().map(|hook| attach_hook(ebpf, hook, how)).collect()
}

/// Attaches a hook.
fn attach_hook(ebpf: &mut Ebpf, hook: &'static Hook, how: Attaching<'_>) -> AttachedHook {
    let mut refused = Vec::new();
    let places: &[Option<&Path>] = if how.pins.is_some() { &[how.pins, None] } else { &[None] };
    for place in places {
        for way in hook.ways {
            if !how.preference.allows(way) && hook.ways.iter().any(|way| how.preference.allows(way)) {
                continue;
            }
            let attached = way.iter().try_for_each(|program| match place {
                Some(pins) => attach::attach_pinned(ebpf, *program, how.targets, pins),
                None => attach::attach(ebpf, *program, how.targets),
            });
            match attached {
                Ok(()) => return AttachedHook { hook, programs: way, refused, pinned: place.is_some() },
                Err(error) => {
                    refused.push(error.to_string());
                    for program in *way {
                        attach::detach(ebpf, *program);
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
