//! The eBPF programs of kmodtrace. None sits on a hot path of the system: all of them run only when a
//! module is asked for, loaded or unloaded, or when a kernel thread is created.
#![no_std]
#![no_main]
// As aya-ebpf itself needs it.
#![feature(asm_experimental_arch)]
// Every helper is inlined: subprograms are refused by old verifiers.
#![expect(clippy::inline_always, reason = "subprograms are refused by old verifiers")]

mod count;
mod globals;
mod maps;
mod path;
mod probes;
mod read;
mod send;
mod settings;
mod task;

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    // No program contains a reachable panic: the verifier refuses a loop without end.
    loop {}
}

/// GPL-compatible, as the kernel demands of programs that read its memory; see LICENSE notes in the README.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
