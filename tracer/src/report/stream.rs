//! A stream as reports show it: its source and its issues.

use super::interner::{Interner, NameId};
use crate::stream::{Issue, StreamInfo};

/// Maximum number of issues shown for a stream.
const ISSUES_MAX: usize = 64;

/// A stream: the output of one tracer run, in one or several files.
#[derive(Clone, Debug, Default)]
pub struct Stream {
    /// Its source and the contents of its header.
    pub info: StreamInfo,
    /// Number of events read, without seals.
    pub events: u64,
    /// No later chain begins before this, nanoseconds since 1970.
    pub(super) settled_ns: Option<i64>,
    issues: Vec<String>,
    more: u64,
    host_id: Option<NameId>,
}

impl Stream {
    /// A stream of a source from which nothing was read yet.
    pub(super) fn new(source: &str) -> Self {
        Self { info: StreamInfo { source: source.to_owned(), ..StreamInfo::default() }, ..Self::default() }
    }

    /// The host name.
    #[must_use]
    pub fn host(&self) -> &str {
        self.info.host()
    }

    /// The boot id.
    #[must_use]
    pub fn boot_id(&self) -> &str {
        self.info.boot_id()
    }

    /// Its issues, one sentence each.
    pub fn issues(&self) -> impl Iterator<Item = String> {
        let more = (self.more > 0).then(|| crate::output::count(self.more, "issue more", "issues more"));
        self.issues.iter().cloned().chain(more)
    }

    pub(super) fn host_id(&self) -> NameId {
        self.host_id.unwrap_or(NameId::NONE)
    }

    /// Updates the stream after an event.
    pub(super) fn update(&mut self, info: &StreamInfo, names: &mut Interner) {
        self.events += 1;
        if self.events == 1 || (self.info.identity.is_none() && info.identity.is_some()) {
            self.info.clone_from(info);
            self.host_id = info.identity.as_ref().map(|identity| names.id(identity.host.as_bytes()));
        }
    }

    /// The same stream with another settled time.
    #[cfg(test)]
    pub(super) fn settled_up_to(self, settled_ns: Option<i64>) -> Self {
        Self { settled_ns, ..self }
    }

    /// Updates the settled time.
    pub(super) fn settled(&mut self, info: &StreamInfo) {
        self.settled_ns = info.settled.map(super::observe::nanoseconds);
    }

    pub(super) fn issue(&mut self, issue: &Issue) {
        if self.issues.len() < ISSUES_MAX {
            self.issues.push(issue.kind.to_string());
        } else {
            self.more += 1;
        }
    }
}
