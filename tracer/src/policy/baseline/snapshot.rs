//! Snapshots: sorted, without times, counts and ids, so that the same workload gives the same text.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde::{Deserialize, Serialize};

use super::{
    super::{
        subject::Subject,
        verdict::{Finding, Requester, StartedBy},
    },
    By, by,
};
use crate::{
    chain::Chain,
    event::{Header, Origin, Process, Status, Text},
    policy::Action,
};

/// Version of the snapshot format.
pub const SNAPSHOT_VERSION: u32 = 1;

/// What a workload made a kernel load.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Snapshot {
    /// Version of this format.
    pub snapshot: u32,
    /// Its source. Not compared.
    pub source: Source,
    /// The compared entries, sorted.
    pub compared: Vec<Entry>,
    /// Further observations, one for each entry. Not compared, except times if requested.
    pub seen: Vec<Seen>,
}

/// The source of a snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Source {
    /// Kernel releases, sorted.
    pub kernels: BTreeSet<String>,
    /// Tools that recorded the captures.
    pub tools: BTreeSet<String>,
    /// Number of captures.
    pub captures: u32,
}

/// The requests of one requester for one alias, and their outcomes. Names are unchanged, except `\\` and `\xNN` for a byte
/// that is not UTF-8.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Entry {
    /// Executable of the requester, or its name if there is none.
    pub requester: String,
    /// The origin: `request`, `explicit`, `udev`.
    pub origin: String,
    /// The requested alias; absent for loads without a request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
    /// All outcomes; `built-in` if nothing had to be loaded for that reason.
    pub results: BTreeSet<String>,
    /// Loaded modules, including dependencies.
    pub modules: BTreeSet<String>,
}

impl Entry {
    /// The key that identifies it in another snapshot.
    pub(super) fn key(&self) -> (&str, &str, Option<&str>) {
        (&self.requester, &self.origin, self.alias.as_deref())
    }
}

/// Observations that differ between runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Seen {
    /// Number of requests.
    pub count: u64,
    /// The first command line.
    pub command: Vec<String>,
    /// The script that started it, or the name of its parent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_by: Option<String>,
    /// The user action that causes the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explanation: Option<String>,
    /// How long requesters were blocked: the median of requests that loaded something, nanoseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked_ns: Option<u64>,
}

/// Why a text is not a valid snapshot.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// It is not a snapshot.
    #[error("not a snapshot (line {line}, column {column}); create one with `kmodtrace snapshot`")]
    Form {
        /// Line of the first error, from 1.
        line: usize,
        /// Column of the first error, from 1.
        column: usize,
    },
    /// It has another version.
    #[error("unsupported snapshot version {0}: expected {SNAPSHOT_VERSION}")]
    Version(u32),
    /// An outcome that does not exist.
    #[error("invalid snapshot: unknown result {0:?}")]
    Result(String),
    /// An origin that does not exist.
    #[error("invalid snapshot: unknown origin {0:?}")]
    Origin(String),
    /// A duplicate entry.
    #[error("invalid snapshot: two entries for {alias:?} by {requester:?}")]
    Twice {
        /// The requester.
        requester: String,
        /// The alias; empty for loads without a request.
        alias: String,
    },
    /// Its parts are inconsistent.
    #[error("invalid snapshot: {0} entries, but {1} observations")]
    Damaged(usize, usize),
}

impl std::str::FromStr for Snapshot {
    type Err = SnapshotError;

    fn from_str(text: &str) -> Result<Self, SnapshotError> {
        let snapshot: Self = serde_json::from_str(text)
            .map_err(|error| SnapshotError::Form { line: error.line(), column: error.column() })?;
        if snapshot.snapshot != SNAPSHOT_VERSION {
            return Err(SnapshotError::Version(snapshot.snapshot));
        }
        if snapshot.compared.len() != snapshot.seen.len() {
            return Err(SnapshotError::Damaged(snapshot.compared.len(), snapshot.seen.len()));
        }
        let mut keys = HashSet::new();
        for entry in &snapshot.compared {
            if let Some(result) = entry.results.iter().find(|result| !is_result(result)) {
                return Err(SnapshotError::Result(result.clone()));
            }
            if !Origin::ALL.iter().any(|origin| origin.name() == entry.origin) {
                return Err(SnapshotError::Origin(entry.origin.clone()));
            }
            if !keys.insert(entry.key()) {
                let alias = entry.alias.clone().unwrap_or_default();
                return Err(SnapshotError::Twice { requester: entry.requester.clone(), alias });
            }
        }
        Ok(snapshot)
    }
}

