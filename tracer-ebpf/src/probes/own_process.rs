//! Never attached: the tracer runs it once by `BPF_PROG_TEST_RUN` to learn its process id in the initial pid namespace, which is
//! the one of all records. A process in another pid namespace cannot read it anywhere.

use aya_ebpf::{macros::raw_tracepoint, programs::RawTracePointContext};
use tracer_ebpf::wire::{Setting, own_process};

use crate::{maps::SETTINGS, task::tgid};

#[raw_tracepoint(tracepoint = "module_request")]
pub(crate) fn own(_: RawTracePointContext) -> i32 {
    let Some(setting) = SETTINGS.get_ptr_mut(Setting::OwnProcess as u32) else { return -1 };
    // SAFETY: the pointer is an entry of the array, aligned to 8 bytes and not null. No other program runs yet.
    unsafe { setting.write_volatile(own_process(tgid())) };
    0
}
