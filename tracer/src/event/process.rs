//! A process, as captured in the kernel at the moment of an event.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::members::members;
use super::text::{optional_text_field, text_field, text_list_field};
use super::{Attribution, RequestId, Text};

text_field! {
    /// Name of the main thread, as claimed by the process.
    comm_field, comm, comm_hex
}
optional_text_field! {
    /// Name of the thread, if it differs from `comm`; as claimed by the process.
    thread_comm_field, thread_comm, thread_comm_hex
}
optional_text_field! {
    /// The executable: the path for a process, the last component for an ancestor.
    exe_field, exe, exe_hex
}
optional_text_field! {
    /// Cgroup path, in the hierarchy of `cgroup_controller`.
    cgroup_field, cgroup, cgroup_hex
}
optional_text_field! {
    /// Name of `uid` on the traced machine; none for a user of a container, unless it is root.
    user_field, user, user_hex
}
optional_text_field! {
    /// For an interpreter: the script named on its command line, as claimed by the process a moment later.
    script_field, script, script_hex
}
optional_text_field! {
    /// Name of `loginuid` on the traced machine.
    login_user_field, login_user, login_user_hex
}
text_list_field! {
    /// Arguments, as claimed by the process.
    argv_field, argv, argv_hex
}

/// The identity of a process. The kernel reuses process ids, so the start time is part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
pub struct ProcessId {
    /// Process id in the initial pid namespace.
    pub pid: u32,
    /// Start time: nanoseconds since boot.
    pub start_ns: u64,
}

/// Inode numbers of a process's namespaces, as in `/proc/<pid>/ns`; 0 is unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Namespaces {
    /// Pid namespace.
    pub pid: u32,
    /// Mount namespace.
    pub mnt: u32,
    /// Network namespace.
    pub net: u32,
    /// User namespace.
    pub user: u32,
}

/// A process, captured in the kernel. An absent field is unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Process {
    /// Process id in the initial pid namespace.
    pub pid: u32,
    /// The thread.
    pub tid: u32,
    /// Start time of the process: nanoseconds since boot.
    pub start_ns: u64,
    /// Name of the process, which is that of its main thread, as claimed by the process.
    #[serde(flatten, with = "comm_field")]
    #[schemars(with = "comm_field::Fields<'_>")]
    pub comm: Text,
    /// Name of the thread, if it differs from `comm`; as claimed by the process.
    #[serde(flatten, with = "thread_comm_field")]
    #[schemars(with = "thread_comm_field::Fields<'_>")]
    pub thread_comm: Option<Text>,
    /// Path of the executable in the mount namespace of the process.
    #[serde(flatten, with = "exe_field")]
    #[schemars(with = "exe_field::Fields<'_>")]
    pub exe: Option<Text>,
    /// The beginning of `exe` is missing because the path was too long.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub exe_truncated: bool,
    /// The file at `exe` was deleted or replaced since the process started it, or never had a name (memfd), as `(deleted)` in
    /// `/proc/<pid>/exe`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub exe_deleted: bool,
    /// Arguments, as claimed by the process. Empty for kernel threads, and if they could not be read.
    #[serde(flatten, with = "argv_field")]
    #[schemars(with = "argv_field::Fields<'_>")]
    pub argv: Vec<Text>,
    /// The end of `argv` is missing because it was longer than 1 KiB.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub argv_truncated: bool,
    /// A kernel thread.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub kthread: bool,
    /// A worker thread of io_uring, which acts for the process outside of its system calls.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub io_worker: bool,
    /// Real user id, in the initial user namespace.
    pub uid: u32,
    /// Effective user id.
    pub euid: u32,
    /// Name of `uid` on the traced machine; none for a user of a container, unless it is root.
    #[serde(flatten, with = "user_field")]
    #[schemars(with = "user_field::Fields<'_>")]
    pub user: Option<Text>,
    /// Real group id.
    pub gid: u32,
    /// Audit login uid: the user who logged in; absent if unset or unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loginuid: Option<u32>,
    /// The login uid is unset: no user logged in. If this is absent, an absent `loginuid` is unknown.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_login: bool,
    /// Name of `loginuid` on the traced machine.
    #[serde(flatten, with = "login_user_field")]
    #[schemars(with = "login_user_field::Fields<'_>")]
    pub login_user: Option<Text>,
    /// Audit session id; absent if unset or unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<u32>,
    /// Effective capabilities, in hexadecimal as in `/proc/<pid>/status`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caps: Option<String>,
    /// Cgroup path, in the hierarchy of `cgroup_controller`.
    #[serde(flatten, with = "cgroup_field")]
    #[schemars(with = "cgroup_field::Fields<'_>")]
    pub cgroup: Option<Text>,
    /// Cgroup id: the inode number of the directory at `cgroup`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup_id: Option<u64>,
    /// The hierarchy of `cgroup`: that of this cgroup v1 controller. If absent, it is cgroup v2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup_controller: Option<String>,
    /// Systemd unit, from `cgroup`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// Container, from `cgroup`: `<runtime>:<id>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// Uid of the Kubernetes pod, from `cgroup`; for a static pod the hash that takes its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// Namespaces.
    #[serde(default)]
    pub ns: Namespaces,
    /// The process that started it has exited, and init or another process has adopted it; or it has executed another program.
    /// The first of its ancestors is not the one that ran it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub parent_changed: bool,
    /// It descends from the command that `run` traces, or is that command, by the kernel's record of parents. Not known of processes
    /// that the kernel started, or that have more than 64 generations above them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub in_command: bool,
    /// If the list of its ancestors is truncated: the number of generations up to init or to the nearest kernel thread.
    /// With `descent` `unknown`, there are more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generations: Option<u32>,
    /// If the list of its ancestors is truncated: what they descend from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub descent: Option<Descent>,
}