fn is_result(name: &str) -> bool {
    Status::ALL.iter().any(|status| status.name() == name)
}

/// Creates snapshots from chains.
#[derive(Clone, Debug, Default)]
pub struct Recorder {
    source: Source,
    entries: BTreeMap<(String, &'static str, Option<String>), Recorded>,
}

#[derive(Clone, Debug, Default)]
struct Recorded {
    results: BTreeSet<String>,
    modules: BTreeSet<String>,
    seen: Seen,
    blocked_ns: Vec<u64>,
}

impl Recorder {
    /// Adds the source of a capture.
    pub fn header(&mut self, header: &Header) {
        self.source.kernels.insert(header.kernel.clone());
        self.source.tools.insert(header.tool.clone());
        self.source.captures += 1;
    }

    /// Adds a chain.
    pub fn chain(&mut self, chain: &Chain) {
        Subject::for_each(chain, &mut |subject| self.subject(&subject));
    }

    fn subject(&mut self, subject: &Subject<'_>) {
        let finding = Finding::of(subject, Action::Allow);
        let requester = match by(subject) {
            By::Exe(name) | By::Comm(name) => plain(&name),
            By::Unknown => "(unseen)".to_owned(),
        };
        let key = (requester, finding.origin.name(), finding.alias.as_ref().map(plain));
        let recorded = self.entries.entry(key).or_default();
        recorded.results.insert(finding.status.name().to_owned());
        // A module whose init failed was removed again.
        let stayed = finding.module.as_ref().filter(|_| finding.status != Status::Failed);
        recorded.modules.extend(stayed.map(plain));
        recorded.seen.count += 1;
        let result = subject.link.result.as_ref();
        let is_first = subject.link.modules.first().zip(subject.module).is_none_or(|(first, own)| first == own);
        if let (true, Some(blocked_ns), Status::Loaded) =
            (is_first, result.and_then(|result| result.duration_ns), finding.status)
        {
            recorded.blocked_ns.push(blocked_ns);
        }
        if recorded.seen.count == 1 {
            let requester = finding.requester.as_ref();
            recorded.seen.command = requester.map(|requester| command(&requester.process)).unwrap_or_default();
            recorded.seen.run_by = requester.and_then(Requester::started_by).map(|by| match by {
                StartedBy::Script(script, _) => plain(script),
                StartedBy::Parent(parent) => plain(&parent.comm),
            });
            recorded.seen.explanation = finding.explanation;
        }
    }

    /// Returns the snapshot.
    #[must_use]
    pub fn finish(self) -> Snapshot {
        let mut compared = Vec::new();
        let mut seen = Vec::new();
        for ((requester, origin, alias), recorded) in self.entries {
            let Recorded { results, modules, seen: mut one, mut blocked_ns } = recorded;
            blocked_ns.sort_unstable();
            one.blocked_ns = blocked_ns.get(blocked_ns.len() / 2).copied();
            compared.push(Entry { requester, origin: origin.to_owned(), alias, results, modules });
            seen.push(one);
        }
        Snapshot { snapshot: SNAPSHOT_VERSION, source: self.source, compared, seen }
    }
}

fn command(process: &Process) -> Vec<String> {
    if process.argv.is_empty() { vec![plain(&process.comm)] } else { process.argv.iter().map(plain).collect() }
}

/// A name unchanged, except for `\\` and for bytes that are not UTF-8.
fn plain(name: &Text) -> String {
    let mut text = String::new();
    for chunk in name.as_bytes().utf8_chunks() {
        text.push_str(&chunk.valid().replace('\\', "\\\\"));
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}
