//! A stream as reports show it: where it comes from, and what is wrong with it.

use super::interner::{Interner, NameId};
use crate::stream::{Issue, StreamInfo};

/// Issues of a stream that are shown.
const ISSUES_MAX: usize = 64;

/// A stream: what one tracer on one machine wrote from its start to its end, in one file or in several.
#[derive(Clone, Debug, Default)]
pub struct Stream {
    /// Its source and what its header says.
    pub info: StreamInfo,
    /// Events read, seals left out.
    pub events: u64,
    /// No chain that is still to come began before this, nanoseconds since 1970.
    pub(super) settled_ns: Option<i64>,
    issues: Vec<String>,
    more: u64,
    host_id: Option<NameId>,
}

impl Stream {
    /// A stream of a source, of which nothing was read.
    pub(super) fn new(source: &str) -> Self {
        Self { info: StreamInfo { source: source.to_owned(), ..StreamInfo::default() }, ..Self::default() }
    }

    /// The machine's name.
    #[must_use]
    pub fn host(&self) -> &str {
        self.info.host()
    }

    /// The boot.
    #[must_use]
    pub fn boot_id(&self) -> &str {
        self.info.boot_id()
    }

    /// What is wrong with it, a sentence each.
    pub fn issues(&self) -> impl Iterator<Item = String> {
        let more = (self.more > 0).then(|| crate::output::count(self.more, "issue more", "issues more"));
        self.issues.iter().cloned().chain(more)
    }

    pub(super) fn host_id(&self) -> NameId {
        self.host_id.unwrap_or(NameId::NONE)
    }

    /// Takes what is known by now.
    pub(super) fn update(&mut self, info: &StreamInfo, names: &mut Interner) {
        self.events += 1;
        if self.events == 1 || (self.info.identity.is_none() && info.identity.is_some()) {
            self.info.clone_from(info);
            self.host_id = info.identity.as_ref().map(|identity| names.id(identity.host.as_bytes()));
        }
    }

    /// The same, settled up to another time.
    #[cfg(test)]
    pub(super) fn settled_up_to(self, settled_ns: Option<i64>) -> Self {
        Self { settled_ns, ..self }
    }

    /// Takes note of what cannot come any more.
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
