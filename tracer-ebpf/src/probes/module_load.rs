//! `TP_PROTO(struct module *mod)` of tracepoint `module_load` (include/trace/events/module.h).
//!
//! Fires in the task that called (f)init_module, when the module is in place and before its init: right before
//! `do_init_module()`, whose probe says the same and is preferred (see there).

use core::ptr::addr_of_mut;

use aya_ebpf::{macros::raw_tracepoint, programs::RawTracePointContext};
use tracer_ebpf::wire::{Counter, Kind, Load};

use crate::{
    globals,
    read::{Address, kernel_bytes, member},
    send::{AT_ONCE, reserve},
    task::{boot_ns, capture, current, write_header, write_owner},
};

#[raw_tracepoint(tracepoint = "module_load")]
pub(crate) fn module_load(ctx: RawTracePointContext) -> i32 {
    loaded(ctx.arg::<u64>(0) as Address);
    0
}

/// Records the arrival of a module.
#[inline(always)]
pub(crate) fn loaded(module: Address) {
    if let Some(mut entry) = reserve::<Load>(Counter::RingModule) {
        let to = entry.as_mut_ptr();
        // SAFETY: `to` is the reserved record.
        unsafe {
            write_header(addr_of_mut!((*to).header), Kind::Load, boot_ns());
            write_owner(addr_of_mut!((*to).owner), current());
            (*to).module_ptr = module as u64;
            (*to).taints = member::<u64>(module, globals::MODULE_TAINTS.load()).unwrap_or(0);
            kernel_bytes(addr_of_mut!((*to).module), module.wrapping_add(globals::MODULE_NAME.load() as usize));
            capture(addr_of_mut!((*to).context));
        }
        entry.submit(AT_ONCE);
    }
}
