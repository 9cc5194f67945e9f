//! `int security_kernel_read_file(struct file *file, enum kernel_read_file_id id, bool contents)` (security/security.c).
//!
//! Called by finit_module(2) before the module file is read: the only place that has the path.

use core::ptr::addr_of_mut;

use aya_ebpf::{
    macros::{fentry, kprobe},
    programs::{FEntryContext, ProbeContext},
};
use tracer_ebpf::wire::{Counter, Kind, ModuleFile};

use crate::{
    globals,
    path::file_path,
    read::Address,
    send::{NO_WAKEUP, reserve},
    task::{boot_ns, current, write_header, write_owner},
};

#[fentry(function = "security_kernel_read_file")]
pub(crate) fn file_fentry(ctx: FEntryContext) -> i32 {
    reading(ctx.arg::<u64>(0) as Address, ctx.arg::<u32>(1));
    0
}

#[kprobe]
pub(crate) fn file_kprobe(ctx: ProbeContext) -> u32 {
    reading(ctx.arg::<u64>(0).unwrap_or(0) as Address, ctx.arg::<u32>(1).unwrap_or(0));
    0
}

#[inline(always)]
fn reading(file: Address, id: u32) {
    if id != globals::READING_MODULE.load() && id != globals::READING_MODULE_COMPRESSED.load() {
        return;
    }
    if let Some(mut entry) = reserve::<ModuleFile>(Counter::RingModule) {
        let to = entry.as_mut_ptr();
        // SAFETY: `to` is the reserved record.
        unsafe {
            write_header(addr_of_mut!((*to).header), Kind::ModuleFile, boot_ns());
            write_owner(addr_of_mut!((*to).owner), current());
            file_path(addr_of_mut!((*to).path), file);
        }
        entry.submit(NO_WAKEUP);
    }
}
