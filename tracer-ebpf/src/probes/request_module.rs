//! `int __request_module(bool wait, const char *fmt, ...)` (kernel/kmod.c; kernel/module/kmod.c since 6.4).
//!
//! Only the entry is probed. The function is variadic, so fentry refuses it; a kretprobe would lose
//! returns when many requests wait, and replace return addresses in stacks and call sites.

use core::ptr::{addr_of, addr_of_mut};

use aya_ebpf::{macros::kprobe, programs::ProbeContext};
use aya_log_ebpf::debug;
use tracer_ebpf::{
    conversions,
    wire::{Counter, ENTERED_TEXT_BYTES, ENTERED_VALUES, Entered, Kind, Setting},
};

use super::security_kernel_module_request::ended_here;
use crate::{
    globals,
    maps::IN_FLIGHT,
    read::{Address, kernel_text, member, number, pointer},
    send::{reserve, wakeup_if_sleeping},
    settings::setting,
    task::{boot_ns, current, is_own, tid, write_header, write_names},
};

#[kprobe]
pub(crate) fn request_module_entry(ctx: ProbeContext) -> u32 {
    if !is_own() {
        entered(&ctx);
    }
    0
}

#[inline(always)]
fn entered(ctx: &ProbeContext) {
    // Remove the entry of an earlier request of this thread that ended early.
    let _ = IN_FLIGHT.remove(&tid());

    let now = boot_ns();
    let format = ctx.arg::<u64>(1).unwrap_or(0) as Address;
    let no_modprobe = modprobe_is_empty();
    debug!(ctx, "__request_module entered by {}", tid());

    if let Some(mut entry) = reserve::<Entered>(Counter::RingStage) {
        let to = entry.as_mut_ptr();
        let task = current();
        let cred = pointer(task, globals::TASK_CRED.load());
        let lowest = lowest_kernel_address(task);
        // SAFETY: `to` is the reserved record.
        unsafe {
            write_header(addr_of_mut!((*to).header), Kind::Entered, now);
            (*to).call_site = call_site(ctx);
            (*to).no_modprobe = no_modprobe;
            (*to).uid = number(cred, globals::CRED_UID.load());
            write_names(addr_of_mut!((*to).comm), addr_of_mut!((*to).thread_comm), task);
            kernel_text(addr_of_mut!((*to).format), format);
            let strings = string_arguments(addr_of!((*to).format).cast());
            let values = addr_of_mut!((*to).values).cast::<u64>();
            let texts = addr_of_mut!((*to).texts).cast::<[u8; 64]>();
            for index in 0..ENTERED_VALUES {
                let value = ctx.arg::<u64>(index + 2).unwrap_or(0);
                values.add(index).write(value);
                let is_text = strings & 1 << index != 0 && value >= lowest;
                kernel_text(texts.add(index), if is_text { value as Address } else { core::ptr::null() });
            }
        }
        // It may be the only record: a request whose name is too long ends here.
        entry.submit(wakeup_if_sleeping());
    }
    if no_modprobe == 1 {
        // The kernel stops here: no other hook sees the request.
        ended_here(ctx);
    }
}

/// The arguments of a format that are strings, one bit each: the first, the second, and so on.
///
/// Other registers hold arbitrary values, such as the address of a device whose registers change when they are read. There is
/// no branch on a byte of the format: the verifier would follow each combination.
///
/// # Safety
/// `format` must point to `ENTERED_TEXT_BYTES` bytes.
#[inline(always)]
unsafe fn string_arguments(format: *const u8) -> u32 {
    let (mut strings, mut argument, mut state) = (0_u32, 0_u32, conversions::TEXT);
    for index in 0..ENTERED_TEXT_BYTES {
        // SAFETY: the caller vouches for `format`; the table has an entry for each byte in each of four states.
        let step = unsafe {
            let byte = format.add(index).read_volatile();
            let place = (state as usize & 3) << 8 | byte as usize;
            (&raw const CONVERSIONS).cast::<u8>().add(place).read_volatile()
        };
        strings |= (u32::from(step) >> conversions::STRING & 1) << (argument & 15);
        argument += u32::from(step) >> conversions::ARGUMENT & 1;
        state = step & 3;
    }
    strings
}

/// The next state for each state and byte, and what the byte means.
static CONVERSIONS: [u8; 1024] = conversions::table();

/// The lowest kernel address: smaller values are not read.
///
/// The argument of a `%s` may be any pointer. The kernel checks addresses before it reads them, but 5.10 uses the address width
/// that the CPU supports: with four-level page tables on a CPU that supports five levels, it reads non-canonical addresses and
/// logs a warning.
#[inline(always)]
fn lowest_kernel_address(task: Address) -> u64 {
    const FOUR_LEVELS: u64 = 0xffff_8000_0000_0000;
    const FIVE_LEVELS: u64 = 0xff00_0000_0000_0000;
    if cfg!(not(bpf_target_arch = "x86_64")) {
        return 0;
    }
    // The direct map is at the lower end, so the address of a task shows the number of levels.
    if task as u64 >= FOUR_LEVELS { FOUR_LEVELS } else { FIVE_LEVELS }
}

/// 1: empty, 0: set, 2: unknown.
#[inline(always)]
fn modprobe_is_empty() -> u32 {
    let path = setting(Setting::ModprobePath);
    if path == 0 {
        return 2;
    }
    match member::<u8>(path as Address, 0) {
        Some(0) => 1,
        Some(_) => 0,
        None => 2,
    }
}

#[cfg(bpf_target_arch = "x86_64")]
#[inline(always)]
fn call_site(ctx: &ProbeContext) -> u64 {
    // SAFETY: the context of a kprobe is a valid struct pt_regs.
    let stack = unsafe { (*ctx.regs).rsp };
    member::<u64>(stack as Address, 0).unwrap_or(0)
}

#[cfg(bpf_target_arch = "aarch64")]
#[inline(always)]
fn call_site(ctx: &ProbeContext) -> u64 {
    // SAFETY: the context of a kprobe is a valid struct pt_regs; x30 is the link register.
    unsafe { (*ctx.regs).regs[30] }
}

#[cfg(not(any(bpf_target_arch = "x86_64", bpf_target_arch = "aarch64")))]
#[inline(always)]
fn call_site(_: &ProbeContext) -> u64 {
    0
}
