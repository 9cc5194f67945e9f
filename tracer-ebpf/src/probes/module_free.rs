//! `TP_PROTO(struct module *mod)` of tracepoint `module_free` (include/trace/events/module.h).
//!
//! Fires when a module is unloaded and, in the loading task, when its init failed: at the beginning of
//! `static void free_module(struct module *mod)`, whose kprobe sends the same record and is preferred (see `do_init_module.rs`).

use aya_ebpf::{
    macros::{kprobe, raw_tracepoint},
    programs::{ProbeContext, RawTracePointContext},
};

use super::module::record;
use crate::read::Address;

#[raw_tracepoint(tracepoint = "module_free")]
pub(crate) fn module_free(ctx: RawTracePointContext) -> i32 {
    record(ctx.arg::<u64>(0) as Address, false);
    0
}

#[kprobe]
pub(crate) fn free_kprobe(ctx: ProbeContext) -> u32 {
    record(ctx.arg::<u64>(0).unwrap_or(0) as Address, false);
    0
}
