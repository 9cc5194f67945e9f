//! How a request ended.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Attribution, ProcessId, members::members};

/// The outcome of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Status {
    /// The request loaded the module.
    Loaded,
    /// The module was already loaded, or another request loaded it meanwhile.
    AlreadyLoaded,
    /// The module is built into the kernel, and was requested nevertheless: it is switched off or not registered.
    BuiltIn,
    /// No module provides the alias.
    NotFound,
    /// The modules of the running kernel are not on disk, for example because it was upgraded.
    NoModules,
    /// modprobe's configuration forbids it.
    Blocklisted,
    /// modprobe could not be started, or was killed.
    HelperFailed,
    /// An LSM denied it.
    Denied,
    /// `kernel.modprobe` is empty.
    NoModprobe,
    /// The kernel gave up because 50 other requests were running for 5 s.
    Throttled,
    /// The requester was killed while it waited.
    Interrupted,
    /// The requester did not wait for modprobe.
    NotWaited,
    /// A module was found, but could not be loaded.
    Failed,
    /// The outcome was not seen.
    Unknown,
}

impl Status {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::Loaded,
        Self::AlreadyLoaded,
        Self::BuiltIn,
        Self::NotFound,
        Self::NoModules,
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
            Self::BuiltIn => "built-in",
            Self::NotFound => "not-found",
            Self::NoModules => "no-modules",
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

/// The outcome of a request or, without `request`, of a process that loaded modules explicitly.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Outcome {
    /// For explicit loads: the process that loaded the modules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loader: Option<ProcessId>,
    /// The outcome.
    pub status: Status,
    /// Return value in the kernel: 0, a negative errno, or a wait status; absent if it was not seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
    /// Name of the errno of the request, or of the module that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errno: Option<String>,
    /// Time for which the requester was blocked, nanoseconds; absent if unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ns: Option<u64>,
    /// The reason for the outcome beyond the kernel's value, for example "install vfat /bin/false in /etc/modprobe.d/x.conf:1".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The end was not seen: the request may have loaded more than the stream contains.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub incomplete: bool,
    /// How the outcome is known: exact from the kernel, or inferred by a rule.
    #[serde(flatten)]
    pub attribution: Attribution,
}

impl Outcome {
    /// An outcome of which only the status is known.
    #[must_use]
    pub const fn new(status: Status, attribution: Attribution) -> Self {
        Self {
            loader: None,
            status,
            code: None,
            errno: None,
            duration_ns: None,
            detail: None,
            incomplete: false,
            attribution,
        }
    }
}

members! {
    Outcome {
        loader: Optional,
        status: Required,
        code: Optional,
        errno: Optional,
        duration_ns: Optional,
        detail: Optional,
        incomplete: Optional,
        attribution / rule: InlineAttribution,
    }
}
