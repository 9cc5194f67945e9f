//! The verdict of the engine: about each rule, each load and request, and the whole.

use jiff::Timestamp;

use super::{
    file::{Action, SkipReason},
    rule::Rule,
    subject::Subject,
};
use crate::{
    chain::{Cause, ChainKey},
    event::{Ancestor, Origin, Process, Reason, Status, Text},
};

/// The overall outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Outcome {
    /// The evidence is complete, and nothing violates the policy.
    Holds,
    /// Something violates the policy.
    Violated,
    /// Undetermined: something was not seen.
    Error,
    /// Nothing was run: tracing is not possible here, and the caller asked to skip in this case.
    Skipped,
}

impl Outcome {
    /// The public name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::Violated => "violated",
            Self::Error => "error",
            Self::Skipped => "skipped",
        }
    }
}

/// The state of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// It holds.
    Held,
    /// It matched nothing, and need not.
    Unused,
    /// A denied subject occurred.
    Violated,
    /// The expected subject did not occur.
    Unmet {
        /// The reason, as far as known.
        why: String,
    },
    /// The expected subject did not occur, and it is unknown whether it could.
    Undetermined {
        /// The reason.
        why: String,
    },
    /// The expected subject could not occur here.
    Skipped {
        /// The reason.
        skip_reason: SkipReason,
        /// The same in words.
        why: String,
    },
    /// It expired before the first event.
    Expired,
    /// Nothing was run.
    NotRun {
        /// Why.
        why: String,
    },
}

/// A rule with its state. The default of the policy is the last one, a rule without a position.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RuleVerdict {
    /// The rule.
    pub rule: Rule,
    /// Its state.
    pub state: State,
    /// The first findings that it decided.
    pub findings: Vec<Finding>,
    /// The number of further findings.
    pub more: u64,
}

/// A judged load or request.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Finding {
    /// The action.
    pub action: Action,
    /// Its chain.
    pub key: ChainKey,
    /// Its request, or the process of an explicit load.
    pub link: ChainKey,
    /// Its time.
    pub time: Timestamp,
    /// The module; absent for a request that loaded nothing.
    pub module: Option<Text>,
    /// The reason for the load.
    pub reason: Option<Reason>,
    /// The requested alias.
    pub alias: Option<Text>,
    /// The user action that causes the request.
    pub explanation: Option<String>,
    /// The outcome.
    pub status: Status,
    /// The attribution of the outcome.
    pub detail: Option<String>,
    /// The origin of the load.
    pub origin: Origin,
    /// The requester; absent if it was not seen.
    pub requester: Option<Requester>,
    /// The rule that allowed it until it expired.
    pub expired: Option<String>,
}

/// The requester of a load or request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Requester {
    /// The requester or loader.
    pub process: Process,
    /// Its ancestors, nearest first.
    pub ancestors: Vec<Ancestor>,
    /// For a kernel thread: name and process id of the task that created it.
    pub behalf: Option<(Text, u32)>,
}

/// The program that started the process of a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StartedBy<'a> {
    /// A script, and its line if known.
    Script(&'a Text, Option<u32>),
    /// A parent process that is not a script.
    Parent(&'a Ancestor),
}

/// kmodtrace itself: it started the command of `run`, but is not the cause.
const OWN_NAME: &[u8] = b"kmodtrace";

impl Requester {
    /// The nearest script above the process, else its parent.
    #[must_use]
    pub fn started_by(&self) -> Option<StartedBy<'_>> {
        // The others adopted it, and did not run it.
        if self.process.parent_changed {
            return None;
        }
        let is_own = |ancestor: &&Ancestor| ancestor.exe.as_ref().is_some_and(|exe| exe.as_bytes() == OWN_NAME);
        let mut parents = self.ancestors.iter().take_while(|ancestor| !ancestor.kthread && !is_own(ancestor));
        let script = parents
            .clone()
            .find_map(|parent| parent.script.as_ref().map(|script| StartedBy::Script(script, parent.script_line)));
        script.or_else(|| parents.next().map(StartedBy::Parent))
    }
}

impl Finding {
    /// Creates the finding for a subject.
    pub(super) fn of(subject: &Subject<'_>, action: Action) -> Self {
        let Subject { root, link, module } = *subject;
        let request = link.request.as_ref();
        let result = link.result.as_ref();
        Self {
            action,
            key: root.key,
            link: link.key,
            time: link.time,
            module: module.map(|module| module.load.module.clone()),
            reason: module.and_then(|module| module.load.reason),
            alias: request.map(|request| request.name.clone()),
            explanation: request.and_then(|request| request.explanation.clone()),
            status: subject.status(),
            detail: result.and_then(|result| result.detail.clone()),
            origin: subject.origin(),
            requester: requester(subject),
            expired: None,
        }
    }
}

fn requester(subject: &Subject<'_>) -> Option<Requester> {
    let (behalf, is_seen) = match subject.cause() {
        Cause::Through { behalf, .. } => (Some((behalf.comm.clone(), behalf.pid)), true),
        Cause::Kernel(_) | Cause::Unseen => (None, false),
        Cause::Process(_) | Cause::Ran { .. } | Cause::Undetermined { .. } => (None, true),
    };
    let (process, ancestors) = subject.process_and_ancestors().filter(|_| is_seen)?;
    Some(Requester { process: process.clone(), ancestors: ancestors.to_vec(), behalf })
}

/// The verdict of a policy.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Verdict {
    /// The policy file.
    pub policy: String,
    /// The overall outcome.
    pub outcome: Outcome,
    /// Reasons why the verdict is undetermined: any of these is an error.
    pub undetermined: Vec<String>,
    /// Each rule in order, the default last.
    pub rules: Vec<RuleVerdict>,
    /// Counts.
    pub counts: Counts,
}

/// Counts of judged subjects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Counts {
    /// Loaded modules.
    pub loads: u64,
    /// Requests that loaded nothing.
    pub unloaded_requests: u64,
    /// Allowed modules and requests.
    pub allowed: u64,
    /// Modules and requests that violate the policy.
    pub denied: u64,
    /// Ignored modules and requests.
    pub ignored: u64,
    /// Unmet expectations.
    pub unmet: u64,
    /// Skipped expectations.
    pub skipped: u64,
}

impl RuleVerdict {
    /// Whether the rule is violated.
    #[must_use]
    pub const fn is_violated(&self) -> bool {
        matches!(self.state, State::Violated | State::Unmet { .. })
    }
}
