//! One file a hook. The kernel prototype stands above the programs; where a hook has two ways to be
//! attached, both programs do the same thing and only one is loaded.
//!
//! No program is entered by a tail call. An update of a program array raced with programs being loaded, and panicked a 5.10
//! kernel (`prog_array_map_poke_run`, kernel/bpf/arraymap.c:981). And what guards a program's stack guards only who is entered
//! by the kernel itself: since 6.13 (x86-64; later arm64) a program whose frame has 64 bytes or more, and that makes no tail
//! call, has one stack a CPU instead of a part of the task's (`bpf_enable_priv_stack`, `BPF_PRIV_STACK_MIN_SIZE`,
//! kernel/bpf/verifier.c). Two runs on one CPU would write to the same one; for each of our types the kernel skips the second:
//! - kprobes and kretprobes: preemption is off, and `bpf_prog_active` is one counter a CPU for all of them (`trace_call_bpf`,
//!   kernel/trace/bpf_trace.c);
//! - fentry and fexit, which may be preempted but not migrated: by the program's own counter (`__bpf_prog_enter_recur`,
//!   kernel/bpf/trampoline.c);
//! - raw tracepoints: by the program's own counter as well (`__bpf_trace_run`, kernel/trace/bpf_trace.c, since 6.1).
//!
//! That counter is of the program that the kernel enters, and not of one that it goes on to by a tail call.

mod call_usermodehelper_exec;
mod call_usermodehelper_exec_async;
mod do_init_module;
mod kthread_create_on_node;
mod module;
mod module_free;
mod module_load;
mod module_request;
mod module_syscalls;
mod request_module;
mod security_kernel_module_request;
mod security_kernel_read_file;
