//! Reads of kernel and user memory, each checked by the kernel: none can fault.

use core::arch::asm;

use aya_ebpf::helpers::{bpf_probe_read_kernel, generated};
use tracer_ebpf::offsets::ABSENT;

/// Address of a kernel object, dereferenced only by the checked reads below.
pub(crate) type Address = *const u8;

/// 1 if the value is 0, else 0; without a branch, whose two ways the verifier would follow to the end of the program.
#[inline(always)]
pub(crate) fn is_zero(value: u64) -> u32 {
    let mut sign = value | value.wrapping_neg();
    // In assembly, because the compiler would turn the shift into a comparison and a branch.
    // SAFETY: it changes the register of its operand only.
    unsafe { asm!("{sign} >>= 63", sign = inout(reg) sign, options(pure, nomem, nostack)) };
    sign as u32 ^ 1
}

/// Reads a member; `None` if this kernel lacks it or the read fails.
#[inline(always)]
pub(crate) fn member<T: Copy>(object: Address, offset: u32) -> Option<T> {
    if offset == ABSENT || object.is_null() {
        return None;
    }
    let address = object.wrapping_add(offset as usize).cast::<T>();
    // SAFETY: the helper checks the address and copies.
    unsafe { bpf_probe_read_kernel(address) }.ok()
}

/// Reads a member that is a pointer; null if it cannot be read.
///
/// There is no branch on the helper's result, because in a loop every branch multiplies the verifier's work. On failure the
/// helper writes zeros.
#[inline(always)]
pub(crate) fn pointer(object: Address, offset: u32) -> Address {
    let mut value = 0_u64;
    if offset != ABSENT {
        let address = object.wrapping_add(offset as usize);
        // SAFETY: the helper checks the address and writes 8 bytes to a local of that size.
        unsafe { generated::bpf_probe_read_kernel((&raw mut value).cast(), 8, address.cast()) };
    }
    value as Address
}

/// Reads a member of 4 bytes, like [`pointer`]; 0 on failure.
#[inline(always)]
pub(crate) fn number(object: Address, offset: u32) -> u32 {
    let mut value = 0_u32;
    if offset != ABSENT {
        let address = object.wrapping_add(offset as usize);
        // SAFETY: the helper checks the address and writes 4 bytes to a local of that size.
        unsafe { generated::bpf_probe_read_kernel((&raw mut value).cast(), 4, address.cast()) };
    }
    value
}

/// Reads a member of 8 bytes, like [`pointer`]; 0 on failure.
#[inline(always)]
pub(crate) fn long(object: Address, offset: u32) -> u64 {
    pointer(object, offset) as u64
}

/// Copies a NUL-terminated kernel string into a field of a record; empty on failure (the helper writes zeros).
///
/// # Safety
/// `to` must point to `N` writable bytes.
#[inline(always)]
pub(crate) unsafe fn kernel_text<const N: usize>(to: *mut [u8; N], from: Address) {
    // SAFETY: the caller vouches for `to`; the helper checks `from`.
    unsafe { generated::bpf_probe_read_kernel_str(to.cast(), N as u32, from.cast()) };
}

/// Like [`kernel_text`], from user memory.
///
/// # Safety
/// `to` must point to `N` writable bytes.
#[inline(always)]
pub(crate) unsafe fn user_text<const N: usize>(to: *mut [u8; N], from: Address) {
    // SAFETY: the caller vouches for `to`; the helper checks `from`.
    unsafe { generated::bpf_probe_read_user_str(to.cast(), N as u32, from.cast()) };
}

/// Copies `N` bytes of kernel memory into a field of a record; zeros on failure (written by the helper).
///
/// # Safety
/// `to` must point to `N` writable bytes.
#[inline(always)]
pub(crate) unsafe fn kernel_bytes<const N: usize>(to: *mut [u8; N], from: Address) -> bool {
    // SAFETY: the caller vouches for `to`; the helper checks `from`.
    unsafe { generated::bpf_probe_read_kernel(to.cast(), N as u32, from.cast()) == 0 }
}
