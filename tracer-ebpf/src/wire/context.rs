//! The identity of a task, captured in the kernel at the time of the event.

use super::{ANCESTOR_EXE_BYTES, ANCESTORS, ARGV_BYTES, COMM_BYTES, PATH_BYTES, STACK_FRAMES, wire_struct};

wire_struct! {
    /// Identifies a request, unique per boot: a task has one request at a time, so its id and the time of the request are enough.
    /// All zero means none.
    #[derive(PartialEq, Eq)]
    pub struct RequestKey: 16 {
        /// Time of the request: nanoseconds since boot (`CLOCK_BOOTTIME`).
        pub boot_ns: u64,
        /// The requesting thread (`task_struct.pid`).
        pub tid: u32,
        /// Zero.
        pub reserved: u32,
    }
}

impl RequestKey {
    /// No request.
    pub const NONE: Self = Self { boot_ns: 0, tid: 0, reserved: 0 };
}

wire_struct! {
    /// Identifies a process: ids are reused, so the start time is part of it.
    pub struct ProcessKey: 16 {
        /// Start of the thread group leader: nanoseconds since boot (`task_struct.start_boottime`).
        pub start_ns: u64,
        /// `task_struct.tgid`.
        pub pid: u32,
        /// Zero.
        pub reserved: u32,
    }
}

wire_struct! {
    /// Which request a task works for.
    pub struct Owner: 32 {
        /// The request, or [`RequestKey::NONE`].
        pub request: RequestKey,
        /// Generations between the task and the process where the walk up its parents ended: the helper of that request,
        /// or the one that `end` names. 0 is the task itself.
        pub depth: u32,
        /// Where the walk ended without a request: a [`WalkEnd`].
        pub end: u32,
        /// Non-zero: the task descends from the process that traces, which has started it.
        pub of_tracer: u32,
        /// Zero.
        pub reserved: u32,
    }
}

impl Owner {
    /// No request, and a walk that may be complete.
    pub const NONE: Self =
        Self { request: RequestKey::NONE, depth: 0, end: WalkEnd::Top as u32, of_tracer: 0, reserved: 0 };
}

/// Where a walk up the parents of a task ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum WalkEnd {
    /// At init, or at the helper of the request.
    Top = 0,
    /// At a kernel thread: the kernel started the process.
    Kthread = 1,
    /// At the limit, [`super::GENERATIONS`] above the task: there are more parents.
    Cut = 2,
    /// At a parent that could not be read.
    Unreadable = 3,
}

impl WalkEnd {
    /// The end with a number; unknown numbers are unreadable ends.
    #[must_use]
    pub const fn of(number: u32) -> Self {
        match number {
            0 => Self::Top,
            1 => Self::Kthread,
            2 => Self::Cut,
            _ => Self::Unreadable,
        }
    }
}

wire_struct! {
    /// The task on whose behalf a kernel thread works: the one that created it, or that created its creator.
    pub struct Behalf: 104 {
        /// The creating process; all zero if unknown.
        pub creator: ProcessKey,
        /// The creating thread.
        pub tid: u32,
        /// Non-zero: the creator is a worker of a workqueue, whose own creator is not the origin of its work.
        pub is_worker: u32,
        /// When it created a kernel thread: nanoseconds since boot.
        pub boot_ns: u64,
        /// The `comm` of the creator's main thread: claimed by the process.
        pub comm: [u8; COMM_BYTES],
        /// The creating thread's `comm`.
        pub thread_comm: [u8; COMM_BYTES],
        /// Id of the creator's cgroup.
        pub cgroup_id: u64,
        /// The request the creator works for.
        pub owner: Owner,
    }
}

wire_struct! {
    /// A path, captured leaf first: segments separated by NUL, in `bytes[..len]`. User space reverses it.
    pub struct PathSegments: 520 {
        /// Bytes used.
        pub len: u32,
        /// Non-zero: the walk stopped before the root, the beginning of the path is missing.
        pub truncated: u32,
        /// The segments.
        pub bytes: [u8; PATH_BYTES],
    }
}

wire_struct! {
    /// The current argument area of a process: separated by NUL, and writable by the process itself.
    pub struct Argv: 1032 {
        /// Bytes read.
        pub len: u32,
        /// Bytes of the whole area; more than `len` if truncated.
        pub total: u32,
        /// The arguments.
        pub bytes: [u8; ARGV_BYTES],
    }
}

wire_struct! {
    /// Return addresses, innermost first.
    pub struct Stack: 264 {
        /// Frames used.
        pub count: u32,
        /// Zero.
        pub reserved: u32,
        /// The addresses.
        pub frames: [u64; STACK_FRAMES],
    }
}

