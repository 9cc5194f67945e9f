//! `init_module(2)`, `finit_module(2)`, `delete_module(2)`: `long __x64_sys_finit_module(const struct pt_regs *)`
//! and its kin (kernel/module/main.c). Their exits tell of every attempt that
//! failed, the refused ones included.

use core::ptr::addr_of_mut;

use aya_ebpf::{
    macros::{fexit, kretprobe},
    programs::{FExitContext, RetProbeContext},
};
use tracer_ebpf::wire::{Counter, Kind, LoadExit, Pair, Syscall};

use crate::{
    globals,
    pair::{Who, is_ours},
    read::{Address, member, user_text},
    send::{AT_ONCE, reserve},
    task::{boot_ns, capture, current, is_own, write_header, write_owner},
};

#[fexit(function = "__x64_sys_init_module")]
pub(crate) fn sys_init_fexit(ctx: FExitContext) -> i32 {
    if is_ours(Pair::InitModule, Who::First) {
        returned(Syscall::InitModule, ctx.arg::<i64>(1), core::ptr::null());
    }
    0
}

#[fexit(function = "__x64_sys_init_module")]
pub(crate) fn sys_init_fexit_second(ctx: FExitContext) -> i32 {
    if is_ours(Pair::InitModule, Who::Second) {
        returned(Syscall::InitModule, ctx.arg::<i64>(1), core::ptr::null());
    }
    0
}

#[fexit(function = "__x64_sys_finit_module")]
pub(crate) fn sys_finit_fexit(ctx: FExitContext) -> i32 {
    if is_ours(Pair::FinitModule, Who::First) {
        returned(Syscall::FinitModule, ctx.arg::<i64>(1), core::ptr::null());
    }
    0
}

#[fexit(function = "__x64_sys_finit_module")]
pub(crate) fn sys_finit_fexit_second(ctx: FExitContext) -> i32 {
    if is_ours(Pair::FinitModule, Who::Second) {
        returned(Syscall::FinitModule, ctx.arg::<i64>(1), core::ptr::null());
    }
    0
}

#[fexit(function = "__x64_sys_delete_module")]
pub(crate) fn sys_delete_fexit(ctx: FExitContext) -> i32 {
    returned(Syscall::DeleteModule, ctx.arg::<i64>(1), ctx.arg::<u64>(0) as Address);
    0
}

#[kretprobe]
pub(crate) fn sys_init_kretprobe(ctx: RetProbeContext) -> u32 {
    returned(Syscall::InitModule, ctx.ret::<i64>(), core::ptr::null());
    0
}

#[kretprobe]
pub(crate) fn sys_finit_kretprobe(ctx: RetProbeContext) -> u32 {
    returned(Syscall::FinitModule, ctx.ret::<i64>(), core::ptr::null());
    0
}

#[kretprobe]
pub(crate) fn sys_delete_kretprobe(ctx: RetProbeContext) -> u32 {
    returned(Syscall::DeleteModule, ctx.ret::<i64>(), core::ptr::null());
    0
}

/// `regs` holds the arguments of delete_module, where the hook has them.
#[inline(always)]
fn returned(syscall: Syscall, ret: i64, regs: Address) {
    // What succeeds is told by the loads and unloads themselves.
    if ret >= 0 || is_own() {
        return;
    }
    if let Some(mut entry) = reserve::<LoadExit>(Counter::RingModule) {
        let to = entry.as_mut_ptr();
        // SAFETY: `to` is the reserved record.
        unsafe {
            write_header(addr_of_mut!((*to).header), Kind::LoadExit, boot_ns());
            write_owner(addr_of_mut!((*to).owner), current());
            (*to).ret = ret;
            (*to).syscall = syscall as u32;
            (*to).have_context = 1;
            let name = member::<u64>(regs, globals::REGS_ARG0.load())
                .or_else(|| member::<u64>(regs, globals::REGS_ARG0_ARM64.load()));
            user_text(addr_of_mut!((*to).module), name.unwrap_or(0) as Address);
            capture(addr_of_mut!((*to).context));
        }
        entry.submit(AT_ONCE);
    }
}
