//! What happened: one struct a `type`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::members::members;
use super::text::{optional_text_field, text_field, text_list_field};
use super::{
    Ancestor, Attribution, Baseline, Behalf, Certainty, Clock, Device, End, Frame, Header, Loss, Outcome, Process,
    RequestId, Seal, Text,
};

text_field! {
    /// The requested alias or module name.
    name_field, name, name_hex
}
text_field! {
    /// The module.
    module_field, module, module_hex
}
text_field! {
    /// The program.
    path_field, path, path_hex
}
optional_text_field! {
    /// The module file.
    file_field, file, file_hex
}
optional_text_field! {
    /// The module that the system call was about.
    attempt_module_field, module, module_hex
}
optional_text_field! {
    /// The module whose init function made the request.
    in_init_field, in_init, in_init_hex
}
text_list_field! {
    /// Arguments, as claimed by the process.
    argv_field, argv, argv_hex
}

/// The body of an event, selected by `type`.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "lowercase")]
#[non_exhaustive]
pub enum Body {
    /// First event of a stream.
    Header(Box<Header>),
    /// Modules that were loaded before tracing began.
    Baseline(Baseline),
    /// The kernel requests a module (`__request_module()`).
    Request(Box<Request>),
    /// The kernel has started modprobe for a request.
    Helper(Helper),
    /// A module was loaded; its init function is about to run.
    Load(Box<Load>),
    /// The init function of a module has returned.
    Init(Init),
    /// A module was unloaded.
    Unload(Box<Unload>),
    /// A system call that loads or unloads a module failed. Those of 32-bit (i386) programs on x86-64 are not seen.
    Attempt(Box<Attempt>),
    /// The outcome of a request, or of a process that loads modules explicitly: its last event.
    Result(Outcome),
    /// Events were lost.
    Loss(Loss),
    /// A new reading of the clocks.
    Clock(Clock),
    /// Last line of a frame of a capture: proves the integrity of the frame and of all frames before it.
    Seal(Seal),
    /// Last event of a stream.
    End(End),
}

/// The kernel requests a module (`__request_module()`).
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Request {
    /// The requested alias or module name.
    #[serde(flatten, with = "name_field")]
    #[schemars(with = "name_field::Fields<'_>")]
    pub name: Text,
    /// Whether the requester waits for modprobe to exit; absent if that was not yet known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<bool>,
    /// The requester.
    pub process: Process,
    /// Parents of the requester, nearest first.
    pub ancestors: Vec<Ancestor>,
    /// The list of ancestors is truncated at its limit.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ancestors_truncated: bool,
    /// System call of the requester: its name, or `syscall_<number>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub syscall: Option<String>,
    /// The ABI of a 32-bit system call on a 64-bit kernel: `i386`, `x32` or `arm`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub syscall_abi: Option<String>,
    /// Kernel stack, innermost first: the caller of `request_module()` is the first.
    #[serde(default)]
    pub stack: Vec<Frame>,
    /// User stack, innermost first, by frame pointers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub user_stack: Vec<Frame>,
    /// The request that the requester itself works for; this request is nested in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_request: Option<RequestId>,
    /// How `parent_request` is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_attribution: Option<Attribution>,
    /// The module whose init function made the request.
    #[serde(flatten, with = "in_init_field")]
    #[schemars(with = "in_init_field::Fields<'_>")]
    pub in_init: Option<Text>,
    /// For a kernel thread: the task that created it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behalf: Option<Behalf>,
    /// The user action that requests this alias.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explanation: Option<String>,
    /// The hooks at the beginning of the request did not run: it was observed when the kernel admitted it. The time before
    /// that is unknown.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub late: bool,
    /// How the requester was joined to the request.
    #[serde(flatten)]
    pub attribution: Attribution,
}

/// The kernel has started modprobe for a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Helper {
    /// Process id.
    pub pid: u32,
    /// Start time of the process: nanoseconds since boot.
    pub start_ns: u64,
    /// The program.
    #[serde(flatten, with = "path_field")]
    #[schemars(with = "path_field::Fields<'_>")]
    pub path: Text,
    /// Arguments.
    #[serde(flatten, with = "argv_field")]
    #[schemars(with = "argv_field::Fields<'_>")]
    pub argv: Vec<Text>,
    /// How it was joined to the request.
    #[serde(flatten)]
    pub attribution: Attribution,
}

/// The origin of a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Origin {
    /// A request of the kernel (`request_module()`).
    Request,
    /// An explicit load by modprobe, insmod, or another program.
    Explicit,
    /// udev loaded it for a device.
    Udev,
    /// A helper started by the kernel, whose request was not seen; or it is unknown whether the kernel started it.
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

/// Why a module belongs to a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Reason {
    /// It was requested by name.
    Asked,
    /// It provides the requested alias.
    Alias,
    /// Another module of the chain depends on it (modules.dep).
    Dependency,
    /// Another module of the chain has a soft dependency on it (modules.softdep).
    Softdep,
}

