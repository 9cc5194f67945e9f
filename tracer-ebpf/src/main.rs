//! The eBPF programs of kmodtrace. None is on a hot path: they run only when a module is requested, loaded or unloaded, or
//! when a kernel thread is created.
#![no_std]
#![no_main]
// For the atomic addition, as in aya-ebpf.
#![feature(asm_experimental_arch)]
#![expect(clippy::inline_always, reason = "subprograms are refused by old verifiers")]

mod count;
mod globals;
mod maps;
mod own_process;
mod path;
mod probes;
mod read;
mod send;
mod settings;
mod task;

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    // Unreachable: the verifier rejects programs with an infinite loop.
    loop {}
}

/// The kernel requires a GPL-compatible license for helpers that read its memory; see the license notes in the README.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
