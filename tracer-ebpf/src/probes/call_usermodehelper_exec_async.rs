//! `static int call_usermodehelper_exec_async(void *data)` (kernel/umh.c).
//!
//! Runs in the task that is about to become modprobe; `data` is the `subprocess_info` pointer.

use core::ptr::addr_of_mut;

use aya_ebpf::{
    macros::{fentry, kprobe},
    programs::{FEntryContext, ProbeContext},
};
use tracer_ebpf::wire::{Counter, Helper, Kind, Setting};

use crate::{
    count::count,
    globals,
    maps::{HANDOVERS, HELPERS, HelperOf},
    read::{Address, kernel_text, member, pointer},
    send::{NO_WAKEUP, reserve},
    settings::setting,
    task::{boot_ns, current, process_of, write_header},
};

#[fentry(function = "call_usermodehelper_exec_async")]
pub(crate) fn helper_fentry(ctx: FEntryContext) -> i32 {
    born(ctx.arg::<u64>(0));
    0
}

#[kprobe]
pub(crate) fn helper_kprobe(ctx: ProbeContext) -> u32 {
    born(ctx.arg::<u64>(0).unwrap_or(0));
    0
}

#[inline(always)]
fn born(sub_info: u64) {
    // SAFETY: the entry is for this task only; the value is copied at once.
    let Some(request) = (unsafe { HANDOVERS.get(&sub_info) }).copied() else {
        let cleanup = member::<u64>(sub_info as Address, globals::SUBPROCESS_CLEANUP.load());
        // Other helpers (core dumps, request-key) are not traced.
        if cleanup.is_some_and(|cleanup| cleanup != 0 && cleanup == setting(Setting::FreeModprobeArgv)) {
            count(Counter::MapHandover);
        }
        return;
    };
    let _ = HANDOVERS.remove(&sub_info);
    // A request of the tracer itself, or one that was counted as lost.
    if request.boot_ns == 0 {
        return;
    }

    let process = process_of(current());
    if HELPERS.insert(&process.pid, &HelperOf { start_ns: process.start_ns, request }, 0).is_err() {
        count(Counter::MapHelpers);
    }
    if let Some(mut entry) = reserve::<Helper>(Counter::RingStage) {
        let to = entry.as_mut_ptr();
        let info = sub_info as Address;
        // SAFETY: `to` is the reserved record.
        unsafe {
            write_header(addr_of_mut!((*to).header), Kind::Helper, boot_ns());
            (*to).request = request;
            kernel_text(addr_of_mut!((*to).path), pointer(info, globals::SUBPROCESS_PATH.load()));
            let argv = pointer(info, globals::SUBPROCESS_ARGV.load());
            let texts = addr_of_mut!((*to).argv).cast::<[u8; 64]>();
            // call_modprobe() passes four: the path, -q, --, and the alias.
            for index in 0..4 {
                kernel_text(texts.add(index), pointer(argv, index as u32 * 8));
            }
        }
        entry.submit(NO_WAKEUP);
    }
}
