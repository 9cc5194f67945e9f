//! What tells of a module that comes (`do_init_module.rs`, `module_load.rs`) and of one that goes (`module_free.rs`).
//!
//! The kprobes of both jump to one program: `do_init_module()` and `free_module()` have the module as their first argument.

use core::ptr::{addr_of, addr_of_mut};

use aya_ebpf::{macros::kprobe, programs::ProbeContext};
use tracer_ebpf::wire::{Counter, Kind, Load, Tail};

use crate::{
    count::count,
    globals,
    maps::{COMES, INITS, KPROBES},
    read::{Address, kernel_bytes, member},
    send::{NOW, at_once, reserve},
    task::{boot_ns, capture, current, tid, write_header, write_owner},
};

/// Has the other program tell of a module that comes, or goes. It does not return where that works.
#[inline(always)]
pub(crate) fn jump(ctx: &ProbeContext, comes: bool) {
    if let Some(word) = COMES.get_ptr_mut(0) {
        // SAFETY: the pointer is this CPU's entry, which no one else touches: preemption is off until the program ends.
        unsafe { word.write_volatile(u32::from(comes)) };
    }
    // SAFETY: the map has programs of this type only.
    unsafe { KPROBES.tail_call(ctx, Tail::Module as u32) };
    count(Counter::TailMissing);
}

#[kprobe]
pub(crate) fn module_kprobe(ctx: ProbeContext) -> u32 {
    if let Some(word) = COMES.get_ptr(0) {
        // SAFETY: the pointer is this CPU's entry.
        let comes = unsafe { word.read_volatile() } == 1;
        record(ctx.arg::<u64>(0).unwrap_or(0) as Address, comes);
    }
    0
}

/// Records the arrival of a module, or its departure.
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
        // Last: what follows is verified for each answer.
        if !comes {
            (*to).header.kind = Kind::Unload as u32;
            // The entry is this thread's own; the value is copied at once.
            let in_init = INITS.get(&tid()).is_some_and(|init| init.module_ptr == module as u64);
            (*to).taints = u64::from(in_init);
        }
    }
    // Devices are announced by other ways: which of them a module is loaded for is known only as long as udev deals with it.
    entry.submit(if comes { NOW } else { at_once() });
}
