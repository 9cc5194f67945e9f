//! `struct task_struct *__kthread_create_on_node(int (*threadfn)(void *), void *data, int node,
//! const char namefmt[], va_list args)` (kernel/kthread.c).
//!
//! Runs in the creator and returns before the new thread does anything: a request of that thread
//! (crypto self tests and probes) is made on the creator's behalf. If the creator is such a thread itself, it acts for its own
//! creator; a worker of a workqueue acts for an unknown task.

use aya_ebpf::{
    macros::{fexit, kretprobe},
    programs::{FExitContext, RetProbeContext},
};
use tracer_ebpf::wire::{Behalf, COMM_BYTES, Counter, Owner};

use crate::{
    count::count,
    globals,
    maps::{KTHREADS, KthreadOf},
    path::{cgroup_directory, cgroup_id},
    read::{Address, number},
    task::{PF_KTHREAD, PF_WQ_WORKER, boot_ns, current, find_owner, process_of, tid, write_names},
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
    let start_ns = process_of(kthread).start_ns;
    let flags = number(creator, globals::TASK_FLAGS.load());
    if flags & (PF_KTHREAD | PF_WQ_WORKER) == PF_KTHREAD {
        // SAFETY: the value is copied at once; the start time detects a reused thread id.
        if let Some(own) = unsafe { KTHREADS.get(&tid()) }.copied() {
            if own.start_ns == process_of(creator).start_ns {
                remember(pid, &KthreadOf { start_ns, behalf: own.behalf });
                return;
            }
        }
    }
    let mut of = KthreadOf {
        start_ns,
        behalf: Behalf {
            creator: process_of(creator),
            tid: tid(),
            is_worker: flags & PF_WQ_WORKER,
            boot_ns: boot_ns(),
            comm: [0; COMM_BYTES],
            thread_comm: [0; COMM_BYTES],
            cgroup_id: cgroup_id(cgroup_directory(creator)),
            owner: Owner::NONE,
        },
    };
    // No branch on success: the verifier would process the rest twice.
    // SAFETY: both are fields of a local.
    unsafe {
        write_names(&raw mut of.behalf.comm, &raw mut of.behalf.thread_comm, creator);
        find_owner(&raw mut of.behalf.owner, creator);
    }
    remember(pid, &of);
}

#[inline(always)]
fn remember(pid: u32, of: &KthreadOf) {
    if KTHREADS.insert(&pid, of, 0).is_err() {
        count(Counter::MapKthreads);
    }
}
