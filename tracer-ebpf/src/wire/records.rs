//! The records, one for each hook.

use core::mem::offset_of;

use super::{
    Behalf, COMM_BYTES, Context, ENTERED_TEXT_BYTES, ENTERED_VALUES, MODULE_NAME_BYTES, Owner, PathSegments,
    ProcessKey, RequestKey, Stack, wire_struct,
};

/// The kind of a record. Numbers are never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Kind {
    /// [`Entered`].
    Entered = 1,
    /// [`Request`].
    Request = 2,
    /// [`Verdict`].
    Verdict = 3,
    /// [`Admitted`].
    Admitted = 4,
    /// [`Handover`].
    Handover = 5,
    /// [`Helper`].
    Helper = 6,
    /// [`RequestResult`].
    Result = 7,
    /// [`Load`].
    Load = 16,
    /// [`InitDone`].
    InitDone = 17,
    /// [`Unload`].
    Unload = 18,
    /// [`ModuleFile`].
    ModuleFile = 19,
    /// [`LoadExit`].
    LoadExit = 20,
}

wire_struct! {
    /// First part of every record.
    pub struct Header: 40 {
        /// A [`Kind`].
        pub kind: u32,
        /// CPU it was written on.
        pub cpu: u32,
        /// Time of the record: nanoseconds since boot (`CLOCK_BOOTTIME`).
        pub boot_ns: u64,
        /// The acting process.
        pub process: ProcessKey,
        /// The acting thread.
        pub tid: u32,
        /// Zero.
        pub reserved: u32,
    }
}

wire_struct! {
    /// `__request_module` was entered. Followed by a [`Request`] of the same thread, unless the kernel
    /// stopped before its security hook because the name does not fit.
    pub struct Entered: 440 {
        /// Header.
        pub header: Header,
        /// Return address: the caller of `request_module()`.
        pub call_site: u64,
        /// 1: `kernel.modprobe` is empty, the kernel stops here; 0: it is set; 2: unknown.
        pub no_modprobe: u32,
        /// Real user id.
        pub uid: u32,
        /// The main thread's `comm`, which is the name of the process: claimed by it.
        pub comm: [u8; COMM_BYTES],
        /// The thread's `comm`.
        pub thread_comm: [u8; COMM_BYTES],
        /// The format string of the name ("net-pf-%d"), NUL-terminated, truncated if longer.
        pub format: [u8; ENTERED_TEXT_BYTES],
        /// The first values to be formatted.
        pub values: [u64; ENTERED_VALUES],
        /// The text that each value points to; empty if it does not point to text.
        pub texts: [[u8; ENTERED_TEXT_BYTES]; ENTERED_VALUES],
    }
}

wire_struct! {
    /// A module was requested (`security_kernel_module_request`; if that hook did not run, tracepoint `module_request`).
    pub struct Request: 3608 {
        /// Header.
        pub header: Header,
        /// The request.
        pub request: RequestKey,
        /// The LSMs' verdict: 0 or a negative errno; [`Request::VERDICT_LATER`] if a [`Verdict`] follows;
        /// [`Request::LATE`] if it was not seen.
        pub verdict: i32,
        /// Non-zero: `kernel.modprobe` was empty; the kernel stopped before it formatted the name,
        /// which is in the [`Entered`] before this record.
        pub no_modprobe: u32,
        /// The requested alias, NUL-terminated.
        pub name: [u8; MODULE_NAME_BYTES],
        /// The module in whose init the task is, or empty.
        pub in_init: [u8; MODULE_NAME_BYTES],
        /// The request that the requesting task works for.
        pub owner: Owner,
        /// The creator of the requesting kernel thread.
        pub behalf: Behalf,
        /// Kernel stack.
        pub kernel_stack: Stack,
        /// User stack, by frame pointers.
        pub user_stack: Stack,
        /// The requesting task.
        pub context: Context,
    }
}

impl Request {
    /// The hook runs before the decision: a [`Verdict`] follows if the request is refused.
    pub const VERDICT_LATER: i32 = i32::MIN;

    /// Recorded at the tracepoint, because no hook before it ran: the LSMs and the limit on concurrent requests let it pass.
    pub const LATE: i32 = i32::MIN + 1;
}

wire_struct! {
    /// The LSMs refused a request (only where the request hook cannot see the return value).
    pub struct Verdict: 64 {
        /// Header.
        pub header: Header,
        /// The request.
        pub request: RequestKey,
        /// A negative errno.
        pub verdict: i32,
        /// Zero.
        pub reserved: u32,
    }
}

wire_struct! {
    /// A request passed the LSMs and the limit on concurrent requests (tracepoint `module_request`).
    pub struct Admitted: 72 {
        /// Header.
        pub header: Header,
        /// The request.
        pub request: RequestKey,
        /// Return address: the caller of `request_module()`.
        pub call_site: u64,
        /// Non-zero: the caller waits for the helper to end (`request_module`, not `_nowait`).
        pub wait: u32,
        /// Zero.
        pub reserved: u32,
    }
}

wire_struct! {
    /// A request was handed to the usermode helper code (`call_usermodehelper_exec` entry).
    pub struct Handover: 72 {
        /// Header.
        pub header: Header,
        /// The request.
        pub request: RequestKey,
        /// The `subprocess_info` pointer, the join key to the helper.
        pub sub_info: u64,
        /// `wait` argument: `UMH_*` bits, include/linux/umh.h.
        pub wait: u32,
        /// Zero.
        pub reserved: u32,
    }
}

