//! The typed model of what happened: one [`Event`] is one line of the JSON contract.
//!
//! Names are public. Additions are free; a rename or a change of meaning is a new schema version. Enums are
//! `#[non_exhaustive]`; structs are not, because programs that write captures build them.

mod body;
mod device;
mod ending;
mod json;
mod members;
mod parse;
mod process;
mod schema;
mod stream;
mod text;

#[cfg(test)]
mod tests;

pub use body::{Attempt, Body, Helper, Init, Load, Origin, Reason, Request, Unload};
pub use device::{DEVPATHS_MAX, Device};
pub use ending::{Outcome, Status};
pub use parse::{ParseError, Parsed, parse};
pub use process::{Ancestor, Behalf, Descent, Frame, Namespaces, Process, ProcessId};
pub use schema::schema;
pub(crate) use stream::WALK_CUT;
pub use stream::{Baseline, Clock, End, Header, HeaderHook, Loss, LossStage, Seal};
pub use text::{Text, TextError};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Version of the event contract: the number in `header.schema`.
pub const SCHEMA_VERSION: u32 = 1;

/// The id of a request, unique per boot: `<nanoseconds since boot>-<thread id>` of the request.
///
/// A thread makes one request at a time, so no two requests of one boot share an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId {
    /// Time of the request: nanoseconds since boot (`CLOCK_BOOTTIME`).
    pub boot_ns: u64,
    /// The requesting thread.
    pub tid: u32,
}

impl std::fmt::Display for RequestId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.boot_ns, self.tid)
    }
}

/// A request id that is not `<nanoseconds>-<thread id>`.
#[derive(Debug, thiserror::Error)]
#[error("invalid request id {0:?}: expected <nanoseconds>-<thread id>")]
pub struct RequestIdError(String);

impl std::str::FromStr for RequestId {
    type Err = RequestIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // Numbers as they are written only: a request has one id, also for readers that compare text.
        fn number(text: &str) -> Option<u64> {
            let is_plain = text == "0" || !text.starts_with(['0', '+']);
            text.parse().ok().filter(|_| is_plain)
        }
        let parse = || {
            let (boot_ns, tid) = text.split_once('-')?;
            Some(Self { boot_ns: number(boot_ns)?, tid: number(tid)?.try_into().ok()? })
        };
        parse().ok_or_else(|| RequestIdError(text.to_owned()))
    }
}

impl Serialize for RequestId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RequestId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// How certain it is that one event belongs to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Certainty {
    /// Joined by a kernel pointer or by a task and its start time.
    Exact,
    /// Joined by the rule named in `rule`.
    Inferred,
    /// Unknown.
    Unknown,
}

/// The certainty of a join and, if it is inferred, the rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Attribution {
    /// How certain it is.
    pub attribution: Certainty,
    /// Name of the rule, if `attribution` is `inferred`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
}

impl Attribution {
    /// Joined by a pointer or task identity.
    #[must_use]
    pub const fn exact() -> Self {
        Self { attribution: Certainty::Exact, rule: None }
    }

    /// Unknown.
    #[must_use]
    pub const fn unknown() -> Self {
        Self { attribution: Certainty::Unknown, rule: None }
    }

    /// Joined by a named rule.
    #[must_use]
    pub fn inferred(rule: &str) -> Self {
        Self { attribution: Certainty::Inferred, rule: Some(rule.to_owned()) }
    }
}

/// One event: one line of JSON. Readers must ignore fields and types that they do not know.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[schemars(title = "kmodtrace event")]
pub struct Event {
    /// Sequence number in the stream, from 0. A gap means lost events.
    pub seq: u64,
    /// Wall clock time, calculated from `boot_ns` and the clocks of the last `header` or `clock` event.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub time: Timestamp,
    /// Nanoseconds since boot (`CLOCK_BOOTTIME`).
    pub boot_ns: u64,
    /// The request that the event belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestId>,
    /// The body; its `type` is a field of the same object.
    #[serde(flatten)]
    pub body: Body,
}

members::members! {
    Attribution { attribution: Required, rule: Optional }
}