/// A module was loaded.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Load {
    /// Name.
    #[serde(flatten, with = "module_field")]
    #[schemars(with = "module_field::Fields<'_>")]
    pub module: Text,
    /// The origin of the load.
    pub origin: Origin,
    /// The process that loaded it: for a request, modprobe or a process started by modprobe.
    pub process: Process,
    /// Parents of the loader, nearest first.
    pub ancestors: Vec<Ancestor>,
    /// The list of ancestors is truncated at its limit.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ancestors_truncated: bool,
    /// Number of generations between the loader and the helper of the request; 0 is the helper itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub helper_depth: Option<u32>,
    /// The module file.
    #[serde(flatten, with = "file_field")]
    #[schemars(with = "file_field::Fields<'_>")]
    pub file: Option<Text>,
    /// Taint flags of the module, as in `/sys/module/<name>/taint`; may be empty.
    #[serde(default)]
    pub taints: String,
    /// Why it belongs to the chain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// For origin `udev`: the device that it was loaded for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<Device>,
    /// How it was joined to its request or loader.
    #[serde(flatten)]
    pub attribution: Attribution,
}

/// The init function of a module has returned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Init {
    /// The module.
    #[serde(flatten, with = "module_field")]
    #[schemars(with = "module_field::Fields<'_>")]
    pub module: Text,
    /// Process id of the loader.
    pub pid: u32,
    /// Start time of the loader: nanoseconds since boot.
    pub start_ns: u64,
    /// Return value of init: 0 or a negative errno.
    pub ret: i32,
    /// Run time of init, nanoseconds.
    pub duration_ns: u64,
    /// The side effect of the module on this machine, for a module that has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<String>,
}

/// A module was unloaded.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Unload {
    /// The module.
    #[serde(flatten, with = "module_field")]
    #[schemars(with = "module_field::Fields<'_>")]
    pub module: Text,
    /// The process that unloaded it, or that loaded it if its init failed.
    pub process: Process,
    /// Parents of the process, nearest first.
    pub ancestors: Vec<Ancestor>,
    /// Its init failed, so it was never live.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub init_failed: bool,
}

/// A system call to load or unload a module failed. Successful calls are `load` and `unload` events.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Attempt {
    /// `init_module`, `finit_module` or `delete_module`.
    pub syscall: String,
    /// Negative errno.
    pub ret: i32,
    /// Name.
    pub errno: String,
    /// The module that the system call was about.
    #[serde(flatten, with = "attempt_module_field")]
    #[schemars(with = "attempt_module_field::Fields<'_>")]
    pub module: Option<Text>,
    /// The module file.
    #[serde(flatten, with = "file_field")]
    #[schemars(with = "file_field::Fields<'_>")]
    pub file: Option<Text>,
    /// The origin of the load.
    pub origin: Origin,
    /// The calling process.
    pub process: Process,
    /// Parents of the process, nearest first.
    pub ancestors: Vec<Ancestor>,
    /// How it was joined to its request or loader.
    #[serde(flatten)]
    pub attribution: Attribution,
}

impl Load {
    /// Whether the origin is unknown.
    #[must_use]
    pub fn is_unattributed(&self) -> bool {
        self.origin == Origin::Unknown || self.attribution.attribution == Certainty::Unknown
    }
}

members! {
    Request {
        name / name_hex: RequiredText,
        wait: Optional,
        process: Required,
        ancestors: Required,
        ancestors_truncated: Optional,
        syscall: Optional,
        syscall_abi: Optional,
        stack: Optional,
        user_stack: Optional,
        parent_request: Optional,
        parent_attribution: Optional,
        in_init / in_init_hex: OptionalText,
        behalf: Optional,
        explanation: Optional,
        late: Optional,
        attribution / rule: InlineAttribution,
    }
    Helper {
        pid: Required,
        start_ns: Required,
        path / path_hex: RequiredText,
        argv / argv_hex: TextList,
        attribution / rule: InlineAttribution,
    }
    Load {
        module / module_hex: RequiredText,
        origin: Required,
        process: Required,
        ancestors: Required,
        ancestors_truncated: Optional,
        helper_depth: Optional,
        file / file_hex: OptionalText,
        taints: Optional,
        reason: Optional,
        device: Optional,
        attribution / rule: InlineAttribution,
    }
    Init {
        module / module_hex: RequiredText,
        pid: Required,
        start_ns: Required,
        ret: Required,
        duration_ns: Required,
        effect: Optional,
    }
    Unload {
        module / module_hex: RequiredText,
        process: Required,
        ancestors: Required,
        init_failed: Optional,
    }
    Attempt {
        syscall: Required,
        ret: Required,
        errno: Required,
        module / module_hex: OptionalText,
        file / file_hex: OptionalText,
        origin: Required,
        process: Required,
        ancestors: Required,
        attribution / rule: InlineAttribution,
    }
}
