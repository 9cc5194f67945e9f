//! The records that programs send to user space, and the counters of their losses.

mod alive;
mod context;
mod losses;
mod records;
mod settings;

pub use alive::{ALIVE_COUNT, Alive};
pub use context::{
    Ancestor, Argv, Behalf, CgroupHierarchy, Context, Have, Owner, PathSegments, ProcessKey, RequestKey, Stack, WalkEnd,
};
pub use losses::{COUNTER_COUNT, Counter};
pub use records::{
    Admitted, Entered, Handover, Header, Helper, InitDone, Kind, Load, LoadExit, ModuleFile, Request, RequestResult,
    Syscall, Unload, Verdict,
};
pub use settings::{SETTING_COUNT, Setting};

/// Version of the wire layout. It is part of the pin path: records of old programs are never read by a new tool.
pub const ABI_VERSION: u32 = 10;

/// Bytes of a module name or alias in the kernel: `MODULE_NAME_LEN` is 64 - sizeof(long), include/linux/module.h.
pub const MODULE_NAME_BYTES: usize = 56;

/// Bytes of a task's `comm`: `TASK_COMM_LEN`, include/linux/sched.h.
pub const COMM_BYTES: usize = 16;

/// Bytes kept of a path, as segments. A single segment is at most 255 bytes (`NAME_MAX`) and its NUL.
pub const PATH_BYTES: usize = 512;

/// Bytes kept of a process's argument area.
pub const ARGV_BYTES: usize = 1024;

/// Bytes kept of a symbol with offset, size and module: names have at most 511 bytes (`KSYM_NAME_LEN`, include/linux/kallsyms.h, since
/// 6.1).
pub const SYMBOL_BYTES: usize = 1024;

/// Frames kept of a stack.
pub const STACK_FRAMES: usize = 32;

/// Ancestors kept of a process.
pub const ANCESTORS: usize = 8;

/// Generations that are searched for the helper of a request, and for a kernel thread.
pub const GENERATIONS: u32 = 64;

/// Bytes kept of an ancestor's executable name (last path component).
pub const ANCESTOR_EXE_BYTES: usize = 32;

/// Bytes kept of a request's format string, and of each text formatted by it.
pub const ENTERED_TEXT_BYTES: usize = 64;

/// Values kept of a request's format: the registers of the calling convention after `wait` and `fmt`.
pub const ENTERED_VALUES: usize = 4;

/// Implements the layout assertion and, for user space, checked reading from bytes.
macro_rules! wire_struct {
    ($(#[$meta:meta])* $vis:vis struct $name:ident: $size:literal { $($body:tt)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug)]
        #[cfg_attr(
            feature = "user",
            derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::KnownLayout, zerocopy::Immutable)
        )]
        #[repr(C)]
        $vis struct $name { $($body)* }

        const _: () = assert!(size_of::<$name>() == $size, "the wire layout changed: raise ABI_VERSION");
        const _: () = assert!(align_of::<$name>() <= 8, "the ring buffer aligns records to 8 bytes");
    };
}
pub(crate) use wire_struct;
