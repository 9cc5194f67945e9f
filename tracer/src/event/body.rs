//! What happened: one struct a `type`.

use serde::{Deserialize, Serialize};

use super::text::{optional_text_field, text_field, text_list_field};
use super::{Ancestor, Attribution, Behalf, Device, Frame, Process, ProcessId, RequestId, Text};

text_field!(name_field, name, name_hex);
text_field!(module_field, module, module_hex);
text_field!(path_field, path, path_hex);
optional_text_field!(file_field, file, file_hex);
optional_text_field!(attempt_module_field, module, module_hex);
optional_text_field!(in_init_field, in_init, in_init_hex);
text_list_field!(argv_field, argv, argv_hex);

/// The body of an event; `type` names it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Body {
    /// First event of a stream.
    Header(Box<Header>),
    /// Modules that were loaded before tracing began.
    Baseline(Baseline),
    /// The kernel was made to ask for a module.
    Request(Box<Request>),
    /// The kernel started modprobe for a request.
    Helper(Helper),
    /// A module arrived; its init is about to run.
    Load(Box<Load>),
    /// A module's init ended.
    Init(Init),
    /// A module left.
    Unload(Box<Unload>),
    /// A system call that loads or unloads a module failed.
    Attempt(Box<Attempt>),
    /// A request ended, or a process that loads modules by itself: the last event that belongs to it.
    Result(Outcome),
    /// Something was lost.
    Loss(Loss),
    /// The clocks, read again.
    Clock(Clock),
    /// Last line of a frame of a capture: vouches for all before it.
    Seal(Seal),
    /// Last event of a stream.
    End(End),
}

/// Where the stream comes from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// [`super::SCHEMA_VERSION`] of the writer.
    pub schema: u32,
    /// Tool and version.
    pub tool: String,
    /// Kernel release (`uname -r`).
    pub kernel: String,
    /// Kernel version (`uname -v`).
    pub kernel_version: String,
    /// Architecture (`uname -m`).
    pub arch: String,
    /// Host name.
    pub hostname: String,
    /// `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
    /// `/etc/machine-id`, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine_id: Option<String>,
    /// `/proc/sys/kernel/modprobe`; empty means that the kernel loads nothing by itself.
    pub modprobe: String,
    /// Wall clock minus boot clock when the stream began, nanoseconds.
    pub realtime_minus_boot_ns: i64,
    /// How far apart the two readings of that difference were, nanoseconds.
    pub clock_uncertainty_ns: u64,
    /// Boot clock minus monotonic clock when the stream began, nanoseconds: the time spent suspended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_minus_monotonic_ns: Option<u64>,
    /// SHA-256 of the kernel's `modules.dep`, in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modules_dep_sha256: Option<String>,
    /// SHA-256 of the kernel's `modules.alias`, in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modules_alias_sha256: Option<String>,
    /// In a capture: the recording this file is of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recording: Option<String>,
    /// In a capture: the number of this file in the recording, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segment: Option<u32>,
    /// In a capture: the last seal's hash of the file before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
    /// Hooks, how each is attached, and what is missing without it.
    pub hooks: Vec<HeaderHook>,
    /// Filters by which chains were left out, as `field=pattern`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<String>,
}

/// A hook of the header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeaderHook {
    /// What it observes, e.g. `request`.
    pub hook: String,
    /// How it is attached: `fexit`, `fentry`, `kprobe`, `kretprobe`, `raw_tracepoint`; absent when it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attached: Option<String>,
    /// The kernel function or tracepoint.
    pub target: String,
    /// Why it is not attached, and what is not seen without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
}

/// Modules loaded before tracing began: nothing is known of who loaded them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Baseline {
    /// Names, sorted.
    pub modules: Vec<String>,
}