wire_struct! {
    /// One ancestor of a process.
    pub struct Ancestor: 72 {
        /// The process.
        pub process: ProcessKey,
        /// Real user id.
        pub uid: u32,
        /// Non-zero: a kernel thread (`PF_KTHREAD`).
        pub kthread: u32,
        /// Its main thread's `comm`: claimed by the process.
        pub comm: [u8; COMM_BYTES],
        /// Last component of its executable, NUL-terminated; empty if it has none.
        pub exe: [u8; ANCESTOR_EXE_BYTES],
    }
}

/// Which parts of a [`Context`] were captured; a clear bit means unknown.
pub struct Have;

impl Have {
    /// `loginuid` and `session` (kernels with `CONFIG_AUDIT`).
    pub const AUDIT: u32 = 1;
    /// `caps_effective`.
    pub const CAPS: u32 = 1 << 1;
    /// `syscall`.
    pub const SYSCALL: u32 = 1 << 2;
    /// `exe`.
    pub const EXE: u32 = 1 << 3;
    /// `argv`.
    pub const ARGV: u32 = 1 << 4;
    /// `cgroup_id` and `cgroup`.
    pub const CGROUP: u32 = 1 << 5;
    /// The task is a kernel thread: it has no exe, argv or syscall.
    pub const KTHREAD: u32 = 1 << 6;
    /// `ancestors` ends at the top of the tree, not at its limit.
    pub const ANCESTRY_WHOLE: u32 = 1 << 7;
    /// The task is a worker thread of io_uring: it is in no system call.
    pub const IO_WORKER: u32 = 1 << 8;
    /// `syscall` is a number of the 32-bit ABI of a 64-bit kernel (i386, 32-bit Arm).
    pub const COMPAT: u32 = 1 << 9;
    /// The file at `exe` was deleted or replaced since the process started, or never had a name (memfd).
    pub const EXE_DELETED: u32 = 1 << 10;
}

/// The hierarchy that the cgroup of a [`Context`] belongs to: four bits of its `have`, since 0 is the most common one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum CgroupHierarchy {
    /// Cgroup v2.
    V2 = 0,
    /// The hierarchy of the v1 controller `pids`.
    Pids = 1,
    /// The hierarchy of the v1 controller `memory`.
    Memory = 2,
    /// None that is known to place processes: the cgroup means nothing.
    Unknown = 15,
}

impl CgroupHierarchy {
    const SHIFT: u32 = 28;

    /// Its bits of [`Context::have`].
    #[must_use]
    pub const fn bits(self) -> u32 {
        (self as u32) << Self::SHIFT
    }

    /// The hierarchy given by [`Context::have`].
    #[must_use]
    pub const fn of(have: u32) -> Self {
        match have >> Self::SHIFT {
            0 => Self::V2,
            1 => Self::Pids,
            2 => Self::Memory,
            _ => Self::Unknown,
        }
    }

    /// The v1 controller that the kernel mounts at this hierarchy.
    #[must_use]
    pub const fn controller(self) -> Option<&'static str> {
        match self {
            Self::Pids => Some("pids"),
            Self::Memory => Some("memory"),
            Self::V2 | Self::Unknown => None,
        }
    }
}

wire_struct! {
    /// Everything known about the acting task, read in the kernel at the time of the event.
    pub struct Context: 2768 {
        /// The process.
        pub process: ProcessKey,
        /// The acting thread.
        pub tid: u32,
        /// Bits of [`Have`].
        pub have: u32,
        /// Real user id, in the initial user namespace.
        pub uid: u32,
        /// Real group id.
        pub gid: u32,
        /// Effective user id.
        pub euid: u32,
        /// Audit login uid, which identifies the user and is kept across `su` and `sudo`; `u32::MAX` is unset.
        pub loginuid: u32,
        /// Audit session; `u32::MAX` is unset.
        pub session: u32,
        /// Number of the system call it is in, or -1.
        pub syscall: i32,
        /// Effective capabilities, one bit each.
        pub caps_effective: u64,
        /// Id of its cgroup, in the hierarchy of `cgroup`.
        pub cgroup_id: u64,
        /// Inode numbers of its pid, mount, network and user namespaces; 0 is unknown.
        pub ns_pid: u32,
        /// See `ns_pid`.
        pub ns_mnt: u32,
        /// See `ns_pid`.
        pub ns_net: u32,
        /// See `ns_pid`.
        pub ns_user: u32,
        /// Entries used in `ancestors`.
        pub ancestor_count: u32,
        /// Non-zero: its parent is not the process that created it, or has executed another program since.
        pub parent_changed: u32,
        /// The main thread's `comm`, which is the name of the process: claimed by it.
        pub comm: [u8; COMM_BYTES],
        /// The acting thread's `comm`.
        pub thread_comm: [u8; COMM_BYTES],
        /// Executable.
        pub exe: PathSegments,
        /// Cgroup path, in the hierarchy given by `have` ([`CgroupHierarchy`]).
        pub cgroup: PathSegments,
        /// Arguments: claimed by the process.
        pub argv: Argv,
        /// Parents, nearest first (`real_parent`).
        pub ancestors: [Ancestor; ANCESTORS],
    }
}
