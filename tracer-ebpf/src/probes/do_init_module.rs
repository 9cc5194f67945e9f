//! `static noinline int do_init_module(struct module *mod)` (kernel/module.c; kernel/module/main.c since 5.19).
//!
//! The entry also reports the load of the module: it directly follows the tracepoint `module_load`. A kprobe runs with
//! preemption off. A tracepoint or fentry program may be preempted on kernels with full or lazy preemption, and the
//! kernel then skips the same program for every other task on that CPU.

use core::ptr::addr_of_mut;

use aya_ebpf::{
    macros::{fentry, fexit, kprobe, kretprobe},
    programs::{FEntryContext, FExitContext, ProbeContext, RetProbeContext},
};
use tracer_ebpf::wire::{Counter, InitDone, Kind, MODULE_NAME_BYTES};

use super::module::record;
use crate::{
    count::count,
    globals,
    maps::{INITS, InitOf},
    read::{Address, kernel_bytes},
    send::{reserve, wakeup_if_sleeping},
    task::{boot_ns, current, start_of, tid, write_header, write_owner},
};

#[fentry(function = "do_init_module")]
pub(crate) fn init_fentry(ctx: FEntryContext) -> i32 {
    began(ctx.arg::<u64>(0) as Address);
    0
}

#[kprobe]
pub(crate) fn load_kprobe(ctx: ProbeContext) -> u32 {
    let module = ctx.arg::<u64>(0).unwrap_or(0) as Address;
    began(module);
    record(module, true);
    0
}

#[fexit(function = "do_init_module")]
pub(crate) fn init_fexit(ctx: FExitContext) -> i32 {
    ended(ctx.arg::<i32>(1));
    0
}

#[kretprobe]
pub(crate) fn init_kretprobe(ctx: RetProbeContext) -> u32 {
    ended(ctx.ret::<i32>());
    0
}

#[inline(always)]
fn began(module: Address) {
    let start_ns = start_of(current());
    let module_ptr = module as u64;
    let mut init = InitOf { start_ns, module_ptr, began_ns: boot_ns(), module: [0; MODULE_NAME_BYTES] };
    // SAFETY: the array is a local.
    unsafe { kernel_bytes(&raw mut init.module, module.wrapping_add(globals::MODULE_NAME.load() as usize)) };
    if INITS.insert(&tid(), &init, 0).is_err() {
        count(Counter::MapInits);
    }
}

#[inline(always)]
fn ended(ret: i32) {
    let tid = tid();
    // The module may be freed by now, so only the values saved on entry are used. Without an entry, the init began before the
    // programs were attached.
    let Some(init) = INITS.get_ptr(&tid) else { return };
    let now = boot_ns();
    if let Some(mut entry) = reserve::<InitDone>(Counter::RingModule) {
        let to = entry.as_mut_ptr();
        // SAFETY: `to` is the reserved record; `init` is this thread's own entry and not null.
        unsafe {
            write_header(addr_of_mut!((*to).header), Kind::InitDone, now);
            write_owner(addr_of_mut!((*to).owner), current());
            (*to).module_ptr = (*init).module_ptr;
            (*to).duration_ns = now - (*init).began_ns;
            (*to).ret = ret;
            (*to).reserved = 0;
            (*to).module = (*init).module;
        }
        entry.submit(wakeup_if_sleeping());
    }
    let _ = INITS.remove(&tid);
}
