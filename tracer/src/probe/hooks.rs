//! Which programs there are, what each is for, and what is lost without it. Data; the loader follows it.
//!
//! Kprobes come first where one can do the work, trampolines (fexit) where only a function's return can:
//! - A kprobe's program runs with preemption off. A trampoline's or, on recent kernels, a tracepoint's may be preempted,
//!   and meanwhile the kernel skips the same program for every other task on that CPU (`__bpf_prog_enter_recur`,
//!   kernel/bpf/trampoline.c). On Debian's 7.2, 62 concurrent requests lost 37 of their records that way.
//! - A kretprobe has few slots (10, or twice the processors), each taken until the function returns, and loses the rest;
//!   fexit has no such limit, and the kernel counts the runs that it skipped.
//!
//! No program jumps to another one, so there is no map of programs: on 5.10, an update of such a map while other programs were
//! being loaded ended in `kernel BUG at kernel/bpf/arraymap.c:981` (`prog_array_map_poke_run`), which is an outage.

/// How a program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum How {
    /// At a function's entry, through the BPF trampoline.
    FEntry,
    /// At a function's exit, through the BPF trampoline.
    FExit,
    /// At a function's entry, through a breakpoint or ftrace.
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
    /// Tracing would answer wrongly or not at all: refuse.
    Required,
    /// One feature is missing: go on, and say so.
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
    /// What becomes of a run that the kernel skips.
    pub skipped: Skipped,
}

/// What becomes of a run that the kernel skips.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Skipped {
    /// It is a loss.
    Lost,
    /// Mostly nothing: another program tells the same, or there was nothing to tell. Where it matters a request stays open.
    Seen,
}

/// A thing to observe, and the ways to do so, best first. All programs of a way are attached, or none.
#[derive(Debug)]
#[non_exhaustive]
pub struct Hook {
    /// Public name.
    pub name: &'static str,
    /// What goes wrong without it.
    pub without: &'static str,
    /// Whether tracing can do without it.
    pub need: Need,
    /// The ways.
    pub ways: &'static [&'static [Program]],
}

const fn program(name: &'static str, how: How, target: &'static str) -> Program {
    Program { name, how, target, skipped: Skipped::Lost }
}

/// One whose skipped runs show in the request.
const fn seen(name: &'static str, how: How, target: &'static str) -> Program {
    Program { skipped: Skipped::Seen, ..program(name, how, target) }
}

/// The kernel's entry points of the three system calls carry the architecture in their names.
macro_rules! syscall_symbol {
    ($call:literal) => {
        if cfg!(target_arch = "aarch64") { concat!("__arm64_sys_", $call) } else { concat!("__x64_sys_", $call) }
    };
}

use How::{FEntry, FExit, KProbe, KRetProbe, RawTracePoint};

