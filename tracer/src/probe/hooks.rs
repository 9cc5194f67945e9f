//! Which programs there are, what each is for, and what is lost without it. Data; the loader follows it.
//!
//! Kprobes come first where one can do the work, trampolines (fexit) where only a function's return can:
//! - A kprobe's program runs with preemption off. A trampoline's or, on recent kernels, a tracepoint's may be preempted,
//!   and meanwhile the kernel skips the same program for every other task on that CPU (`__bpf_prog_enter_recur`,
//!   kernel/bpf/trampoline.c). On Debian's 7.2, 62 concurrent requests lost 37 of their records that way.
//! - A kretprobe has few slots (10, or twice the processors), each taken until the function returns, and loses the rest;
//!   fexit has no such limit. Where its program is long there are two, of which the second does what the first was not run
//!   for; what neither was run for is counted exactly.

use tracer_ebpf::wire::{Pair, Tail};

/// How a program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
pub enum Need {
    /// Tracing would answer wrongly or not at all: refuse.
    Required,
    /// One feature is missing: go on, and say so.
    Optional,
}

/// One program of a hook.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// Its name in the eBPF object.
    pub name: &'static str,
    /// How it is attached.
    pub how: How,
    /// Function or tracepoint.
    pub target: &'static str,
    /// What becomes of a run that the kernel skips.
    pub skipped: Skipped,
    /// Where others find it that jump to it.
    pub place: Option<Place>,
    /// Which program it jumps to, to have it do the rest.
    pub jumps_to: Option<&'static Program>,
}

impl Program {
    const fn at(self, map: &'static str, index: u32) -> Self {
        Self { place: Some(Place { map, index }), ..self }
    }

    const fn jumps_to(self, program: &'static Self) -> Self {
        Self { jumps_to: Some(program), ..self }
    }
}

/// A place in a map of programs that others jump to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Name of the map.
    pub map: &'static str,
    /// Index of the place.
    pub index: u32,
}

/// What becomes of a run that the kernel skips.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skipped {
    /// It is a loss.
    Lost,
    /// Another program of the same place does the work.
    Paired(Pair),
    /// Mostly nothing: another program tells the same, or there was nothing to tell. Where it matters a request stays open.
    Seen,
}

/// A thing to observe, and the ways to do so, best first. All programs of a way are attached, or none.
#[derive(Debug)]
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
    Program { name, how, target, skipped: Skipped::Lost, place: None, jumps_to: None }
}

