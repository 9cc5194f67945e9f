//! Snapshots: sorted, without times, numbers and ids, so that the same workload gives the same text.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde::{Deserialize, Serialize};

use super::{
    super::{
        subject::Subject,
        verdict::{Finding, RunBy, Who},
    },
    By, by,
};
use crate::{
    chain::Chain,
    event::{Header, Origin, Process, Status, Text},
    policy::Action,
};

/// Version of a snapshot's form.
pub const SNAPSHOT_VERSION: u32 = 1;

/// What a workload made a kernel load.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Snapshot {
    /// Version of this form.
    pub snapshot: u32,
    /// Where it comes from. Not compared.
    pub source: Source,
    /// What is compared, sorted.
    pub compared: Vec<Entry>,
    /// What was seen besides, one for each entry. Not compared, but for times where that is asked for.
    pub seen: Vec<Seen>,
}

/// Where a snapshot comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Source {
    /// Kernel releases, sorted.
    pub kernels: BTreeSet<String>,
    /// Tools that captured.
    pub tools: BTreeSet<String>,
    /// How many captures.
    pub captures: u32,
}

/// What one requester asked for, and what came of it. Names are as they are, but for `\\` and `\xNN`, a byte that
/// is not UTF-8.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Entry {
    /// Executable of who is behind it, or the name where there is none.
    pub requester: String,
    /// What made it load: `request`, `explicit`, `udev`.
    pub origin: String,
    /// What the kernel asked for; absent for loads without a request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
    /// How it ended, every way that was seen; `built-in` where nothing had to be loaded for that reason.
    pub results: BTreeSet<String>,
    /// Modules that arrived, dependencies included.
    pub modules: BTreeSet<String>,
}

impl Entry {
    /// What makes it the same in another snapshot.
    pub(super) fn key(&self) -> (&str, &str, Option<&str>) {
        (&self.requester, &self.origin, self.alias.as_deref())
    }
}

/// What differs from run to run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Seen {
    /// How often.
    pub count: u64,
    /// The first command, as it was run.
    pub command: Vec<String>,
    /// What ran it: the script, or the parent's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_by: Option<String>,
    /// What user action asks for the alias, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explanation: Option<String>,
    /// How long requesters were blocked: the median of requests that loaded something, nanoseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked_ns: Option<u64>,
}

/// Why a text is no snapshot.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// It is something else.
    #[error("this is no snapshot of kmodtrace")]
    Form(#[from] serde_json::Error),
    /// It is of another version.
    #[error("this snapshot has version {0}, and this kmodtrace reads version {SNAPSHOT_VERSION}")]
    Version(u32),
    /// A result that no request and no module has.
    #[error("this snapshot is damaged: {0:?} is no result")]
    Result(String),
    /// An origin that nothing has.
    #[error("this snapshot is damaged: {0:?} is no origin")]
    Origin(String),
    /// Something that is told twice.
    #[error("this snapshot is damaged: it has two entries for {alias:?} by {requester:?}")]
    Twice {
        /// By whom.
        requester: String,
        /// What was asked for; empty for loads without a request.
        alias: String,
    },
    /// Its parts do not fit together.
    #[error("this snapshot is damaged: it compares {0} and has seen {1}")]
    Damaged(usize, usize),
}

impl std::str::FromStr for Snapshot {
    type Err = SnapshotError;

    fn from_str(text: &str) -> Result<Self, SnapshotError> {
        let snapshot: Self = serde_json::from_str(text)?;
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

/// What a result is called where nothing had to be loaded, since it is part of the kernel.
const BUILT_IN: &str = "built-in";

fn is_result(name: &str) -> bool {
    name == BUILT_IN || Status::ALL.iter().any(|status| status.name() == name)
}

/// Makes snapshots of chains.
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
    /// Takes note of where a capture comes from.
    pub fn header(&mut self, header: &Header) {
        self.source.kernels.insert(header.kernel.clone());
        self.source.tools.insert(header.tool.clone());
        self.source.captures += 1;
    }

    /// Takes note of a chain.
    pub fn chain(&mut self, chain: &Chain) {
        Subject::each(chain, &mut |subject| self.subject(&subject));
    }

    fn subject(&mut self, subject: &Subject<'_>) {
        let finding = Finding::of(subject, Action::Allow);
        let requester = match by(subject) {
            By::Exe(name) | By::Comm(name) => plain(&name),
            By::Nobody => "(unseen)".to_owned(),
        };
        let key = (requester, finding.origin.name(), finding.alias.as_ref().map(plain));
        let recorded = self.entries.entry(key).or_default();
        let result = if finding.is_built_in { BUILT_IN } else { finding.status.name() };
        recorded.results.insert(result.to_owned());
        // What failed in its init is gone again.
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
            let who = finding.who.as_ref();
            recorded.seen.command = who.map(|who| command(&who.process)).unwrap_or_default();
            recorded.seen.run_by = who.and_then(Who::run_by).map(|by| match by {
                RunBy::Script(script, _) => plain(script),
                RunBy::Parent(parent) => plain(&parent.comm),
            });
            recorded.seen.explanation = finding.explanation;
        }
    }

    /// The snapshot.
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

/// A name as it is, but for `\\` and for bytes that are not UTF-8.
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
