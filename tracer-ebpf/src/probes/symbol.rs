//! Never attached: the tracer runs it by `BPF_PROG_TEST_RUN` to get the symbol of a kernel address from the kernel itself.
//!
//! Reading `/proc/kallsyms` instead takes about 100 ms, and again after each load of a module. `bpf_snprintf` exists since 5.13;
//! earlier kernels refuse this program.

use core::ptr::addr_of_mut;

use aya_ebpf::{
    bindings::BPF_F_MMAPABLE,
    helpers::generated::bpf_snprintf,
    macros::{map, raw_tracepoint},
    maps::Array,
    programs::RawTracePointContext,
};
use tracer_ebpf::wire::SYMBOL_BYTES;

/// The text of the last run. User space reads it through a mapping.
#[map]
static SYMBOL: Array<[u8; SYMBOL_BYTES]> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// `NAME+OFFSET/SIZE [MODULE]`, or the address alone (Documentation/core-api/printk-formats.rst).
static FORMAT: [u8; 4] = *b"%pS\0";

#[raw_tracepoint(tracepoint = "module_request")]
pub(crate) fn symbol(ctx: RawTracePointContext) -> i32 {
    let mut address = ctx.arg::<u64>(0);
    let Some(text) = SYMBOL.get_ptr_mut(0) else { return 0 };
    // SAFETY: the entry has this size, the format is constant, and it takes one value.
    let bytes =
        unsafe { bpf_snprintf(text.cast(), SYMBOL_BYTES as u32, FORMAT.as_ptr().cast(), addr_of_mut!(address), 8) };
    bytes as i32
}