/// The kernel was made to ask for a module.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// The alias or name, as asked.
    #[serde(flatten, with = "name_field")]
    pub name: Text,
    /// The caller waits for modprobe to end; absent when the request did not get that far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<bool>,
    /// Who asked.
    pub process: Process,
    /// Parents of who asked, nearest first.
    pub ancestors: Vec<Ancestor>,
    /// The list of ancestors ends at its limit, not at the top of the tree.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ancestors_truncated: bool,
    /// System call it was in: name, or `syscall_<number>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub syscall: Option<String>,
    /// Kernel stack, innermost first: the caller of `request_module()` is the first.
    #[serde(default)]
    pub stack: Vec<Frame>,
    /// User stack, innermost first, by frame pointers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub user_stack: Vec<Frame>,
    /// The request the asking task itself works for: it is nested in that one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_request: Option<RequestId>,
    /// How `parent_request` is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_attribution: Option<Attribution>,
    /// The module in whose init the task asked.
    #[serde(flatten, with = "in_init_field")]
    pub in_init: Option<Text>,
    /// For a kernel thread: who created it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behalf: Option<Behalf>,
    /// What user action asks for this alias, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explanation: Option<String>,
    /// How the asking process is tied to the request.
    #[serde(flatten)]
    pub attribution: Attribution,
}

/// The kernel started modprobe for a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Helper {
    /// Its process id.
    pub pid: u32,
    /// Its start: nanoseconds since boot.
    pub start_ns: u64,
    /// The program.
    #[serde(flatten, with = "path_field")]
    pub path: Text,
    /// Its arguments.
    #[serde(flatten, with = "argv_field")]
    pub argv: Vec<Text>,
    /// How it is tied to the request.
    #[serde(flatten)]
    pub attribution: Attribution,
}

/// What made a module load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// The kernel asked for it (`request_module`).
    Request,
    /// A process loaded it by itself: modprobe, insmod, or another program.
    Explicit,
    /// udev loaded it for a device.
    Udev,
    /// A kernel-started helper whose request was not seen.
    Unknown,
}

impl Origin {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Request, Self::Explicit, Self::Udev, Self::Unknown];

    /// The public name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Explicit => "explicit",
            Self::Udev => "udev",
            Self::Unknown => "unknown",
        }
    }
}

/// Why a module is part of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// It is what was asked for, by name.
    Asked,
    /// It provides the alias that was asked for.
    Alias,
    /// Another module of the chain needs its symbols (modules.dep).
    Dependency,
    /// Another module of the chain wants it (modules.softdep).
    Softdep,
}

/// A module arrived.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// Its name.
    #[serde(flatten, with = "module_field")]
    pub module: Text,
    /// What made it load.
    pub origin: Origin,
    /// The task that loaded it: for a request, modprobe or what it started.
    pub process: Process,
    /// Parents of the loader, nearest first.
    pub ancestors: Vec<Ancestor>,
    /// The list of ancestors ends at its limit, not at the top of the tree.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ancestors_truncated: bool,
    /// Generations between the loader and the request's helper; 0 is the helper itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub helper_depth: Option<u32>,
    /// The module file.
    #[serde(flatten, with = "file_field")]
    pub file: Option<Text>,
    /// Taint flags of the module, as in `/sys/module/<name>/taint`; empty when none.
    #[serde(default)]
    pub taints: String,
    /// Why it is part of the chain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// For origin `udev`: the device it was loaded for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<Device>,
    /// How it is tied to its request or loader.
    #[serde(flatten)]
    pub attribution: Attribution,
}

/// A module's init ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Init {
    /// The module.
    #[serde(flatten, with = "module_field")]
    pub module: Text,
    /// Process id of the loader.
    pub pid: u32,
    /// Start of the loader: nanoseconds since boot.
    pub start_ns: u64,
    /// What init returned: 0 or a negative errno.
    pub ret: i32,
    /// How long it ran.
    pub duration_ns: u64,
    /// For a module that does more than to be there: what that means on this machine now, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<String>,
}

/// A module left.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Unload {
    /// The module.
    #[serde(flatten, with = "module_field")]
    pub module: Text,
    /// Who unloaded it, or in whose hands its init failed.
    pub process: Process,
    /// Its parents, nearest first.
    pub ancestors: Vec<Ancestor>,
    /// It never came to life: its init failed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub init_failed: bool,
}

