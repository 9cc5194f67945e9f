//! What the engine says: of each rule, of each load and request, and of the whole.

use jiff::Timestamp;

use super::{
    file::{Action, Excuse},
    rule::Rule,
    subject::Subject,
};
use crate::{
    chain::{Cause, ChainKey},
    event::{Ancestor, Origin, Process, Reason, Status, Text},
    modprobe::Resolution,
};

/// The end of it all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Outcome {
    /// Everything was seen, and nothing is against the policy.
    Holds,
    /// Something is against the policy.
    Violated,
    /// It cannot be said: something was not seen.
    Error,
    /// Nothing was done: tracing is not possible here, and the caller said to skip then.
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

/// What a rule came to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// Nothing is against it.
    Held,
    /// It matched nothing, and need not.
    Unused,
    /// What it denies happened.
    Violated,
    /// What it expects did not happen.
    Unmet {
        /// Why, as far as it is known.
        why: String,
    },
    /// What it expects did not happen, and whether it could is not known.
    Open {
        /// Why.
        why: String,
    },
    /// What it expects could not happen here.
    Skipped {
        /// Why.
        excuse: Excuse,
        /// The same in words.
        why: String,
    },
    /// It ended before anything happened.
    Expired,
    /// Nothing was done.
    NotRun {
        /// Why.
        why: String,
    },
}

/// A rule and what it came to. The policy's default stands last, as a rule without a place.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RuleVerdict {
    /// The rule.
    pub rule: Rule,
    /// What it came to.
    pub state: State,
    /// What it decided, the first of it.
    pub findings: Vec<Finding>,
    /// How much more it decided.
    pub more: u64,
}

/// A load or request that was judged.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Finding {
    /// What became of it.
    pub action: Action,
    /// The chain it is a part of.
    pub key: ChainKey,
    /// The request it came through, or the process that loaded by itself.
    pub link: ChainKey,
    /// When.
    pub time: Timestamp,
    /// The module; absent for a request that loaded nothing.
    pub module: Option<Text>,
    /// Why it is part of its chain.
    pub reason: Option<Reason>,
    /// What the kernel asked for.
    pub alias: Option<Text>,
    /// What user action asks for that, in words.
    pub explanation: Option<String>,
    /// How it ended.
    pub status: Status,
    /// What decided that.
    pub detail: Option<String>,
    /// Nothing had to be loaded, since it is part of the kernel.
    pub is_built_in: bool,
    /// What made it load.
    pub origin: Origin,
    /// Who is behind it; absent when that was not seen.
    pub who: Option<Who>,
    /// The rule that allowed it until it expired.
    pub expired: Option<String>,
}

/// Who is behind a load or request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Who {
    /// The process that asked, or that loaded by itself.
    pub process: Process,
    /// Its parents, nearest first.
    pub ancestors: Vec<Ancestor>,
    /// For a kernel thread: name and process id of the task that created it.
    pub behalf: Option<(Text, u32)>,
}

/// What ran the process behind a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RunBy<'a> {
    /// A script, and its line where that is known.
    Script(&'a Text, Option<u32>),
    /// A parent that runs none.
    Parent(&'a Ancestor),
}

/// The tool itself: whoever runs a command through it is not what the command was run by.
const OWN_NAME: &[u8] = b"kmodtrace";

impl Who {
    /// The nearest script above the process, else its parent.
    #[must_use]
    pub fn run_by(&self) -> Option<RunBy<'_>> {
        let is_own = |ancestor: &&Ancestor| ancestor.exe.as_ref().is_some_and(|exe| exe.as_bytes() == OWN_NAME);
        let mut parents = self.ancestors.iter().take_while(|ancestor| !ancestor.kthread && !is_own(ancestor));
        let script = parents
            .clone()
            .find_map(|parent| parent.script.as_ref().map(|script| RunBy::Script(script, parent.script_line)));
        script.or_else(|| parents.next().map(RunBy::Parent))
    }
}

impl Finding {
    /// What is told of a subject.
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
            is_built_in: result.and_then(|result| result.detail.as_deref()).is_some_and(is_built_in),
            origin: subject.origin(),
            who: who(subject),
            expired: None,
        }
    }
}

/// The result's detail is the only place where a stream tells built-in from loaded before.
fn is_built_in(detail: &str) -> bool {
    let built_in = Resolution::BuiltIn { module: String::new() }.detail();
    detail.ends_with(&built_in)
}

fn who(subject: &Subject<'_>) -> Option<Who> {
    let (behalf, is_seen) = match subject.cause() {
        Cause::Through { behalf, .. } => (Some((behalf.comm.clone(), behalf.pid)), true),
        Cause::Kernel(_) | Cause::Unseen => (None, false),
        Cause::Process(_) | Cause::Ran { .. } => (None, true),
    };
    let (process, ancestors) = subject.process_and_ancestors().filter(|_| is_seen)?;
    Some(Who { process: process.clone(), ancestors: ancestors.to_vec(), behalf })
}

/// The verdict of a policy.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Verdict {
    /// The policy's file.
    pub policy: String,
    /// The end of it all.
    pub outcome: Outcome,
    /// What was not seen, or could not be decided: any of these is an error.
    pub doubts: Vec<String>,
    /// Each rule in order, the default last.
    pub rules: Vec<RuleVerdict>,
    /// Counts.
    pub counts: Counts,
}

/// What was judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Counts {
    /// Modules that arrived.
    pub loads: u64,
    /// Requests that loaded nothing.
    pub unloaded_requests: u64,
    /// Of both, those that are fine.
    pub allowed: u64,
    /// Those against the policy.
    pub denied: u64,
    /// Those that are not judged.
    pub ignored: u64,
    /// Expectations that were not met.
    pub unmet: u64,
    /// Expectations that could not be met here.
    pub skipped: u64,
}

impl RuleVerdict {
    /// What is against the rule, when there is something.
    #[must_use]
    pub const fn is_violated(&self) -> bool {
        matches!(self.state, State::Violated | State::Unmet { .. })
    }
}
