//! `struct task_struct *__kthread_create_on_node(int (*threadfn)(void *), void *data, int node,
//! const char namefmt[], va_list args)` (kernel/kthread.c).
//!
//! Runs in the creator and returns before the new thread does anything: a request of that thread
//! (crypto self tests and probes) is made on the creator's behalf.

use aya_ebpf::{
    helpers::generated::bpf_get_current_cgroup_id,
    macros::{fexit, kretprobe},
    programs::{FExitContext, RetProbeContext},
};
use tracer_ebpf::wire::{Behalf, COMM_BYTES, Counter, Owner};

use crate::{
    count::count,
    globals,
    maps::{KTHREADS, KthreadOf},
    read::{Address, number},
    task::{boot_ns, current, find_owner, process_of, tid, write_names},
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
    // An ERR_PTR cannot be read, so its task id is 0.
    let kthread = returned as Address;
    let pid = number(kthread, globals::TASK_PID.load());
    if pid == 0 {
        return;
    }
    let creator = current();
    let mut of = KthreadOf {
        start_ns: process_of(kthread).start_ns,
        behalf: Behalf {
            creator: process_of(creator),
            tid: tid(),
            reserved: 0,
            boot_ns: boot_ns(),
            comm: [0; COMM_BYTES],
            thread_comm: [0; COMM_BYTES],
            // SAFETY: the helper has no arguments.
            cgroup_id: unsafe { bpf_get_current_cgroup_id() },
            owner: Owner::NONE,
        },
    };
    // No branch on success: the verifier would process the rest twice.
    // SAFETY: both are fields of a local.
    unsafe {
        write_names(&raw mut of.behalf.comm, &raw mut of.behalf.thread_comm, creator);
        find_owner(&raw mut of.behalf.owner, creator);
    }
    if KTHREADS.insert(&pid, &of, 0).is_err() {
        count(Counter::MapKthreads);
    }
}
