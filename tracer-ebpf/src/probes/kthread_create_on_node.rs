//! `struct task_struct *__kthread_create_on_node(int (*threadfn)(void *), void *data, int node,
//! const char namefmt[], va_list args)` (kernel/kthread.c).
//!
//! Runs in the creator and returns before the new thread does anything: a request of that thread
//! (crypto self tests and probes) is made on the creator's behalf.

use aya_ebpf::{
    helpers::{bpf_get_current_comm, generated::bpf_get_current_cgroup_id},
    macros::{fexit, kretprobe},
    programs::{FExitContext, RetProbeContext},
};
use tracer_ebpf::wire::{Behalf, Counter, Owner, RequestKey};

use crate::{
    count::count,
    globals,
    maps::{KTHREADS, KthreadOf},
    read::{Address, number},
    task::{boot_ns, current, process_of, tid, write_owner},
};

#[fexit(function = "__kthread_create_on_node")]
pub(crate) fn kthread_fexit(ctx: FExitContext) -> i32 {
    created(ctx.arg::<i64>(5));
    0
}

#[kretprobe]
pub(crate) fn kthread_kretprobe(ctx: RetProbeContext) -> u32 {
    created(ctx.ret::<i64>());
    0
}

#[inline(always)]
fn created(returned: i64) {
    // ERR_PTR: the last page of the address space.
    if (-4095..=0).contains(&returned) {
        return;
    }
    let kthread = returned as Address;
    let creator = current();
    let pid = number(kthread, globals::TASK_PID.load());
    let mut of = KthreadOf {
        start_ns: process_of(kthread).start_ns,
        behalf: Behalf {
            creator: process_of(creator),
            tid: tid(),
            reserved: 0,
            boot_ns: boot_ns(),
            comm: bpf_get_current_comm().unwrap_or([0; 16]),
            // SAFETY: the helper has no arguments.
            cgroup_id: unsafe { bpf_get_current_cgroup_id() },
            owner: Owner { request: RequestKey::NONE, depth: 0, walk_cut: 0 },
        },
    };
    // SAFETY: it is a local's.
    unsafe { write_owner(&raw mut of.behalf.owner, creator) };
    if KTHREADS.insert(&pid, &of, 0).is_err() {
        count(Counter::MapKthreads);
    }
}
