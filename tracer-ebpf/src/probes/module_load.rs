//! `TP_PROTO(struct module *mod)` of tracepoint `module_load` (include/trace/events/module.h).
//!
//! Fires in the task that called (f)init_module, when the module is in place and before its init: right before
//! `do_init_module()`, whose kprobe sends the same record and is preferred (see there).

use aya_ebpf::{macros::raw_tracepoint, programs::RawTracePointContext};

use super::module::record;
use crate::read::Address;

#[raw_tracepoint(tracepoint = "module_load")]
pub(crate) fn module_load(ctx: RawTracePointContext) -> i32 {
    record(ctx.arg::<u64>(0) as Address, true);
    0
}
