//! Attaches hooks, each with the best attach method of this kernel.

mod program;

use std::path::Path;

use aya::{Btf, Ebpf};

pub use program::can_pin_kprobes;
pub(super) use program::pin_names;

use super::{
    hooks::{Hook, How, Program},
    losses::counts_missed_kprobes,
    options::Preference,
};
use crate::kernel;

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
    /// Whether the kernel counts all missed runs of kprobes.
    pub(super) counts_missed_kprobes: bool,
    /// The directory for pins.
    pub(super) pins: Option<&'a Path>,
}

impl<'a> Attaching<'a> {
    pub(super) fn new(
        targets: &'a Btf,
        kernel: &kernel::btf::Btf,
        preference: Preference,
        pins: Option<&'a Path>,
    ) -> Self {
        Self { targets, preference, counts_missed_kprobes: counts_missed_kprobes(kernel), pins }
    }
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

/// The attach methods of a hook, best first.
///
/// Where the kernel does not count the missed runs of a kprobe, a method with a tracepoint is better: kernels without the counter do
/// not preempt the program of a tracepoint (`__DO_TRACE`, include/linux/tracepoint.h), so they never skip it.
fn methods(hook: &Hook, preference: Preference, counts_missed_kprobes: bool) -> Vec<&'static [Program]> {
    let has_allowed = hook.methods.iter().any(|method| preference.allows(method));
    let allowed = hook.methods.iter().filter(|method| !has_allowed || preference.allows(method));
    let mut methods: Vec<_> = allowed.copied().collect();
    if !counts_missed_kprobes {
        methods.sort_by_key(|method| !method.iter().any(|program| program.how == How::RawTracePoint));
    }
    methods
}

/// Attaches a hook.
fn attach_hook(ebpf: &mut Ebpf, hook: &'static Hook, how: Attaching<'_>) -> AttachedHook {
    let mut refused = Vec::new();
    let places: &[Option<&Path>] = if how.pins.is_some() { &[how.pins, None] } else { &[None] };
    for place in places {
        for method in methods(hook, how.preference, how.counts_missed_kprobes) {
            let attached = method.iter().try_for_each(|it| match place {
                Some(pins) => program::attach_pinned(ebpf, *it, how.targets, pins),
                None => program::attach(ebpf, *it, how.targets),
            });
            match attached {
                Ok(()) => return AttachedHook { hook, programs: method, refused, pinned: place.is_some() },
                Err(error) => {
                    refused.push(error.to_string());
                    for failed in method {
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

#[cfg(test)]
mod tests {
    use super::methods;
    use crate::probe::{
        hooks::{HOOKS, Hook, How},
        options::Preference,
    };

    /// The first method of a hook that has a choice: a tracepoint where missed runs of kprobes would stay unknown, unless kprobes are
    /// wanted.
    #[test]
    fn tracepoints_are_preferred_where_missed_kprobes_are_not_counted() {
        let has_choice = |hook: &&Hook| {
            let mut kinds = hook.methods.iter().map(|method| method.iter().any(|it| it.how == How::RawTracePoint));
            hook.methods.len() > 1 && kinds.any(|is_tracepoint| is_tracepoint)
        };
        let hooks: Vec<_> = HOOKS.iter().filter(has_choice).collect();
        assert_eq!(hooks.iter().map(|hook| hook.name).collect::<Vec<_>>(), ["unload", "load"]);
        for (counts_missed_kprobes, preference, expected) in [
            (true, Preference::Best, How::KProbe),
            (false, Preference::Best, How::RawTracePoint),
            (false, Preference::Trampoline, How::RawTracePoint),
        ] {
            for hook in &hooks {
                let methods = methods(hook, preference, counts_missed_kprobes);
                assert_eq!(methods[0][0].how, expected, "{} {preference:?}", hook.name);
            }
        }
    }
}
