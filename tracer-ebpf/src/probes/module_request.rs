//! `TP_PROTO(char *name, bool wait, unsigned long ip)` of tracepoint `module_request` (include/trace/events/module.h).
//!
//! Fires when a request has passed the LSMs and the limit on concurrent requests.
//!
//! It does not depend on ftrace or kprobes, so it also shows requests for which no earlier hook ran: kprobes or ftrace are
//! switched off, the kernel skipped the program, or the compiler inlined the function. Such a request is recorded here.

use core::ptr::addr_of_mut;

use aya_ebpf::{macros::raw_tracepoint, programs::RawTracePointContext};
use tracer_ebpf::wire::{Admitted, Counter, Kind};

use super::security_kernel_module_request::{asked_before, fingerprint};
use crate::{
    maps::{IN_FLIGHT, stage},
    read::Address,
    send::{NO_WAKEUP, reserve},
    task::{boot_ns, is_own, tid, write_header},
};

#[raw_tracepoint(tracepoint = "module_request")]
pub(crate) fn module_request(ctx: RawTracePointContext) -> i32 {
    if is_own() {
        return 0;
    }
    let name = ctx.arg::<u64>(0) as Address;
    let wait = u32::from(ctx.arg::<u64>(1) as u8 != 0);
    // SAFETY: the entry is this thread's own and not null.
    let known = IN_FLIGHT.get_ptr_mut(&tid()).and_then(|in_flight| unsafe {
        // Any other entry is that of an earlier request.
        if (*in_flight).stage != stage::ASKED || (*in_flight).fingerprint != fingerprint(name) {
            return None;
        }
        (*in_flight).stage = stage::ADMITTED;
        (*in_flight).wait = wait;
        Some((*in_flight).request)
    });
    let request = match known {
        Some(request) => request,
        None => asked_before(&ctx, name, boot_ns()),
    };
    if let Some(mut entry) = reserve::<Admitted>(Counter::RingStage) {
        let to = entry.as_mut_ptr();
        // SAFETY: `to` is the reserved record.
        unsafe {
            write_header(addr_of_mut!((*to).header), Kind::Admitted, boot_ns());
            (*to).request = request;
            (*to).call_site = ctx.arg::<u64>(2);
            (*to).wait = wait;
            (*to).reserved = 0;
        }
        entry.submit(NO_WAKEUP);
    }
    0
}
