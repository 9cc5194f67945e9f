//! A stream as reports show it: where it comes from, and what is wrong with it.

use super::names::{NameId, Names};
use crate::stream::{Issue, StreamInfo};

/// Issues of a stream that are shown.
const ISSUES_MAX: usize = 64;

/// What a header says of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// Host name.
    pub host: String,
    /// The boot.
    pub boot_id: String,
    /// Kernel release.
    pub kernel: String,
    /// Architecture.
    pub arch: String,
}

/// A stream: what one tracer on one machine wrote from its start to its end, in one file or in several.
#[derive(Clone, Debug, Default)]
pub struct Stream {
    /// The file it was read from; the first of many.
    pub source: String,
    /// What its header says; absent when the stream begins without.
    pub about: Option<About>,
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
        Self { source: source.to_owned(), ..Self::default() }
    }

    /// The machine's name.
    #[must_use]
    pub fn host(&self) -> &str {
        self.about.as_ref().map_or("", |about| about.host.as_str())
    }

    /// The boot.
    #[must_use]
    pub fn boot_id(&self) -> &str {
        self.about.as_ref().map_or("", |about| about.boot_id.as_str())
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
    pub(super) fn update(&mut self, info: &StreamInfo, names: &mut Names) {
        self.events += 1;
        if self.source.is_empty() {
            self.source.clone_from(&info.source);
        }
        if let (None, Some(identity)) = (&self.about, &info.identity) {
            self.host_id = Some(names.id(identity.host.as_bytes()));
            self.about = Some(About {
                host: identity.host.clone(),
                boot_id: identity.boot_id.clone(),
                kernel: info.kernel.clone(),
                arch: info.arch.clone(),
            });
        }
    }

    /// The same, settled up to another time.
    #[cfg(test)]
    pub(super) fn settled_up_to(self, settled_ns: Option<i64>) -> Self {
        Self { settled_ns, ..self }
    }

    /// Takes note of what cannot come any more.
    pub(super) fn settled(&mut self, info: &StreamInfo) {
        self.settled_ns = info.settled.map(super::facts::nanoseconds);
    }

    pub(super) fn issue(&mut self, issue: &Issue) {
        if self.issues.len() < ISSUES_MAX {
            self.issues.push(issue.kind.to_string());
        } else {
            self.more += 1;
        }
    }
}