/// One of two at the return of a function.
const fn paired(name: &'static str, target: &'static str, pair: Pair) -> Program {
    Program { skipped: Skipped::Paired(pair), ..program(name, FExit, target) }
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

/// Tells of a request, also of one that its hook does not see.
static REQUEST: Program =
    program("request_kprobe", KProbe, "security_kernel_module_request").at("KPROBES", Tail::Request as u32);

/// Tells of a module that comes or goes. It is only jumped to.
static MODULE: Program = program("module_kprobe", KProbe, "do_init_module").at("KPROBES", Tail::Module as u32);

/// Tells of a system call that failed. It is only jumped to; where the kernel allows that at the return of one function alone
/// (7), `whole_*` do the same by themselves.
static FAILED: Program = program("sys_failed_fexit", FExit, syscall_symbol!("finit_module")).at("FEXITS", 0);

/// Attached by a thread of its own from the beginning. Having attached the first trampoline of all, kernels before 6.10 wait
/// until every task has slept or come back from the kernel (`synchronize_rcu_tasks` in `register_ftrace_direct`,
/// kernel/trace/ftrace.c), which takes long where there is much to do. No other program asks for this one's function.
pub(super) const ASIDE: &str = "kthread";

/// Every hook, in the order of attaching: late stages first, so that a request that is seen at all is seen whole; last what is
/// part of none. Before the first trampoline come some kprobes, so that the one of the hook that is attached aside is the first.
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
            &[program("free_kprobe", KProbe, "free_module").jumps_to(&MODULE)],
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
            &[program("load_kprobe", KProbe, "do_init_module").jumps_to(&MODULE)],
            &[program("module_load", RawTracePoint, "module_load"), program("init_fentry", FEntry, "do_init_module")],
        ],
    },
    Hook {
        name: "init_module",
        without: "failed init_module(2) calls are not seen",
        need: Need::Optional,
        ways: &[
            &[
                paired("sys_init_fexit", syscall_symbol!("init_module"), Pair::InitModule).jumps_to(&FAILED),
                paired("sys_init_fexit_second", syscall_symbol!("init_module"), Pair::InitModule).jumps_to(&FAILED),
            ],
            &[
                paired("whole_init", syscall_symbol!("init_module"), Pair::InitModule),
                paired("whole_init_second", syscall_symbol!("init_module"), Pair::InitModule),
            ],
            &[program("sys_init_kretprobe", KRetProbe, syscall_symbol!("init_module"))],
        ],
    },
    Hook {
        name: "finit_module",
        without: "failed finit_module(2) calls are not seen: why a module could not be loaded is unknown",
        need: Need::Optional,
        ways: &[
            &[
                paired("sys_finit_fexit", syscall_symbol!("finit_module"), Pair::FinitModule).jumps_to(&FAILED),
                paired("sys_finit_fexit_second", syscall_symbol!("finit_module"), Pair::FinitModule).jumps_to(&FAILED),
            ],
            &[
                paired("whole_finit", syscall_symbol!("finit_module"), Pair::FinitModule),
                paired("whole_finit_second", syscall_symbol!("finit_module"), Pair::FinitModule),
            ],
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
            &[seen("verdict_fexit", FExit, "security_kernel_module_request"), REQUEST],
            &[seen("verdict_kretprobe", KRetProbe, "security_kernel_module_request"), REQUEST],
            &[program("request_fexit", FExit, "security_kernel_module_request")],
        ],
    },
    Hook {
        name: "entered",
        without: "requests that end at an empty kernel.modprobe or at a name that is too long are not seen",
        need: Need::Optional,
        ways: &[&[program("request_module_entry", KProbe, "__request_module").jumps_to(&REQUEST)]],
    },
    Hook {
        name: "delete_module",
        without: "failed delete_module(2) calls are not seen",
        need: Need::Optional,
        ways: &[
            &[program("sys_delete_fexit", FExit, syscall_symbol!("delete_module")).jumps_to(&FAILED)],
            &[program("whole_delete", FExit, syscall_symbol!("delete_module"))],
            &[program("sys_delete_kretprobe", KRetProbe, syscall_symbol!("delete_module"))],
        ],
    },
];

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use super::{ASIDE, HOOKS, Hook};

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

    /// Check that what is attached aside comes first where there are no threads, and that nobody has to wait for its function.
    #[test]
    fn what_is_attached_aside_is_alone() {
        let targets =
            |hook: &Hook| hook.ways.iter().copied().flatten().map(|program| program.target).collect::<HashSet<_>>();
        let (aside, others) = HOOKS.split_first().unwrap();
        assert_eq!(aside.name, ASIDE);
        assert!(others.iter().all(|hook| targets(hook).is_disjoint(&targets(aside))));
        assert!(aside.ways.iter().copied().flatten().all(|program| program.jumps_to.is_none()));
    }

    /// Check that whoever is jumped to has a place of its own, among programs of its type.
    #[test]
    fn who_is_jumped_to_has_a_place() {
        let programs = || HOOKS.iter().flat_map(|hook| hook.ways).copied().flatten();
        let mut places = HashMap::new();
        for program in programs() {
            let Some(next) = program.jumps_to else { continue };
            let place = next.place.unwrap();
            assert_eq!(next.how, program.how, "{}", program.name);
            assert_eq!(*places.entry((place.map, place.index)).or_insert(next.name), next.name);
            // A jump to who jumps on has to make sure of the last one as well.
            assert!(next.jumps_to.is_none(), "{}", next.name);
        }
        assert_eq!(places.len(), 3);
    }
}
