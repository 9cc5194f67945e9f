//! `int security_kernel_module_request(char *kmod_name)` (security/security.c).
//!
//! Called when the name is formatted and nothing is decided yet; the requester is the current task.

use core::ptr::{addr_of, addr_of_mut};

use aya_ebpf::{
    EbpfContext,
    bindings::BPF_F_USER_STACK,
    macros::{fexit, kprobe, kretprobe},
    programs::{FExitContext, ProbeContext, RetProbeContext},
};
use aya_log_ebpf::debug;
use tracer_ebpf::wire::{Behalf, Counter, Kind, MODULE_NAME_BYTES, Owner, ProcessKey, Request, RequestKey, Verdict};

use crate::{
    count::count,
    maps::{IN_FLIGHT, INITS, InFlight, KTHREADS, stage},
    read::{Address, kernel_bytes, kernel_text},
    send::{reserve, wakeup_if_sleeping},
    task::{boot_ns, capture, current, is_own, process_of, start_of, tid, write_header, write_owner, write_stack},
};

#[fexit(function = "security_kernel_module_request")]
pub(crate) fn request_fexit(ctx: FExitContext) -> i32 {
    if !is_own() {
        // The return value follows the one argument; bpf_get_func_ret would need 5.17.
        asked(&ctx, ctx.arg::<u64>(0) as Address, ctx.arg::<i32>(1), boot_ns());
    }
    0
}

#[kprobe]
pub(crate) fn request_kprobe(ctx: ProbeContext) -> u32 {
    if !is_own() {
        asked(&ctx, ctx.arg::<u64>(0).unwrap_or(0) as Address, Request::VERDICT_LATER, boot_ns());
    }
    0
}

/// Must be short: while it runs, the kernel may skip it for other tasks on this CPU (see `do_init_module.rs`).
#[fexit(function = "security_kernel_module_request")]
pub(crate) fn verdict_fexit(ctx: FExitContext) -> i32 {
    let verdict = ctx.arg::<i32>(1);
    if verdict != 0 && !is_own() {
        refused(verdict);
    }
    0
}

#[kretprobe]
pub(crate) fn verdict_kretprobe(ctx: RetProbeContext) -> u32 {
    let verdict = ctx.ret::<i32>();
    if verdict != 0 && !is_own() {
        refused(verdict);
    }
    0
}

#[inline(always)]
fn refused(verdict: i32) {
    let tid = tid();
    // SAFETY: the entry is this thread's own; the value is copied at once.
    let in_flight = (unsafe { IN_FLIGHT.get(&tid) }).map(|in_flight| (in_flight.request, in_flight.stage));
    // At a later stage it is the entry of an earlier request.
    let Some((request, stage::ASKED)) = in_flight else {
        count(Counter::ResultWithoutRequest);
        return;
    };
    let _ = IN_FLIGHT.remove(&tid);
    if let Some(mut entry) = reserve::<Verdict>(Counter::RingStage) {
        let to = entry.as_mut_ptr();
        // SAFETY: `to` is the reserved record.
        unsafe {
            write_header(addr_of_mut!((*to).header), Kind::Verdict, boot_ns());
            (*to).request = request;
            (*to).verdict = verdict;
            (*to).reserved = 0;
        }
        entry.submit(wakeup_if_sleeping());
    }
}

/// Records a request that ends before its name is formatted, because `kernel.modprobe` is empty.
#[inline(always)]
pub(crate) fn ended_here<C: EbpfContext>(ctx: &C) {
    let now = boot_ns();
    let request = RequestKey { boot_ns: now, tid: tid(), reserved: 0 };
    debug!(ctx, "request by {}: kernel.modprobe is empty", request.tid);
    send_request(ctx, request, Asked { name: core::ptr::null(), verdict: 0, no_modprobe: 1 });
}

/// Records a request and, unless it was refused, adds it to the requests in flight.
#[inline(always)]
fn asked<C: EbpfContext>(ctx: &C, name: Address, verdict: i32, now: u64) {
    let tid = tid();
    let request = RequestKey { boot_ns: now, tid, reserved: 0 };
    debug!(ctx, "request by {}: verdict {}", tid, verdict);
    send_request(ctx, request, Asked { name, verdict, no_modprobe: 0 });
    if verdict == 0 || verdict == Request::VERDICT_LATER {
        began(request, name, stage::ASKED);
    }
}

