//! `TP_PROTO(struct module *mod)` of tracepoint `module_free` (include/trace/events/module.h).
//!
//! Fires when a module leaves, and, in the loading task, when its init failed: at the beginning of
//! `static void free_module(struct module *mod)`, whose probe says the same and is preferred (see `do_init_module.rs`).

use core::ptr::addr_of_mut;

use aya_ebpf::{
    macros::{kprobe, raw_tracepoint},
    programs::{ProbeContext, RawTracePointContext},
};
use tracer_ebpf::wire::{Counter, Kind, Unload};

use crate::{
    globals,
    maps::INITS,
    read::{Address, kernel_bytes},
    send::{AT_ONCE, reserve},
    task::{boot_ns, capture, current, tid, write_header, write_owner},
};

#[raw_tracepoint(tracepoint = "module_free")]
pub(crate) fn module_free(ctx: RawTracePointContext) -> i32 {
    freed(ctx.arg::<u64>(0) as Address);
    0
}

#[kprobe]
pub(crate) fn free_kprobe(ctx: ProbeContext) -> u32 {
    freed(ctx.arg::<u64>(0).unwrap_or(0) as Address);
    0
}

#[inline(always)]
fn freed(module: Address) {
    if let Some(mut entry) = reserve::<Unload>(Counter::RingModule) {
        let to = entry.as_mut_ptr();
        // SAFETY: `to` is the reserved record.
        unsafe {
            write_header(addr_of_mut!((*to).header), Kind::Unload, boot_ns());
            write_owner(addr_of_mut!((*to).owner), current());
            (*to).module_ptr = module as u64;
            kernel_bytes(addr_of_mut!((*to).module), module.wrapping_add(globals::MODULE_NAME.load() as usize));
            (*to).reserved = 0;
            capture(addr_of_mut!((*to).context));
            // Last: what follows is verified for each answer. The entry is this thread's own; the value is copied at once.
            let in_init = INITS.get(&tid()).is_some_and(|init| init.module_ptr == module as u64);
            (*to).in_init = u32::from(in_init);
        }
        entry.submit(AT_ONCE);
    }
}
