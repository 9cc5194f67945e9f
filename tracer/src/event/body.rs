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
    /// The alias or name, as asked.
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
    /// The module: as loaded before its init failed, or as asked to be unloaded.
    attempt_module_field, module, module_hex
}
optional_text_field! {
    /// The module in whose init the task asked.
    in_init_field, in_init, in_init_hex
}
text_list_field! {
    /// Arguments: claimed by the process.
    argv_field, argv, argv_hex
}

/// The body of an event; `type` names it.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "lowercase")]
#[non_exhaustive]
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

/// The kernel was made to ask for a module.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Request {
    /// The alias or name, as asked.
    #[serde(flatten, with = "name_field")]
    #[schemars(with = "name_field::Fields<'_>")]
    pub name: Text,
    /// The caller waits for modprobe to end; absent when that was not known yet when the event was made.
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
    #[schemars(with = "in_init_field::Fields<'_>")]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Helper {
    /// Its process id.
    pub pid: u32,
    /// Its start: nanoseconds since boot.
    pub start_ns: u64,
    /// The program.
    #[serde(flatten, with = "path_field")]
    #[schemars(with = "path_field::Fields<'_>")]
    pub path: Text,
    /// Its arguments.
    #[serde(flatten, with = "argv_field")]
    #[schemars(with = "argv_field::Fields<'_>")]
    pub argv: Vec<Text>,
    /// How it is tied to the request.
    #[serde(flatten)]
    pub attribution: Attribution,
}

/// What made a module load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
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
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Load {
    /// Its name.
    #[serde(flatten, with = "module_field")]
    #[schemars(with = "module_field::Fields<'_>")]
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
    #[schemars(with = "file_field::Fields<'_>")]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Init {
    /// The module.
    #[serde(flatten, with = "module_field")]
    #[schemars(with = "module_field::Fields<'_>")]
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
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Unload {
    /// The module.
    #[serde(flatten, with = "module_field")]
    #[schemars(with = "module_field::Fields<'_>")]
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
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Attempt {
    /// `init_module`, `finit_module` or `delete_module`.
    pub syscall: String,
    /// Negative errno.
    pub ret: i32,
    /// Its name.
    pub errno: String,
    /// The module: as loaded before its init failed, or as asked to be unloaded.
    #[serde(flatten, with = "attempt_module_field")]
    #[schemars(with = "attempt_module_field::Fields<'_>")]
    pub module: Option<Text>,
    /// The module file.
    #[serde(flatten, with = "file_field")]
    #[schemars(with = "file_field::Fields<'_>")]
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

impl Load {
    /// Whether it is unknown what made it load.
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
        stack: Optional,
        user_stack: Optional,
        parent_request: Optional,
        parent_attribution: Optional,
        in_init / in_init_hex: OptionalText,
        behalf: Optional,
        explanation: Optional,
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