/// Records a request at the tracepoint, because no hook before it ran.
#[inline(always)]
pub(crate) fn asked_before<C: EbpfContext>(ctx: &C, name: Address, now: u64) -> RequestKey {
    let request = RequestKey { boot_ns: now, tid: tid(), reserved: 0 };
    debug!(ctx, "request by {}: not seen before it was admitted", request.tid);
    count(Counter::RequestLate);
    send_request(ctx, request, Asked { name, verdict: Request::LATE, no_modprobe: 0 });
    began(request, name, stage::ADMITTED);
    request
}

/// Adds a request to those in flight.
#[inline(always)]
fn began(request: RequestKey, name: Address, stage: u32) {
    let fingerprint = fingerprint(name);
    let in_flight = InFlight { request, handover_ns: 0, sub_info: 0, stage, wait: 0, fingerprint };
    if IN_FLIGHT.insert(&request.tid, &in_flight, 0).is_err() {
        count(Counter::MapInFlight);
    }
}

/// Distinguishes the requests of a thread id: by name, and by start time of the process.
///
/// All bytes of the kernel's buffer are compared. Those behind the NUL do not change within a request.
#[inline(always)]
pub(crate) fn fingerprint(name: Address) -> u64 {
    /// The multiplier of FxHash (rustc-hash): any odd number with many bits set mixes well enough.
    const MULTIPLIER: u64 = 0x517c_c1b7_2722_0a95;
    let mut words = [0_u64; MODULE_NAME_BYTES / 8];
    // SAFETY: the words are a local of this size, and any bytes are words.
    unsafe { kernel_bytes((&raw mut words).cast::<[u8; MODULE_NAME_BYTES]>(), name) };
    let start_ns = start_of(current());
    words.iter().fold(start_ns, |hash, word| (hash.rotate_left(5) ^ word).wrapping_mul(MULTIPLIER))
}

/// The fields of a request that differ by hook.
struct Asked {
    /// Null if there is no name.
    name: Address,
    verdict: i32,
    no_modprobe: u32,
}

/// Records a request.
#[inline(always)]
fn send_request<C: EbpfContext>(ctx: &C, request: RequestKey, asked: Asked) {
    let Some(mut entry) = reserve::<Request>(Counter::RingRequest) else { return };
    let to = entry.as_mut_ptr();
    // SAFETY: `to` is the reserved record; `ctx` is the program's own.
    unsafe {
        write_header(addr_of_mut!((*to).header), Kind::Request, request.boot_ns);
        (*to).request = request;
        (*to).verdict = asked.verdict;
        (*to).no_modprobe = asked.no_modprobe;
        // On failure the helper writes zeros: a missing name is empty.
        kernel_text(addr_of_mut!((*to).name), asked.name);
        write_owner(addr_of_mut!((*to).owner), current());
        write_stack(addr_of_mut!((*to).kernel_stack), ctx.as_ptr(), 0);
        write_stack(addr_of_mut!((*to).user_stack), ctx.as_ptr(), u64::from(BPF_F_USER_STACK));
        capture(addr_of_mut!((*to).context), addr_of!((*to).header));
        // Last, because the verifier processes all code behind a map lookup once for each result.
        write_init(addr_of_mut!((*to).in_init), request.tid);
        write_behalf(addr_of_mut!((*to).behalf), request.tid);
    }
    entry.submit(wakeup_if_sleeping());
}

/// The module in whose init this thread is.
///
/// # Safety
/// `to` must be writable.
#[inline(always)]
unsafe fn write_init(to: *mut [u8; MODULE_NAME_BYTES], tid: u32) {
    // SAFETY: the caller vouches for `to`; the start time detects a reused thread id.
    unsafe {
        match INITS.get(&tid) {
            Some(init) if init.start_ns == start_of(current()) => to.write(init.module),
            _ => to.cast::<u8>().write(0),
        }
    }
}

/// The creator of this kernel thread.
///
/// # Safety
/// `to` must be writable.
#[inline(always)]
unsafe fn write_behalf(to: *mut Behalf, tid: u32) {
    const UNKNOWN: Behalf = Behalf {
        creator: ProcessKey { start_ns: 0, pid: 0, reserved: 0 },
        tid: 0,
        is_worker: 0,
        boot_ns: 0,
        comm: [0; 16],
        thread_comm: [0; 16],
        cgroup_id: 0,
        owner: Owner::NONE,
    };
    // SAFETY: the caller vouches for `to`; the start time detects a reused thread id.
    unsafe {
        match KTHREADS.get(&tid) {
            Some(kthread) if kthread.start_ns == process_of(current()).start_ns => to.write(kthread.behalf),
            _ => to.write(UNKNOWN),
        }
    }
}
