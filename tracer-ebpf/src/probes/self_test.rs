//! `long __x64_sys_sched_get_priority_max(const struct pt_regs *)` (kernel/sched/core.c; kernel/sched/syscalls.c since 6.11).
//!
//! The tracer calls `sched_get_priority_max(2)` to test that kprobes and trampolines run at all. The call only returns a constant,
//! and few programs use it.

use aya_ebpf::{
    macros::{fexit, kprobe},
    programs::{FExitContext, ProbeContext},
};
use tracer_ebpf::wire::Alive;

use crate::{count::add_one, maps::ALIVE};

#[kprobe]
pub(crate) fn alive_kprobe(_: ProbeContext) -> u32 {
    add_one(&ALIVE, Alive::Kprobes as u32);
    0
}

#[fexit(function = "__x64_sys_sched_get_priority_max")]
pub(crate) fn alive_fexit(_: FExitContext) -> i32 {
    add_one(&ALIVE, Alive::Trampolines as u32);
    0
}
