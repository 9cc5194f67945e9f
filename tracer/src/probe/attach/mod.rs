//! Attaches hooks, each with the best attach method of this kernel.

mod program;

use std::path::Path;

use aya::{Btf, Ebpf};

pub use program::can_pin_kprobes;
pub(super) use program::pin_names;

use super::{
    hooks::{Hook, Program},
    options::Preference,
};

/// A hook and the result of attaching it.
#[derive(Debug)]
#[non_exhaustive]
pub struct AttachedHook {
    /// The hook.
    pub hook: &'static Hook,
    /// The attached programs; empty if no attach method works.
    pub programs: &'static [Program],
    /// The error of each attach method that failed.
    pub refused: Vec<String>,
    /// Whether it stays attached after this process.
    pub pinned: bool,
}

impl AttachedHook {
    /// The attach method, for example `fexit+fentry`; `None` if not attached.
    #[must_use]
    pub fn how(&self) -> Option<String> {
        let names: Vec<&str> = self.programs.iter().map(|program| program.how.name()).collect();
        (!names.is_empty()).then(|| names.join("+"))
    }
}

/// Options for attaching.
#[derive(Clone, Copy)]
pub(super) struct Attaching<'a> {
    /// The functions that programs attach to.
    pub(super) targets: &'a Btf,
    pub(super) preference: Preference,
    /// The directory for pins.
    pub(super) pins: Option<&'a Path>,
}

/// Attaches hooks, each with the best method that works; with `pins`, methods that can be pinned are preferred.
///
/// Sequential and in this thread: late stages must come first, and loading programs concurrently has failed on some kernels.
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
        for method in hook.methods {
            if !how.preference.allows(method) && hook.methods.iter().any(|method| how.preference.allows(method)) {
                continue;
            }
            let attached = method.iter().try_for_each(|it| match place {
                Some(pins) => program::attach_pinned(ebpf, *it, how.targets, pins),
                None => program::attach(ebpf, *it, how.targets),
            });
            match attached {
                Ok(()) => return AttachedHook { hook, programs: method, refused, pinned: place.is_some() },
                Err(error) => {
                    refused.push(error.to_string());
                    for failed in *method {
                        program::detach(ebpf, *failed);
                        if let Some(pins) = place {
                            program::detach_pinned(*failed, pins);
                        }
                    }
                }
            }
        }
    }
    AttachedHook { hook, programs: &[], refused, pinned: false }
}
