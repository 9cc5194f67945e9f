//! Reasons why a verdict is undetermined: issues of the evidence, undetermined rules, and loads out of scope that may
//! belong to it.

use std::{cmp::Reverse, collections::HashSet};

use crate::{
    event::{Behalf, Body, Event, RequestId},
    stream::{Issue, Severity, attribution},
    text::count,
};

/// Maximum number of out-of-scope requests of kernel threads that are tracked at a time.
const UNATTRIBUTED_MAX: usize = 4096;

/// Maximum number of reasons in a verdict; the others are counted.
const REASONS_MAX: usize = 100;

/// Reasons why a verdict is undetermined.
#[derive(Clone, Debug, Default)]
pub(super) struct UndeterminedReasons {
    list: Vec<(Severity, String)>,
    more: u64,
    /// Out-of-scope requests of kernel threads that act for no known process.
    unattributed: HashSet<RequestId>,
}

impl UndeterminedReasons {
    /// Adds a reason. Names in it are escaped or in debug form.
    pub(super) fn add(&mut self, source: &str, reason: &str) {
        let reason = if source.is_empty() { reason.to_owned() } else { format!("{source}: {reason}") };
        self.push(Severity::Incomplete, reason);
    }

    /// Adds an issue of the evidence.
    pub(super) fn issue(&mut self, issue: &Issue) {
        self.push(issue.kind.severity(), issue.to_string());
    }

    fn push(&mut self, severity: Severity, reason: String) {
        if self.list.len() < REASONS_MAX {
            self.list.push((severity, reason));
        } else {
            self.more += 1;
        }
    }

    /// Checks an out-of-scope event: a process in scope may have passed work to a kernel thread.
    pub(super) fn out_of_scope(&mut self, event: &Event) {
        if let Some(issue) = attribution::of_event(event) {
            self.add("", &issue.to_string());
        }
        match &event.body {
            Body::Request(request)
                if request.process.kthread && !request.behalf.as_ref().is_some_and(Behalf::is_recent) =>
            {
                if self.unattributed.len() < UNATTRIBUTED_MAX {
                    self.unattributed.extend(event.request);
                } else {
                    self.add("", "too many kernel threads requested modules for no known process");
                }
            }
            Body::Load(load) if event.request.is_some_and(|id| self.unattributed.contains(&id)) => {
                let module = &load.module;
                self.add(
                    "",
                    &format!(
                        "a kernel thread loaded {module:?} during the run for an unknown process; judge the whole host \
                         (--host)"
                    ),
                );
            }
            Body::Result(_) => {
                if let Some(id) = event.request {
                    self.unattributed.remove(&id);
                }
            }
            _ => {}
        }
    }

    /// All reasons, one sentence each, the most severe first.
    pub(super) fn finish(mut self) -> Vec<String> {
        // Damage explains the other reasons.
        self.list.sort_by_key(|(severity, _)| Reverse(*severity));
        let mut list: Vec<String> = self.list.into_iter().map(|(_, reason)| reason).collect();
        if self.more > 0 {
            list.push(format!("and {} more", count(self.more, "reason", "reasons")));
        }
        list
    }
}
