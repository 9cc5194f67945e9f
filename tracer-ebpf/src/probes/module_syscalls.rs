//! `init_module(2)`, `finit_module(2)`, `delete_module(2)`: `long __x64_sys_finit_module(const struct pt_regs *)` and two
//! similar functions (kernel/module/main.c). Their exits report every failed attempt, including refused ones.
//!
//! All three programs do the same: the calls have the same arguments and return values.

use core::ptr::{addr_of, addr_of_mut};

use aya_ebpf::{
    EbpfContext as _,
    macros::{fexit, kretprobe},
    programs::{FExitContext, RetProbeContext},
};
use tracer_ebpf::wire::{Counter, Kind, LoadExit, Syscall};

use crate::{
    globals,
    read::{Address, long, number, pointer, user_text},
    send::{reserve, wakeup_if_sleeping},
    task::{boot_ns, capture, current, is_own, write_header, write_owner},
};

#[fexit(function = "__x64_sys_init_module")]
pub(crate) fn sys_init_fexit(ctx: FExitContext) -> i32 {
    failed(&ctx);
    0
}

#[fexit(function = "__x64_sys_finit_module")]
pub(crate) fn sys_finit_fexit(ctx: FExitContext) -> i32 {
    failed(&ctx);
    0
}

#[fexit(function = "__x64_sys_delete_module")]
pub(crate) fn sys_delete_fexit(ctx: FExitContext) -> i32 {
    failed(&ctx);
    0
}

/// Records a failed call. Successful calls are visible as loads and unloads.
#[inline(always)]
fn failed(ctx: &FExitContext) {
    let ret = ctx.arg::<i64>(1);
    if ret >= 0 || is_own() {
        return;
    }
    let Some(mut entry) = reserve::<LoadExit>(Counter::RingModule) else { return };
    let to = entry.as_mut_ptr();
    // SAFETY: `to` is the reserved record.
    unsafe {
        // Not with `arg`: the BTF of 5.10 lacks the type that the argument points to, and its verifier then refuses access.
        let regs = pointer(ctx.as_ptr() as Address, 0);
        // User space decides which call it is: a branch here would cost the verifier more. All three calls have a first
        // argument, and only that of `delete_module` is a name.
        (*to).syscall = number(regs, globals::REGS_SYSCALL.load()) | number(regs, globals::REGS_SYSCALL_ARM64.load());
        let first = long(regs, globals::REGS_ARG0.load()) | long(regs, globals::REGS_ARG0_ARM64.load());
        user_text(addr_of_mut!((*to).module), first as Address);
        write_failed(to, ret);
    }
    entry.submit(wakeup_if_sleeping());
}

#[kretprobe]
pub(crate) fn sys_init_kretprobe(ctx: RetProbeContext) -> u32 {
    returned(Syscall::InitModule, ctx.ret::<i64>());
    0
}

#[kretprobe]
pub(crate) fn sys_finit_kretprobe(ctx: RetProbeContext) -> u32 {
    returned(Syscall::FinitModule, ctx.ret::<i64>());
    0
}

#[kretprobe]
pub(crate) fn sys_delete_kretprobe(ctx: RetProbeContext) -> u32 {
    returned(Syscall::DeleteModule, ctx.ret::<i64>());
    0
}

#[inline(always)]
fn returned(syscall: Syscall, ret: i64) {
    if ret >= 0 || is_own() {
        return;
    }
    let Some(mut entry) = reserve::<LoadExit>(Counter::RingModule) else { return };
    let to = entry.as_mut_ptr();
    // SAFETY: `to` is the reserved record.
    unsafe {
        (*to).module[0] = 0;
        (*to).syscall = syscall.number();
        write_failed(to, ret);
    }
    entry.submit(wakeup_if_sleeping());
}

/// Fills the record of a failed call, except the call's number. Called last, because the verifier processes all code behind it
/// once for each of its exits.
///
/// # Safety
/// `to` must point to a writable `LoadExit`.
#[inline(always)]
unsafe fn write_failed(to: *mut LoadExit, ret: i64) {
    // SAFETY: the caller vouches for `to`.
    unsafe {
        write_header(addr_of_mut!((*to).header), Kind::LoadExit, boot_ns());
        write_owner(addr_of_mut!((*to).owner), current());
        (*to).ret = ret;
        (*to).have_context = 1;
        capture(addr_of_mut!((*to).context), addr_of!((*to).header));
    }
}