/// Every hook, in the order of attaching: late stages first, so that a request that is seen at all is seen from its beginning to
/// its end; last what is part of none.
pub static HOOKS: &[Hook] = &[
    Hook {
        name: "kthread",
        without: "requests made by kernel threads on someone's behalf (crypto) are not tied to who caused them",
        need: Need::Optional,
        ways: &[
            &[program("kthread_fexit", FExit, "__kthread_create_on_node")],
            &[program("kthread_kretprobe", KRetProbe, "__kthread_create_on_node")],
        ],
    },
    Hook {
        name: "helper",
        without: "the modprobe that the kernel starts is not tied to its request, nor are the modules it loads",
        need: Need::Required,
        ways: &[
            &[program("helper_kprobe", KProbe, "call_usermodehelper_exec_async")],
            &[program("helper_fentry", FEntry, "call_usermodehelper_exec_async")],
        ],
    },
    Hook {
        name: "unload",
        without: "modules are not seen to leave",
        need: Need::Optional,
        ways: &[
            &[program("free_kprobe", KProbe, "free_module")],
            &[program("module_free", RawTracePoint, "module_free")],
        ],
    },
    Hook {
        name: "file",
        without: "the file of a module is not known",
        need: Need::Optional,
        ways: &[
            &[program("file_kprobe", KProbe, "security_kernel_read_file")],
            &[program("file_fentry", FEntry, "security_kernel_read_file")],
        ],
    },
    Hook {
        name: "result",
        without: "how a request ended, how long it blocked, and which modprobe served it are not seen",
        need: Need::Required,
        ways: &[
            &[
                seen("result_fexit", FExit, "call_usermodehelper_exec"),
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
                seen("result_kretprobe", KRetProbe, "call_usermodehelper_exec"),
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
        without: "the result and the time of a module's init are not seen",
        need: Need::Optional,
        ways: &[
            &[program("init_fexit", FExit, "do_init_module")],
            &[program("init_kretprobe", KRetProbe, "do_init_module")],
        ],
    },
    Hook {
        name: "load",
        without: "modules are not seen to arrive",
        need: Need::Required,
        ways: &[
            &[program("load_kprobe", KProbe, "do_init_module")],
            &[program("module_load", RawTracePoint, "module_load"), program("init_fentry", FEntry, "do_init_module")],
        ],
    },
    Hook {
        name: "init_module",
        without: "failed init_module(2) calls are not seen",
        need: Need::Optional,
        ways: &[
            &[program("sys_init_fexit", FExit, syscall_symbol!("init_module"))],
            &[program("sys_init_kretprobe", KRetProbe, syscall_symbol!("init_module"))],
        ],
    },
    Hook {
        name: "finit_module",
        without: "failed finit_module(2) calls are not seen: why a module could not be loaded is unknown",
        need: Need::Optional,
        ways: &[
            &[program("sys_finit_fexit", FExit, syscall_symbol!("finit_module"))],
            &[program("sys_finit_kretprobe", KRetProbe, syscall_symbol!("finit_module"))],
        ],
    },
    Hook {
        name: "admitted",
        without: "whether a request waits, and whether it was throttled, is not seen",
        need: Need::Required,
        ways: &[&[program("module_request", RawTracePoint, "module_request")]],
    },
    Hook {
        name: "request",
        without: "who asks for a module is not seen",
        need: Need::Required,
        ways: &[
            &[
                seen("verdict_fexit", FExit, "security_kernel_module_request"),
                program("request_kprobe", KProbe, "security_kernel_module_request"),
            ],
            &[
                seen("verdict_kretprobe", KRetProbe, "security_kernel_module_request"),
                program("request_kprobe", KProbe, "security_kernel_module_request"),
            ],
            &[program("request_fexit", FExit, "security_kernel_module_request")],
        ],
    },
    Hook {
        name: "entered",
        without: "requests that end at an empty kernel.modprobe or at a name that is too long are not seen",
        need: Need::Optional,
        ways: &[&[program("request_module_entry", KProbe, "__request_module")]],
    },
    Hook {
        name: "delete_module",
        without: "failed delete_module(2) calls are not seen",
        need: Need::Optional,
        ways: &[
            &[program("sys_delete_fexit", FExit, syscall_symbol!("delete_module"))],
            &[program("sys_delete_kretprobe", KRetProbe, syscall_symbol!("delete_module"))],
        ],
    },
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::HOOKS;

    /// Check that names are unique and that every hook has a way and a sentence.
    #[test]
    fn the_table_is_sound() {
        let mut hooks = HashSet::new();
        let mut programs = HashSet::new();
        for hook in HOOKS {
            assert!(hooks.insert(hook.name), "{} twice", hook.name);
            assert!(!hook.without.is_empty() && !hook.ways.is_empty(), "{}", hook.name);
            // Ways of one hook may share a program; hooks never do.
            let own: HashSet<_> = hook.ways.iter().flat_map(|way| way.iter()).map(|program| program.name).collect();
            for program in own {
                assert!(programs.insert(program), "{program} in two hooks");
            }
        }
    }
}
