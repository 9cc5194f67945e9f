//! Never attached: the tracer runs it once by `BPF_PROG_TEST_RUN` to note its process id in the initial pid namespace, which is the
//! one of all records. A process in another pid namespace cannot read it anywhere.

use aya_ebpf::{macros::raw_tracepoint, programs::RawTracePointContext};

use crate::{own_process, task::tgid};

#[raw_tracepoint(tracepoint = "module_request")]
pub(crate) fn own(_: RawTracePointContext) -> i32 {
    own_process::set(tgid());
    0
}
