//! How a request ended.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Attribution, ProcessId, members::members};

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
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
    /// 50 requests were already running, none ended within 5 s, and the kernel gave up.
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
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
    /// The end itself was not seen: more may have come of the request than this stream has.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub incomplete: bool,
    /// How the status is known: exact from the kernel, or inferred by a rule.
    #[serde(flatten)]
    pub attribution: Attribution,
}

impl Outcome {
    /// An end of which only the status is known.
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