/// A system call that loads or unloads a module failed. (Those that succeed are `load` and `unload` events.)
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// `init_module`, `finit_module` or `delete_module`.
    pub syscall: String,
    /// Negative errno.
    pub ret: i32,
    /// Its name.
    pub errno: String,
    /// The module: as loaded before its init failed, or as asked to be unloaded.
    #[serde(flatten, with = "attempt_module_field")]
    pub module: Option<Text>,
    /// The module file.
    #[serde(flatten, with = "file_field")]
    pub file: Option<Text>,
    /// What made it load.
    pub origin: Origin,
    /// Who called.
    pub process: Process,
    /// Its parents, nearest first.
    pub ancestors: Vec<Ancestor>,
    /// How it is tied to its request or loader.
    #[serde(flatten)]
    pub attribution: Attribution,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// The module arrived through this request.
    Loaded,
    /// Nothing had to be loaded, or another request loaded it meanwhile.
    AlreadyLoaded,
    /// No module provides the alias.
    NotFound,
    /// The modprobe configuration forbids it.
    Blocklisted,
    /// modprobe could not be run, or was killed.
    HelperFailed,
    /// A security module refused.
    Denied,
    /// `kernel.modprobe` is empty.
    NoModprobe,
    /// 50 requests were already running, and none ended within 5 s.
    Throttled,
    /// The requester was killed while it waited.
    Interrupted,
    /// The requester did not wait.
    NotWaited,
    /// A module was found but could not be loaded.
    Failed,
    /// The end was not seen.
    Unknown,
}

impl Status {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Loaded,
        Self::AlreadyLoaded,
        Self::NotFound,
        Self::Blocklisted,
        Self::HelperFailed,
        Self::Denied,
        Self::NoModprobe,
        Self::Throttled,
        Self::Interrupted,
        Self::NotWaited,
        Self::Failed,
        Self::Unknown,
    ];

    /// The public name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Loaded => "loaded",
            Self::AlreadyLoaded => "already-loaded",
            Self::NotFound => "not-found",
            Self::Blocklisted => "blocklisted",
            Self::HelperFailed => "helper-failed",
            Self::Denied => "denied",
            Self::NoModprobe => "no-modprobe",
            Self::Throttled => "throttled",
            Self::Interrupted => "interrupted",
            Self::NotWaited => "not-waited",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }
}

/// A request ended; or, without `request`, a process that loaded modules by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// For loads without a request: the process that loaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loader: Option<ProcessId>,
    /// How.
    pub status: Status,
    /// Raw kernel value: 0, a negative errno or a wait status; absent when the kernel's return was not seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
    /// The errno's name, when there is one: of the request, or of the module that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errno: Option<String>,
    /// How long the requester was blocked, from asking to the return; absent when it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ns: Option<u64>,
    /// In words, what decided the status beyond the kernel's value: "install vfat /bin/false in modprobe.d".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// How the status is known: exact from the kernel, or inferred by a rule.
    #[serde(flatten)]
    pub attribution: Attribution,
}

/// Where something was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LossStage {
    /// In a probe: the ring buffer or a map was full.
    Probe,
    /// The kernel did not run a probe (recursion, or too few return-probe slots).
    Missed,
    /// In user space: a record could not be decoded.
    Decode,
    /// In user space: an event could not be written.
    Write,
}

impl Outcome {
    /// An end of which only the status is known.
    #[must_use]
    pub const fn new(status: Status, attribution: Attribution) -> Self {
        Self { loader: None, status, code: None, errno: None, duration_ns: None, detail: None, attribution }
    }
}

/// Something was lost since the last event of this kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loss {
    /// Where.
    pub stage: LossStage,
    /// Cause: a counter's or program's name.
    pub cause: String,
    /// How many.
    pub count: u64,
}

/// The clocks, read again: wall clocks are set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clock {
    /// Wall clock minus boot clock, nanoseconds.
    pub realtime_minus_boot_ns: i64,
    /// Boot clock minus monotonic clock, nanoseconds: the time spent suspended.
    pub boot_minus_monotonic_ns: u64,
    /// The three clocks were read within this time, nanoseconds.
    pub clock_uncertainty_ns: u64,
}

/// Last line of a frame of a capture. The order of the fields is part of the format: `sha256` is over the frame's
/// text up to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seal {
    /// First event of the frame.
    pub first_seq: u64,
    /// Last event of the frame before the seal.
    pub last_seq: u64,
    /// `sha256` of the seal before; 64 zeros in the first.
    pub previous: String,
    /// Hash in hexadecimal.
    pub sha256: String,
    /// Ed25519 signature of the hash's bytes, in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
}

/// Totals of the stream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// Requests seen.
    pub requests: u64,
    /// Modules loaded.
    pub loads: u64,
    /// Modules unloaded.
    pub unloads: u64,
    /// Losses, all stages.
    pub lost: u64,
}
