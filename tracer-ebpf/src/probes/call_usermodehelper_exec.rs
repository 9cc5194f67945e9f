//! `int call_usermodehelper_exec(struct subprocess_info *sub_info, int wait)` (kernel/umh.c).
//!
//! In the requester: on entry the request gets its `subprocess_info` pointer, on exit its result. The
//! same function serves core dumps, request-key and others; for those, only a reused pointer is removed.
//!
//! `static void free_modprobe_argv(struct subprocess_info *info)` (kernel/kmod.c) is the last thing it calls for a request
//! that waited, with the result at hand. A kprobe there is never skipped and needs no slot; the function's return serves all other requests.

use core::ptr::addr_of_mut;

use aya_ebpf::{
    macros::{fentry, fexit, kprobe, kretprobe},
    programs::{FEntryContext, FExitContext, ProbeContext, RetProbeContext},
};
use tracer_ebpf::wire::{Counter, Handover, Kind, RequestKey, RequestResult, Setting};

use crate::{
    count::count,
    globals,
    maps::{HANDOVERS, IN_FLIGHT, InFlight, stage},
    read::{Address, member, number, pointer},
    send::{NO_WAKEUP, reserve, wakeup_if_sleeping},
    settings::setting,
    task::{boot_ns, is_own, tid, write_header},
};

/// `ERESTARTSYS`: the requester was killed; its helper may still start.
const INTERRUPTED: i32 = -512;

/// include/linux/umh.h: the caller waits until the helper was executed.
const UMH_WAIT_EXEC: u32 = 1;

/// include/linux/umh.h: the caller waits until the helper has ended.
const UMH_WAIT_PROC: u32 = 2;

#[fentry(function = "call_usermodehelper_exec")]
pub(crate) fn handover_fentry(ctx: FEntryContext) -> i32 {
    handed_over(ctx.arg::<u64>(0), ctx.arg::<u32>(1));
    0
}

#[kprobe]
pub(crate) fn handover_kprobe(ctx: ProbeContext) -> u32 {
    handed_over(ctx.arg::<u64>(0).unwrap_or(0), ctx.arg::<u32>(1).unwrap_or(0));
    0
}

#[fexit(function = "call_usermodehelper_exec")]
pub(crate) fn result_fexit(ctx: FExitContext) -> i32 {
    returned(ctx.arg::<i32>(2));
    0
}

#[kretprobe]
pub(crate) fn result_kretprobe(ctx: RetProbeContext) -> u32 {
    returned(ctx.ret::<i32>());
    0
}

#[kprobe]
pub(crate) fn release_kprobe(ctx: ProbeContext) -> u32 {
    released(ctx.arg::<u64>(0).unwrap_or(0));
    0
}

#[inline(always)]
fn released(sub_info: u64) {
    // SAFETY: the entry is this thread's own; the value is copied at once.
    let Some(in_flight) = (unsafe { IN_FLIGHT.get(&tid()) }).copied() else { return };
    let info = sub_info as Address;
    // Set when the helper's work is queued: otherwise there is no helper, and `retval` is not the result.
    let wait = member::<u32>(info, globals::SUBPROCESS_WAIT.load()).unwrap_or(0);
    if in_flight.sub_info != sub_info || wait & (UMH_WAIT_EXEC | UMH_WAIT_PROC) == 0 {
        return;
    }
    if let Some(ret) = member::<i32>(info, globals::SUBPROCESS_RETVAL.load()) {
        ended(in_flight, ret);
    }
}

#[inline(always)]
fn handed_over(sub_info: u64, wait: u32) {
    // The address was reused, so an older entry is stale.
    let _ = HANDOVERS.remove(&sub_info);
    if !is_modprobe(sub_info as Address) {
        return;
    }
    let in_flight = if is_own() { None } else { IN_FLIGHT.get_ptr_mut(&tid()) };
    let Some(in_flight) = in_flight else {
        // Without an entry the helper would be counted as one more loss.
        let none = RequestKey { tid: tid(), ..RequestKey::NONE };
        let _ = HANDOVERS.insert(&sub_info, &none, 0);
        if !is_own() {
            count(Counter::ResultWithoutRequest);
        }
        return;
    };
    let now = boot_ns();
    // SAFETY: the entry is this thread's own and not null.
    let request = unsafe {
        (*in_flight).stage = stage::HANDED_OVER;
        (*in_flight).handover_ns = now;
        (*in_flight).sub_info = sub_info;
        (*in_flight).wait = u32::from(wait & UMH_WAIT_PROC != 0);
        (*in_flight).request
    };
    if HANDOVERS.insert(&sub_info, &request, 0).is_err() {
        count(Counter::MapHandover);
    }
    if let Some(mut entry) = reserve::<Handover>(Counter::RingStage) {
        let to = entry.as_mut_ptr();
        // SAFETY: `to` is the reserved record.
        unsafe {
            write_header(addr_of_mut!((*to).header), Kind::Handover, now);
            (*to).request = request;
            (*to).sub_info = sub_info;
            (*to).wait = wait;
            (*to).reserved = 0;
        }
        entry.submit(NO_WAKEUP);
    }
}

/// Whether this helper is a modprobe of `__request_module`, by its `cleanup`. If that address is unknown (yet), by the stage of
/// the thread and the arguments: between the tracepoint and here a request starts no other helper, and after a request that
/// never got here (a duplicate, no memory) the thread's next helper has no `-q`.
#[inline(always)]
fn is_modprobe(sub_info: Address) -> bool {
    let free_modprobe_argv = setting(Setting::FreeModprobeArgv);
    if free_modprobe_argv != 0 {
        return member::<u64>(sub_info, globals::SUBPROCESS_CLEANUP.load()) == Some(free_modprobe_argv);
    }
    // SAFETY: the entry is this thread's own; the value is copied at once.
    let Some(at) = (unsafe { IN_FLIGHT.get(&tid()) }).map(|in_flight| in_flight.stage) else { return false };
    if at != stage::ADMITTED {
        return false;
    }
    // call_modprobe(): the path, -q, --, and the alias.
    let argv = pointer(sub_info, globals::SUBPROCESS_ARGV.load());
    number(pointer(argv, 8), 0) & 0x00ff_ffff == u32::from_le_bytes(*b"-q\0\0")
}

#[inline(always)]
fn returned(ret: i32) {
    // SAFETY: the entry is this thread's own; the value is copied at once.
    if let Some(in_flight) = (unsafe { IN_FLIGHT.get(&tid()) }).copied() {
        ended(in_flight, ret);
    }
}

/// Sends the result of this thread's request.
#[inline(always)]
fn ended(in_flight: InFlight, ret: i32) {
    if in_flight.stage != stage::HANDED_OVER {
        return;
    }
    let _ = IN_FLIGHT.remove(&tid());
    // The address may belong to another request already: the kernel frees it before it returns.
    // SAFETY: the value is copied at once.
    let is_own = unsafe { HANDOVERS.get(&in_flight.sub_info) }.copied() == Some(in_flight.request);
    if is_own && ret != INTERRUPTED {
        let _ = HANDOVERS.remove(&in_flight.sub_info);
    }
    if let Some(mut entry) = reserve::<RequestResult>(Counter::RingStage) {
        let to = entry.as_mut_ptr();
        // SAFETY: `to` is the reserved record.
        unsafe {
            write_header(addr_of_mut!((*to).header), Kind::Result, boot_ns());
            (*to).request = in_flight.request;
            (*to).ret = ret;
            (*to).wait = in_flight.wait;
            (*to).handover_ns = in_flight.handover_ns;
        }
        entry.submit(wakeup_if_sleeping());
    }
}
