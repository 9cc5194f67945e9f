//! Read-only globals: set by user space before load, then constants to the verifier.

use aya_ebpf::Global;
use tracer_ebpf::{for_each_member, offsets::ABSENT};

macro_rules! declare {
    ($($symbol:ident: $size:literal, $([$($part:literal),+])+;)*) => {
        $(
            #[unsafe(no_mangle)]
            pub(crate) static $symbol: Global<u32> = Global::new(ABSENT);
        )*
    };
}
for_each_member!(declare);

/// `READING_MODULE` of `enum kernel_read_file_id`.
#[unsafe(no_mangle)]
pub(crate) static READING_MODULE: Global<u32> = Global::new(ABSENT);

/// `READING_MODULE_COMPRESSED` (since 6.19).
#[unsafe(no_mangle)]
pub(crate) static READING_MODULE_COMPRESSED: Global<u32> = Global::new(ABSENT);

/// Non-zero: `bpf_get_current_task_btf` and `bpf_task_pt_regs` exist (since 5.15).
#[unsafe(no_mangle)]
pub(crate) static HAVE_TASK_PT_REGS: Global<u32> = Global::new(0);

/// Offset of a task's `struct pt_regs` from its `stack`, for kernels without `bpf_task_pt_regs`
/// (x86-64: `THREAD_SIZE - sizeof(struct pt_regs)`); `ABSENT` if unknown.
#[unsafe(no_mangle)]
pub(crate) static REGS_ABOVE_STACK: Global<u32> = Global::new(ABSENT);

/// The hierarchy that `Context::cgroup` belongs to, as bits of `Context::have` (`CgroupHierarchy::bits`).
#[unsafe(no_mangle)]
pub(crate) static CGROUP_HIERARCHY: Global<u32> = Global::new(0);

/// Cgroup v1: offset in `struct css_set` of the pointer to its state in the controller of that hierarchy; `ABSENT` for v2.
#[unsafe(no_mangle)]
pub(crate) static CGROUP_STATE: Global<u32> = Global::new(ABSENT);
