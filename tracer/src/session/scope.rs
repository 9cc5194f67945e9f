//! Which events belong to the traced command.

use std::collections::HashSet;

use crate::{
    event::{Ancestor, Body, Event, Origin, Process, ProcessId, RequestId, Text},
    kernel::process::TICK_NS,
};

/// What is let through.
#[derive(Clone, Debug)]
pub enum Scope {
    /// Everything.
    Host,
    /// A process and all it starts: by its cgroup where it has one of its own, and by ancestry.
    Command {
        /// The process.
        process: ProcessId,
        /// Path and id of its cgroup (v2).
        cgroup: Option<(Text, Option<u64>)>,
    },
}

impl Scope {
    /// Whether a cgroup is the scope's own.
    fn holds_cgroup(&self, id: Option<u64>) -> bool {
        match self {
            Self::Host => true,
            Self::Command { cgroup: Some((_, Some(own))), .. } => id == Some(*own),
            Self::Command { .. } => false,
        }
    }

    fn holds(&self, process: &Process, ancestors: &[Ancestor]) -> bool {
        let Self::Command { process: command, cgroup } = self else { return true };
        // The command's own start is known to the tick only; a pid is not reused within one.
        let same = |id: ProcessId| id.pid == command.pid && id.start_ns / TICK_NS == command.start_ns / TICK_NS;
        if same(process.id()) || ancestors.iter().any(|ancestor| same(ancestor.id())) {
            return true;
        }
        let (Some((cgroup, _)), Some(own)) = (cgroup, &process.cgroup) else { return false };
        own.as_bytes().strip_prefix(cgroup.as_bytes()).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
    }
}

/// Lets the events of a scope through and numbers them without gaps.
#[derive(Debug)]
pub struct Filter {
    scope: Scope,
    requests: HashSet<RequestId>,
    loaders: HashSet<ProcessId>,
    /// Processes of the scope that have asked for something.
    requesters: HashSet<ProcessId>,
}

impl Filter {
    /// A filter for a scope.
    #[must_use]
    pub fn new(scope: Scope) -> Self {
        Self { scope, requests: HashSet::new(), loaders: HashSet::new(), requesters: HashSet::new() }
    }

    /// Narrows the scope, once the command is known.
    pub fn set_scope(&mut self, scope: Scope) {
        self.scope = scope;
    }

    /// Whether an event belongs to the scope.
    pub fn belongs(&mut self, event: &Event) -> bool {
        if matches!(self.scope, Scope::Host) {
            return true;
        }
        match &event.body {
            Body::Header(_) | Body::Baseline(_) | Body::Loss(_) | Body::Clock(_) | Body::Seal(_) | Body::End(_) => true,
            Body::Request(request) => {
                let by_behalf = request.behalf.as_ref().is_some_and(|behalf| {
                    let id = ProcessId { pid: behalf.pid, start_ns: behalf.start_ns };
                    let known = self.loaders.contains(&id) || self.requesters.contains(&id);
                    known || self.scope.holds_cgroup(behalf.cgroup_id) || self.is_command(id)
                });
                let nested = request.parent_request.is_some_and(|parent| self.requests.contains(&parent));
                let ours = nested || by_behalf || self.scope.holds(&request.process, &request.ancestors);
                if let (true, Some(id)) = (ours, event.request) {
                    self.requests.insert(id);
                    self.requesters.insert(request.process.id());
                }
                ours
            }
            Body::Load(load) => match event.request {
                Some(id) => self.requests.contains(&id),
                None => self.loader(&load.process, &load.ancestors),
            },
            Body::Attempt(attempt) => match event.request {
                Some(id) => self.requests.contains(&id),
                // Nobody knows whose it is: it may be ours.
                None if attempt.origin == Origin::Unknown => {
                    self.loaders.insert(attempt.process.id());
                    true
                }
                None => self.loader(&attempt.process, &attempt.ancestors),
            },
            Body::Unload(unload) => match event.request {
                Some(id) => self.requests.contains(&id),
                None => self.scope.holds(&unload.process, &unload.ancestors),
            },
            Body::Init(init) => match event.request {
                Some(id) => self.requests.contains(&id),
                None => self.loaders.contains(&ProcessId { pid: init.pid, start_ns: init.start_ns }),
            },
            Body::Helper(_) => event.request.is_some_and(|id| self.requests.contains(&id)),
            Body::Result(outcome) => match (event.request, outcome.loader) {
                (Some(id), _) => self.requests.contains(&id),
                (None, Some(loader)) => self.loaders.contains(&loader),
                (None, None) => true,
            },
        }
    }

    fn is_command(&self, id: ProcessId) -> bool {
        let process = Process { pid: id.pid, start_ns: id.start_ns, ..Process::default() };
        self.scope.holds(&process, &[])
    }

    fn loader(&mut self, process: &Process, ancestors: &[Ancestor]) -> bool {
        let ours = self.scope.holds(process, ancestors);
        if ours {
            self.loaders.insert(process.id());
        }
        ours
    }
}
