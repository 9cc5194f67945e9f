//! The stream itself: where it comes from, what it vouches for, and what it lost.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Body, members::members};

/// The source of the stream: tool, kernel, host and hooks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct Header {
    /// Version of the event format.
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
    /// `/etc/machine-id`, if it exists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine_id: Option<String>,
    /// `/proc/sys/kernel/modprobe`; if empty, the kernel loads no modules on demand.
    pub modprobe: String,
    /// Wall clock minus boot clock when the stream began, nanoseconds.
    pub realtime_minus_boot_ns: i64,
    /// Uncertainty of that difference, nanoseconds.
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
    /// In a capture: the id of the recording that the file belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recording: Option<String>,
    /// In a capture: the number of this file in the recording, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segment: Option<u32>,
    /// In a capture: the hash of the last seal of the previous file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
    /// The hooks, and how each one is attached.
    pub hooks: Vec<HeaderHook>,
    /// Filters that exclude chains, as `field=pattern`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<String>,
}

/// A hook of the header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct HeaderHook {
    /// Name of the hook, for example `request`.
    pub hook: String,
    /// Attach method: `fexit`, `fentry`, `kprobe`, `kretprobe`, `raw_tracepoint`; absent if it is not attached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attached: Option<String>,
    /// The kernel function or tracepoint.
    pub target: String,
    /// Why it is not attached, and what cannot be observed without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
}

/// Modules that were loaded before tracing began, by unknown processes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Baseline {
    /// Names in alphabetical order.
    pub modules: Vec<String>,
}

/// The stage at which events were lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum LossStage {
    /// In the kernel: the ring buffer or a map was full.
    Probe,
    /// In the kernel: a program was not run (recursion, or too few kretprobe instances).
    Missed,
    /// In user space: a record could not be decoded, or arrived after the outcome of its request (`late-record`).
    Decode,
    /// In user space: an event could not be written.
    Write,
}

/// The cause of a loss without lost events: the ancestry of processes was not followed to its top, so whether a helper of
/// the kernel is among their ancestors is unknown.
pub(crate) const WALK_CUT: &str = "walk-cut";

/// Events were lost since the last event of this type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Loss {
    /// The stage.
    pub stage: LossStage,
    /// The cause: the name of a counter or of a program. With `walk-cut`, no event was lost, but processes have more
    /// generations than are searched, so whether the kernel started them is unknown. With `request-late`, the request is
    /// reported, but a denied one would have been missed. With `kprobes-off` or `trampolines-off`, hooks observe nothing;
    /// repeated each minute, and how many events were lost is unknown.
    pub cause: String,
    /// The number of lost events.
    pub count: u64,
}

impl Loss {
    /// Whether no event was lost, but the ancestry of `count` processes was not followed to its top.
    #[must_use]
    pub fn is_walk_cut(&self) -> bool {
        self.cause == WALK_CUT
    }
}

/// A new reading of the clocks, because wall clocks are set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Clock {
    /// Wall clock minus boot clock, nanoseconds.
    pub realtime_minus_boot_ns: i64,
    /// Boot clock minus monotonic clock, nanoseconds: the time spent suspended.
    pub boot_minus_monotonic_ns: u64,
    /// Uncertainty of these differences, nanoseconds.
    pub clock_uncertainty_ns: u64,
}

/// Last line of a frame of a capture. The order of the fields is part of the format: `sha256` is over the frame's
/// text up to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Seal {
    /// First event of the frame.
    pub first_seq: u64,
    /// Last event of the frame before the seal.
    pub last_seq: u64,
    /// `sha256` of the previous seal; 64 zeros in the first seal.
    pub previous: String,
    /// Hash of the frame, in hexadecimal.
    pub sha256: String,
    /// Ed25519 signature of the hash's bytes, in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
}

/// Totals of the stream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct End {
    /// Number of requests.
    pub requests: u64,
    /// Number of loaded modules.
    pub loads: u64,
    /// Number of unloaded modules.
    pub unloads: u64,
    /// Number of lost events, all stages.
    pub lost: u64,
}

impl End {
    /// Counts an event of the stream.
    pub const fn count(&mut self, body: &Body) {
        match body {
            Body::Request(_) => self.requests += 1,
            Body::Load(_) => self.loads += 1,
            Body::Unload(_) => self.unloads += 1,
            Body::Loss(loss) => self.lost = self.lost.saturating_add(loss.count),
            _ => {}
        }
    }
}

members! {
    Header {
        schema: Required,
        tool: Required,
        kernel: Required,
        kernel_version: Required,
        arch: Required,
        hostname: Required,
        boot_id: Required,
        machine_id: Optional,
        modprobe: Required,
        realtime_minus_boot_ns: Required,
        clock_uncertainty_ns: Required,
        boot_minus_monotonic_ns: Optional,
        modules_dep_sha256: Optional,
        modules_alias_sha256: Optional,
        recording: Optional,
        segment: Optional,
        previous: Optional,
        hooks: Required,
        filters: Optional,
    }
    HeaderHook { hook: Required, attached: Optional, target: Required, missing: Optional }
    Baseline { modules: Required }
    Loss { stage: Required, cause: Required, count: Required }
    Clock { realtime_minus_boot_ns: Required, boot_minus_monotonic_ns: Required, clock_uncertainty_ns: Required }
    Seal { first_seq: Required, last_seq: Required, previous: Required, sha256: Required, signature: Optional }
    End { requests: Required, loads: Required, unloads: Required, lost: Required }
}