wire_struct! {
    /// The helper started (`call_usermodehelper_exec_async`): the acting task is about to become modprobe.
    pub struct Helper: 512 {
        /// Header; its process is the helper.
        pub header: Header,
        /// The request.
        pub request: RequestKey,
        /// `subprocess_info.path`, NUL-terminated.
        pub path: [u8; 200],
        /// `argv[0..4]`, each NUL-terminated, truncated to 64 bytes.
        pub argv: [[u8; 64]; 4],
    }
}

wire_struct! {
    /// The helper code returned to the requester (`call_usermodehelper_exec` exit).
    pub struct RequestResult: 72 {
        /// Header.
        pub header: Header,
        /// The request.
        pub request: RequestKey,
        /// Raw return: 0, a negative errno, or the helper's wait status.
        pub ret: i32,
        /// `wait` argument, as in [`Handover`].
        pub wait: u32,
        /// Time of the handover: nanoseconds since boot.
        pub handover_ns: u64,
    }
}

wire_struct! {
    /// A module is in place and its init is about to run (tracepoint `module_load`).
    pub struct Load: 2912 {
        /// Header.
        pub header: Header,
        /// The request the loader works for.
        pub owner: Owner,
        /// Address of the `struct module`.
        pub module_ptr: u64,
        /// `module.taints`.
        pub taints: u64,
        /// Name, NUL-terminated.
        pub module: [u8; MODULE_NAME_BYTES],
        /// The loader.
        pub context: Context,
    }
}

wire_struct! {
    /// A module's init ended (`do_init_module` exit).
    pub struct InitDone: 152 {
        /// Header.
        pub header: Header,
        /// The request the loader works for.
        pub owner: Owner,
        /// Address of the `struct module`.
        pub module_ptr: u64,
        /// How long it ran.
        pub duration_ns: u64,
        /// Return value: 0 or a negative errno.
        pub ret: i32,
        /// Zero.
        pub reserved: u32,
        /// Name, NUL-terminated.
        pub module: [u8; MODULE_NAME_BYTES],
    }
}

wire_struct! {
    /// A module is being freed (tracepoint `module_free`): unloaded, or its init failed.
    pub struct Unload: 2912 {
        /// Header.
        pub header: Header,
        /// The request the acting task works for.
        pub owner: Owner,
        /// Address of the `struct module`.
        pub module_ptr: u64,
        /// 1: within the module's own init, which failed.
        pub in_init: u64,
        /// Name, NUL-terminated.
        pub module: [u8; MODULE_NAME_BYTES],
        /// The acting task.
        pub context: Context,
    }
}

// One function writes both.
const _: () = assert!(
    size_of::<Load>() == size_of::<Unload>()
        && offset_of!(Load, taints) == offset_of!(Unload, in_init)
        && offset_of!(Load, module) == offset_of!(Unload, module)
        && offset_of!(Load, context) == offset_of!(Unload, context),
    "Load and Unload have the same layout"
);

wire_struct! {
    /// A module file is about to be read (`security_kernel_read_file`).
    pub struct ModuleFile: 592 {
        /// Header.
        pub header: Header,
        /// The request the loader works for.
        pub owner: Owner,
        /// The file.
        pub path: PathSegments,
    }
}

/// The system call of a [`LoadExit`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Syscall {
    /// `init_module(2)`.
    InitModule = 0,
    /// `finit_module(2)`.
    FinitModule = 1,
    /// `delete_module(2)`.
    DeleteModule = 2,
}

impl Syscall {
    /// The kernel's number: arch/x86/entry/syscalls/syscall_64.tbl, include/uapi/asm-generic/unistd.h (arm64).
    #[must_use]
    pub const fn number(self) -> u32 {
        let is_arm64 = cfg!(any(target_arch = "aarch64", bpf_target_arch = "aarch64"));
        match (self, is_arm64) {
            (Self::InitModule, false) => 175,
            (Self::FinitModule, false) => 313,
            (Self::DeleteModule, false) => 176,
            (Self::InitModule, true) => 105,
            (Self::FinitModule, true) => 273,
            (Self::DeleteModule, true) => 106,
        }
    }

    /// The system call of a number. Unknown numbers are taken for `finit_module(2)`, by far the most common. x32 calls of x86-64
    /// have the same numbers with one more bit; 32-bit tasks on arm64 use other numbers (arch/arm/tools/syscall.tbl).
    #[must_use]
    pub const fn of(number: u32) -> Self {
        let is_arm64 = cfg!(target_arch = "aarch64");
        match number & 0x00ff_ffff {
            number if number == Self::InitModule.number() => Self::InitModule,
            number if number == Self::DeleteModule.number() => Self::DeleteModule,
            128 if is_arm64 => Self::InitModule,
            129 if is_arm64 => Self::DeleteModule,
            _ => Self::FinitModule,
        }
    }
}

wire_struct! {
    /// A system call that loads or unloads a module returned.
    pub struct LoadExit: 2912 {
        /// Header.
        pub header: Header,
        /// The request the loader works for.
        pub owner: Owner,
        /// Return value: 0 or a negative errno.
        pub ret: i64,
        /// The kernel's number of the call ([`Syscall::number`]); decoded, the [`Syscall`].
        pub syscall: u32,
        /// Non-zero: `context` is filled (the call failed, nothing else names the actor).
        pub have_context: u32,
        /// `delete_module`: the requested name, NUL-terminated; undefined for other calls.
        pub module: [u8; MODULE_NAME_BYTES],
        /// The acting task.
        pub context: Context,
    }
}
