//! Hooks as they are attached: each in the best way that works.

use std::path::Path;

use aya::{Btf as LoaderBtf, Ebpf};

use super::{
    attach,
    hooks::{Hook, Program},
    options::Preference,
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

/// Attaches a hook in the best way that works; with `pins`, in one that outlasts this process if there is any.
pub(super) fn attach_hook(
    ebpf: &mut Ebpf,
    hook: &'static Hook,
    btf: &LoaderBtf,
    preference: Preference,
    pins: Option<&Path>,
) -> AttachedHook {
    let mut refused = Vec::new();
    let places: &[Option<&Path>] = if pins.is_some() { &[pins, None] } else { &[None] };
    for place in places {
        for way in hook.ways {
            if !preference.allows(way) && hook.ways.iter().any(|way| preference.allows(way)) {
                continue;
            }
            let attached = way.iter().try_for_each(|program| match place {
                Some(pins) => attach::attach_pinned(ebpf, *program, btf, pins),
                None => attach::attach(ebpf, *program, btf),
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
