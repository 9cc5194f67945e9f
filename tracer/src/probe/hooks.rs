//! The hooks and their programs as data: what each observes, its attach methods, and what is lost without it.
//!
//! Kprobes are preferred at function entries, trampolines (fexit) at function returns:
//! - A kprobe's program runs with preemption off. A trampoline's or, on recent kernels, a tracepoint's may be preempted,
//!   and meanwhile the kernel skips the same program for every other task on that CPU (`__bpf_prog_enter_recur`,
//!   kernel/bpf/trampoline.c). On Debian's 7.2, 62 concurrent requests lost 37 of their records that way.
//!   On kernels that do not count missed runs of kprobes (before 6.7), tracepoints are preferred where there is a choice
//!   (`attach/mod.rs`).
//! - A kretprobe has few slots (10, or twice the processors), each taken until the function returns, and loses the rest;
//!   fexit has no such limit, and the kernel counts the runs that it skipped.
//!
//! No program jumps to another one, so there is no map of programs: on 5.10, an update of such a map while other programs were
//! being loaded ended in `kernel BUG at kernel/bpf/arraymap.c:981` (`prog_array_map_poke_run`), which is an outage.

/// How a program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum How {
    /// At a function's entry, by the BPF trampoline.
    FEntry,
    /// At a function's exit, by the BPF trampoline.
    FExit,
    /// At a function's entry, by a breakpoint or ftrace.
    KProbe,
    /// At a function's exit, by replacing its return address. The kernel keeps a limited number of slots.
    KRetProbe,
    /// At a tracepoint, with its raw arguments.
    RawTracePoint,
}

impl How {
    /// The public name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::FEntry => "fentry",
            Self::FExit => "fexit",
            Self::KProbe => "kprobe",
            Self::KRetProbe => "kretprobe",
            Self::RawTracePoint => "raw_tracepoint",
        }
    }
}

/// What happens when a hook cannot be attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Need {
    /// Results would be wrong or missing: tracing is refused.
    Required,
    /// One feature is missing, which is reported.
    Optional,
}

/// One program of a hook.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Program {
    /// Its name in the eBPF object.
    pub name: &'static str,
    /// How it is attached.
    pub how: How,
    /// Function or tracepoint.
    pub target: &'static str,
    /// The effect of a run that the kernel skips.
    pub missed_run: MissedRun,
}

/// The effect of a program run that the kernel skips.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MissedRun {
    /// A record is lost.
    Loss,
    /// Usually none: another program reports the same, or there was nothing to report. Otherwise a request stays without a
    /// result, which is reported.
    Visible,
}

/// A point of the kernel to observe, and the attach methods for it, best first. Either all programs of a method are
/// attached, or none.
#[derive(Debug)]
#[non_exhaustive]
pub struct Hook {
    /// Public name.
    pub name: &'static str,
    /// What is lost without it.
    pub without: &'static str,
    /// Whether tracing can do without it.
    pub need: Need,
    /// The attach methods.
    pub methods: &'static [&'static [Program]],
}

const fn program(name: &'static str, how: How, target: &'static str) -> Program {
    Program { name, how, target, missed_run: MissedRun::Loss }
}

/// A program whose missed runs are visible in the request.
const fn visible(name: &'static str, how: How, target: &'static str) -> Program {
    Program { missed_run: MissedRun::Visible, ..program(name, how, target) }
}

/// The names of system call entry points contain the architecture. On x86-64, 32-bit (i386) calls enter by `__ia32_sys_*`, which
/// is not hooked: three more programs would make every start slower. Failed calls of 32-bit programs are not seen there.
macro_rules! syscall_symbol {
    ($call:literal) => {
        if cfg!(target_arch = "aarch64") { concat!("__arm64_sys_", $call) } else { concat!("__x64_sys_", $call) }
    };
}

use How::{FEntry, FExit, KProbe, KRetProbe, RawTracePoint};