/// What a process descends from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Descent {
    /// Init: user space started it.
    Init,
    /// A kernel thread: the kernel started it.
    Kernel,
    /// The ancestry was not followed to its top.
    Unknown,
}

impl Process {
    /// The identity.
    #[must_use]
    pub const fn id(&self) -> ProcessId {
        ProcessId { pid: self.pid, start_ns: self.start_ns }
    }
}

/// An ancestor of a process, nearest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Ancestor {
    /// Process id.
    pub pid: u32,
    /// Start time: nanoseconds since boot.
    pub start_ns: u64,
    /// Name of the main thread, as claimed by the process.
    #[serde(flatten, with = "comm_field")]
    #[schemars(with = "comm_field::Fields<'_>")]
    pub comm: Text,
    /// Last component of the path of the executable.
    #[serde(flatten, with = "exe_field")]
    #[schemars(with = "exe_field::Fields<'_>")]
    pub exe: Option<Text>,
    /// For an interpreter: the script named on its command line, as claimed by the process a moment later.
    #[serde(flatten, with = "script_field")]
    #[schemars(with = "script_field::Fields<'_>")]
    pub script: Option<Text>,
    /// For a bash script: the line up to which bash had read it, which is the end of the current or next command.
    /// Only if the tracer may read the memory and files of processes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script_line: Option<u32>,
    /// Real user id.
    pub uid: u32,
    /// A kernel thread.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub kthread: bool,
}

impl Ancestor {
    /// The identity.
    #[must_use]
    pub const fn id(&self) -> ProcessId {
        ProcessId { pid: self.pid, start_ns: self.start_ns }
    }
}

/// The process that created a kernel thread, directly or through other kernel threads. Shortly after that, the thread works on
/// its behalf.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Behalf {
    /// Process id of the creating task.
    pub pid: u32,
    /// The thread of that task.
    pub tid: u32,
    /// Start time of that task: nanoseconds since boot.
    pub start_ns: u64,
    /// Name of the process of that task, as claimed by it.
    #[serde(flatten, with = "comm_field")]
    #[schemars(with = "comm_field::Fields<'_>")]
    pub comm: Text,
    /// Name of that task, if it differs from `comm`; as claimed by the process.
    #[serde(flatten, with = "thread_comm_field")]
    #[schemars(with = "thread_comm_field::Fields<'_>")]
    pub thread_comm: Option<Text>,
    /// Cgroup id of that task, as the `cgroup_id` of processes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup_id: Option<u64>,
    /// It descends from the command that `run` traces, or is that command.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub in_command: bool,
    /// Time between the creation and the request of the kernel thread, nanoseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_ns: Option<u64>,
    /// The request on whose behalf that task works.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestId>,
    /// How certain it is.
    #[serde(flatten)]
    pub attribution: Attribution,
}

/// A kernel thread that is older works for anyone.
const RECENT_NS: u64 = 5_000_000_000;

impl Behalf {
    /// Whether the thread was created so recently that it works on behalf of its creator. It does if its age is unknown.
    #[must_use]
    pub fn is_recent(&self) -> bool {
        self.age_ns.is_none_or(|age_ns| age_ns <= RECENT_NS)
    }
}

/// A return address with its symbol.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Frame {
    /// The address, in hexadecimal.
    pub address: String,
    /// Symbol; absent if unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub symbol: Option<String>,
    /// Offset from the start of the symbol, bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// The module that contains the address; absent for the kernel itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub module: Option<String>,
}

impl std::fmt::Display for Frame {
    /// `symbol+0x1f [module]`, or the address alone.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.symbol {
            Some(symbol) => write!(f, "{symbol}+{:#x}", self.offset.unwrap_or(0))?,
            None => f.write_str(&self.address)?,
        }
        match &self.module {
            Some(module) => write!(f, " [{module}]"),
            None => Ok(()),
        }
    }
}

members! {
    ProcessId { pid: Required, start_ns: Required }
    Namespaces { pid: Required, mnt: Required, net: Required, user: Required }
    Process {
        pid: Required,
        tid: Required,
        start_ns: Required,
        comm / comm_hex: RequiredText,
        thread_comm / thread_comm_hex: OptionalText,
        exe / exe_hex: OptionalText,
        exe_truncated: Optional,
        exe_deleted: Optional,
        argv / argv_hex: TextList,
        argv_truncated: Optional,
        kthread: Optional,
        io_worker: Optional,
        uid: Required,
        euid: Required,
        user / user_hex: OptionalText,
        gid: Required,
        loginuid: Optional,
        no_login: Optional,
        login_user / login_user_hex: OptionalText,
        session: Optional,
        caps: Optional,
        cgroup / cgroup_hex: OptionalText,
        cgroup_id: Optional,
        cgroup_controller: Optional,
        unit: Optional,
        container: Optional,
        pod: Optional,
        ns: Optional,
        parent_changed: Optional,
        in_command: Optional,
        generations: Optional,
        descent: Optional,
    }
    Ancestor {
        pid: Required,
        start_ns: Required,
        comm / comm_hex: RequiredText,
        exe / exe_hex: OptionalText,
        script / script_hex: OptionalText,
        script_line: Optional,
        uid: Required,
        kthread: Optional,
    }
    Behalf {
        pid: Required,
        tid: Required,
        start_ns: Required,
        comm / comm_hex: RequiredText,
        thread_comm / thread_comm_hex: OptionalText,
        cgroup_id: Optional,
        in_command: Optional,
        age_ns: Optional,
        request: Optional,
        attribution / rule: InlineAttribution,
    }
    Frame { address: Required, symbol: Optional, offset: Optional, module: Optional }
}
