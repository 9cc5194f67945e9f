//! One file for each hook, with the kernel's prototype above its programs. If a hook has several attach methods, their programs
//! do the same and only those of one method are loaded.
//!
//! There are no tail calls, for two reasons. An update of a program array raced with program loads and panicked a 5.10 kernel
//! (`prog_array_map_poke_run`, kernel/bpf/arraymap.c:981). And since 6.13 (x86-64; later arm64) a program without tail calls
//! whose frame has 64 bytes or more runs on a per-CPU private stack (`bpf_enable_priv_stack`, `BPF_PRIV_STACK_MIN_SIZE`,
//! kernel/bpf/verifier.c). Two runs on one CPU would share it, so for each of our program types the kernel skips the second:
//! - kprobes and kretprobes: preemption is off, and `bpf_prog_active` is one counter per CPU for all of them (`trace_call_bpf`,
//!   kernel/trace/bpf_trace.c);
//! - fentry and fexit, which may be preempted but not migrated: by the program's own counter (`__bpf_prog_enter_recur`,
//!   kernel/bpf/trampoline.c);
//! - raw tracepoints: by the program's own counter as well (`__bpf_trace_run`, kernel/trace/bpf_trace.c, since 6.1).
//!
//! The kernel counts only the program that it enters itself, not the target of a tail call.

mod call_usermodehelper_exec;
mod call_usermodehelper_exec_async;
mod do_init_module;
mod kthread_create_on_node;
mod module;
mod module_free;
mod module_load;
mod module_request;
mod module_syscalls;
mod own_process;
mod request_module;
mod security_kernel_module_request;
mod security_kernel_read_file;
mod self_test;
mod symbol;