/// Every hook, in the order of attaching. Late stages of a request come first, so that every request whose first stage is seen
/// is seen to its end; hooks that belong to no request come last.
pub static HOOKS: &[Hook] = &[
    Hook {
        name: "kthread",
        without: "requests of kernel threads on behalf of a process (crypto) are not linked to that process",
        need: Need::Optional,
        methods: &[
            &[program("kthread_fexit", FExit, "__kthread_create_on_node")],
            &[program("kthread_kretprobe", KRetProbe, "__kthread_create_on_node")],
        ],
    },
    Hook {
        name: "helper",
        without: "the modprobe that the kernel starts and the modules it loads are not linked to their request",
        need: Need::Required,
        methods: &[
            &[program("helper_kprobe", KProbe, "call_usermodehelper_exec_async")],
            &[program("helper_fentry", FEntry, "call_usermodehelper_exec_async")],
        ],
    },
    Hook {
        name: "unload",
        without: "unloads of modules are not seen",
        need: Need::Optional,
        methods: &[
            &[program("free_kprobe", KProbe, "free_module")],
            &[program("module_free", RawTracePoint, "module_free")],
        ],
    },
    Hook {
        name: "file",
        without: "the files of modules are unknown",
        need: Need::Optional,
        methods: &[
            &[program("file_kprobe", KProbe, "security_kernel_read_file")],
            &[program("file_fentry", FEntry, "security_kernel_read_file")],
        ],
    },
    Hook {
        name: "result",
        without: "the results of requests, how long they blocked, and which modprobe served them are not seen",
        need: Need::Required,
        methods: &[
            &[
                visible("result_fexit", FExit, "call_usermodehelper_exec"),
                program("release_kprobe", KProbe, "free_modprobe_argv"),
                program("handover_kprobe", KProbe, "call_usermodehelper_exec"),
            ],
            &[
                program("result_fexit", FExit, "call_usermodehelper_exec"),
                program("handover_kprobe", KProbe, "call_usermodehelper_exec"),
            ],
            &[
                program("result_fexit", FExit, "call_usermodehelper_exec"),
                program("handover_fentry", FEntry, "call_usermodehelper_exec"),
            ],
            &[
                visible("result_kretprobe", KRetProbe, "call_usermodehelper_exec"),
                program("release_kprobe", KProbe, "free_modprobe_argv"),
                program("handover_kprobe", KProbe, "call_usermodehelper_exec"),
            ],
            &[
                program("result_kretprobe", KRetProbe, "call_usermodehelper_exec"),
                program("handover_kprobe", KProbe, "call_usermodehelper_exec"),
            ],
        ],
    },
    Hook {
        name: "init",
        without: "the results and durations of module inits are not seen",
        need: Need::Optional,
        methods: &[
            &[program("init_fexit", FExit, "do_init_module")],
            &[program("init_kretprobe", KRetProbe, "do_init_module")],
        ],
    },
    Hook {
        name: "load",
        without: "loads of modules are not seen",
        need: Need::Required,
        methods: &[
            &[program("load_kprobe", KProbe, "do_init_module")],
            &[program("module_load", RawTracePoint, "module_load"), program("init_fentry", FEntry, "do_init_module")],
        ],
    },
    Hook {
        name: "init_module",
        without: "failed init_module(2) calls are not seen",
        need: Need::Optional,
        methods: &[
            &[program("sys_init_fexit", FExit, syscall_symbol!("init_module"))],
            &[program("sys_init_kretprobe", KRetProbe, syscall_symbol!("init_module"))],
        ],
    },
    Hook {
        name: "finit_module",
        without: "failed finit_module(2) calls are not seen, so the reasons for failed loads are unknown",
        need: Need::Optional,
        methods: &[
            &[program("sys_finit_fexit", FExit, syscall_symbol!("finit_module"))],
            &[program("sys_finit_kretprobe", KRetProbe, syscall_symbol!("finit_module"))],
        ],
    },
    Hook {
        name: "admitted",
        without: "it is unknown whether a request waits and whether it was throttled",
        need: Need::Required,
        methods: &[&[program("module_request", RawTracePoint, "module_request")]],
    },
    Hook {
        name: "request",
        without: "requests and their requesters are not seen",
        need: Need::Required,
        methods: &[
            &[
                visible("verdict_fexit", FExit, "security_kernel_module_request"),
                program("request_kprobe", KProbe, "security_kernel_module_request"),
            ],
            &[
                visible("verdict_kretprobe", KRetProbe, "security_kernel_module_request"),
                program("request_kprobe", KProbe, "security_kernel_module_request"),
            ],
            &[program("request_fexit", FExit, "security_kernel_module_request")],
        ],
    },
    Hook {
        name: "entered",
        without: "requests that end because kernel.modprobe is empty or the name is too long are not seen",
        need: Need::Optional,
        methods: &[&[program("request_module_entry", KProbe, "__request_module")]],
    },
    Hook {
        name: "delete_module",
        without: "failed delete_module(2) calls are not seen",
        need: Need::Optional,
        methods: &[
            &[program("sys_delete_fexit", FExit, syscall_symbol!("delete_module"))],
            &[program("sys_delete_kretprobe", KRetProbe, syscall_symbol!("delete_module"))],
        ],
    },
];

/// The programs of the self-test, which observe nothing else (`self_test.rs`).
pub(super) static SELF_TESTS: [Hook; 2] = [
    Hook {
        name: "self-test of kprobes",
        without: "whether kprobes run is unknown",
        need: Need::Optional,
        methods: &[&[program("alive_kprobe", KProbe, syscall_symbol!("sched_get_priority_max"))]],
    },
    Hook {
        name: "self-test of trampolines",
        without: "whether trampolines run is unknown",
        need: Need::Optional,
        methods: &[&[program("alive_fexit", FExit, syscall_symbol!("sched_get_priority_max"))]],
    },
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::HOOKS;

    /// Names are unique, and every hook has an attach method and a description of what is lost without it.
    #[test]
    fn every_hook_has_unique_names_and_a_method() {
        let mut hooks = HashSet::new();
        let mut programs = HashSet::new();
        for hook in HOOKS {
            assert!(hooks.insert(hook.name), "{} twice", hook.name);
            assert!(!hook.without.is_empty() && !hook.methods.is_empty(), "{}", hook.name);
            // Methods of one hook may share a program; hooks never do.
            let own: HashSet<_> = hook.methods.iter().copied().flatten().map(|program| program.name).collect();
            for program in own {
                assert!(programs.insert(program), "{program} in two hooks");
            }
        }
    }
}
