//! Records loads (`do_init_module.rs`, `module_load.rs`) and unloads (`module_free.rs`) of modules.

use core::ptr::{addr_of, addr_of_mut};

use tracer_ebpf::wire::{Counter, Kind, Load};

use crate::{
    globals,
    maps::INITS,
    read::{Address, kernel_bytes, member},
    send::{FORCE_WAKEUP, reserve, wakeup_if_sleeping},
    task::{boot_ns, capture, current, tid, write_header, write_owner},
};

/// Records the load or unload of a module.
#[inline(always)]
pub(crate) fn record(module: Address, comes: bool) {
    let Some(mut entry) = reserve::<Load>(Counter::RingModule) else { return };
    let to = entry.as_mut_ptr();
    // SAFETY: `to` is the reserved record; `Unload` has the same layout.
    unsafe {
        write_header(addr_of_mut!((*to).header), Kind::Load, boot_ns());
        write_owner(addr_of_mut!((*to).owner), current());
        (*to).module_ptr = module as u64;
        (*to).taints = member::<u64>(module, globals::MODULE_TAINTS.load()).unwrap_or(0);
        kernel_bytes(addr_of_mut!((*to).module), module.wrapping_add(globals::MODULE_NAME.load() as usize));
        capture(addr_of_mut!((*to).context), addr_of!((*to).header));
        // Last, because the verifier processes all code behind a map lookup once for each result.
        if !comes {
            (*to).header.kind = Kind::Unload as u32;
            // The entry is this thread's own; the value is copied at once.
            let in_init = INITS.get(&tid()).is_some_and(|init| init.module_ptr == module as u64);
            (*to).taints = u64::from(in_init);
        }
    }
    // Uevents arrive on a netlink socket: the device that a module is loaded for is known only while udev handles it.
    entry.submit(if comes { FORCE_WAKEUP } else { wakeup_if_sleeping() });
}
