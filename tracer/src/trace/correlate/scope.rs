//! The scope: which events belong to the traced command.

use std::collections::HashSet;

use super::recent_set::RecentSet;
use crate::{
    chain,
    event::{Ancestor, Body, Event, Origin, Process, ProcessId, RequestId, Text},
    kernel::{cgroup::OwnCgroup, process::TICK_NS},
};

/// The scope of a trace.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Scope {
    /// All events of the host.
    Host,
    /// A process and its descendants: by its own cgroup, if it has one, and by ancestry.
    Command {
        /// The process; `None` if its global id is unknown, as in a pid namespace.
        process: Option<ProcessId>,
        /// Its cgroup (v2).
        cgroup: Option<CommandCgroup>,
    },
}

/// The cgroup (v2) that was created for a command.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CommandCgroup {
    /// Its name, which no other cgroup has.
    pub name: Text,
    /// Its path from the root of the hierarchy; `None` if unknown, as in a cgroup namespace.
    pub path: Option<Text>,
    /// Its id.
    pub id: Option<u64>,
}

impl CommandCgroup {
    /// Returns whether a process is in this cgroup or in one below it.
    fn contains(&self, process: &Process) -> bool {
        if self.id.is_some() && process.cgroup_id == self.id {
            return true;
        }
        let Some(path) = process.cgroup.as_ref().map(Text::as_bytes) else { return false };
        match &self.path {
            Some(own) => {
                path.strip_prefix(own.as_bytes()).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
            }
            None => path.split(|byte| *byte == b'/').any(|component| component == self.name.as_bytes()),
        }
    }
}

impl From<&OwnCgroup> for CommandCgroup {
    fn from(own: &OwnCgroup) -> Self {
        Self { name: own.name(), path: own.path(), id: own.id() }
    }
}

impl Scope {
    /// Whether a cgroup is the one of the scope.
    fn contains_cgroup(&self, id: Option<u64>) -> bool {
        match self {
            Self::Host => true,
            Self::Command { cgroup, .. } => id.is_some() && cgroup.as_ref().is_some_and(|cgroup| cgroup.id == id),
        }
    }

    fn contains(&self, process: &Process, ancestors: &[Ancestor]) -> bool {
        let Self::Command { process: command, cgroup } = self else { return true };
        // The start time of the command has only clock tick precision; a pid is not reused within one tick.
        let same = |id: ProcessId| {
            command.is_some_and(|command| id.pid == command.pid && id.start_ns / TICK_NS == command.start_ns / TICK_NS)
        };
        same(process.id())
            || ancestors.iter().any(|ancestor| same(ancestor.id()))
            || cgroup.as_ref().is_some_and(|cgroup| cgroup.contains(process))
    }
}

/// Decides which events are in scope.
#[derive(Debug)]
pub struct Filter {
    scope: Scope,
    /// Requests and loaders in scope whose result is still to come.
    requests: HashSet<RequestId>,
    loaders: HashSet<ProcessId>,
    /// Those that ended recently: kernel threads may still act for them.
    ended_requests: RecentSet<RequestId>,
    ended_loaders: RecentSet<ProcessId>,
    /// Processes in scope that made a request recently.
    requesters: RecentSet<ProcessId>,
}

impl Filter {
    /// Creates a filter for a scope.
    #[must_use]
    pub fn new(scope: Scope) -> Self {
        Self {
            scope,
            requests: HashSet::new(),
            loaders: HashSet::new(),
            ended_requests: RecentSet::default(),
            ended_loaders: RecentSet::default(),
            requesters: RecentSet::default(),
        }
    }

    /// Narrows the scope once the command is known.
    pub fn set_scope(&mut self, scope: Scope) {
        self.scope = scope;
    }

    /// Whether no request or load of the command is in flight. `false` if the scope is the host.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        matches!(self.scope, Scope::Command { .. }) && self.requests.is_empty() && self.loaders.is_empty()
    }

    /// Returns whether an event is in scope.
    pub fn belongs(&mut self, event: &Event) -> bool {
        if matches!(self.scope, Scope::Host) {
            return true;
        }
        match &event.body {
            Body::Header(_) | Body::Baseline(_) | Body::Loss(_) | Body::Clock(_) | Body::Seal(_) | Body::End(_) => true,
            Body::Request(request) => {
                let by_behalf = request.behalf.as_ref().is_some_and(|behalf| {
                    let id = ProcessId { pid: behalf.pid, start_ns: behalf.start_ns };
                    let known = self.has_loader(id) || self.requesters.contains_and_touch(id);
                    known || self.scope.contains_cgroup(behalf.cgroup_id) || self.is_command(id)
                });
                let nested = request.parent_request.is_some_and(|parent| self.has_request(parent));
                let ours = nested || by_behalf || self.scope.contains(&request.process, &request.ancestors);
                if let (true, Some(id)) = (ours, event.request) {
                    self.requests.insert(id);
                    self.requesters.insert(request.process.id());
                }
                ours
            }
            Body::Load(load) => match event.request {
                Some(id) => self.has_request(id),
                // Its cause is unknown: it may be in scope.
                None if load.origin == Origin::Unknown => {
                    self.loaders.insert(load.process.id());
                    true
                }
                None => self.loader(&load.process, &load.ancestors),
            },
            Body::Attempt(attempt) => match event.request {
                Some(id) => self.has_request(id),
                // No result will follow.
                None if chain::is_unload(attempt) => {
                    let ours =
                        attempt.origin == Origin::Unknown || self.scope.contains(&attempt.process, &attempt.ancestors);
                    if ours {
                        self.ended_loaders.insert(attempt.process.id());
                    }
                    ours
                }
                // Its cause is unknown: it may be in scope.
                None if attempt.origin == Origin::Unknown => {
                    self.loaders.insert(attempt.process.id());
                    true
                }
                None => self.loader(&attempt.process, &attempt.ancestors),
            },
            Body::Unload(unload) => match event.request {
                Some(id) => self.has_request(id),
                None => self.scope.contains(&unload.process, &unload.ancestors),
            },
            Body::Init(init) => match event.request {
                Some(id) => self.has_request(id),
                None => self.has_loader(ProcessId { pid: init.pid, start_ns: init.start_ns }),
            },
            Body::Helper(_) => event.request.is_some_and(|id| self.has_request(id)),
            Body::Result(outcome) => match (event.request, outcome.loader) {
                (Some(id), _) => {
                    let ours = self.has_request(id);
                    if self.requests.remove(&id) {
                        self.ended_requests.insert(id);
                    }
                    ours
                }
                (None, Some(loader)) => {
                    let ours = self.has_loader(loader);
                    if self.loaders.remove(&loader) {
                        self.ended_loaders.insert(loader);
                    }
                    ours
                }
                (None, None) => true,
            },
        }
    }

    fn has_request(&mut self, id: RequestId) -> bool {
        self.requests.contains(&id) || self.ended_requests.contains_and_touch(id)
    }

    fn has_loader(&mut self, id: ProcessId) -> bool {
        self.loaders.contains(&id) || self.ended_loaders.contains_and_touch(id)
    }

    fn is_command(&self, id: ProcessId) -> bool {
        let process = Process { pid: id.pid, start_ns: id.start_ns, ..Process::default() };
        self.scope.contains(&process, &[])
    }

    fn loader(&mut self, process: &Process, ancestors: &[Ancestor]) -> bool {
        let ours = self.scope.contains(process, ancestors);
        if ours {
            self.loaders.insert(process.id());
        }
        ours
    }
}

#[cfg(test)]
mod tests {
    use super::{CommandCgroup, Filter, Scope};
    use crate::{
        chain::{Chain, Item, samples},
        event::{Attribution, Body, Event, Origin, Outcome, Process, ProcessId, RequestId, Status},
    };

    fn filter() -> Filter {
        let process = ProcessId { pid: 557, start_ns: 557 };
        Filter::new(Scope::Command { process: Some(process), cgroup: None })
    }

    fn event(request: Option<RequestId>, body: Body) -> Event {
        Event { seq: 0, time: jiff::Timestamp::UNIX_EPOCH, boot_ns: 0, request, body }
    }

    fn ends(request: Option<RequestId>, loader: Option<ProcessId>) -> Event {
        let end = Outcome { loader, ..Outcome::new(Status::Loaded, Attribution::exact()) };
        event(request, Body::Result(end))
    }

    fn chain(item: Item) -> Chain {
        if let Item::Chain(chain) = item { *chain } else { unreachable!("it is a chain") }
    }

    /// A process belongs to a cgroup by the id, or by a path at or below it, and not by a similar name.
    #[test]
    fn cgroup_contains_processes_in_and_below_it() {
        let process = |path: &str, id| Process { cgroup: Some(path.into()), cgroup_id: Some(id), ..Process::default() };
        let known = CommandCgroup { name: "own".into(), path: Some("/box/own".into()), id: Some(7) };
        let hidden = CommandCgroup { path: None, ..known.clone() };
        for (path, id, is_in_known, is_in_hidden) in [
            ("/anything", 7, true, true),
            ("/box/own", 8, true, true),
            ("/box/own/below", 8, true, true),
            ("/box/owner", 8, false, false),
            ("/box", 8, false, false),
            // The path of the other one is unknown, but its name is unique.
            ("/host/box/own/below", 8, false, true),
        ] {
            assert_eq!(known.contains(&process(path, id)), is_in_known, "{path}");
            assert_eq!(hidden.contains(&process(path, id)), is_in_hidden, "{path}");
        }
        let unnumbered = CommandCgroup { id: None, ..known };
        assert!(!unnumbered.contains(&Process::default()), "an unknown id equals no other");
    }

    /// A command is idle when each of its requests and loaders has a result; those of others do not count. The host never is.
    #[test]
    fn command_is_idle_after_its_last_result() {
        let mut filter = filter();
        let mut asked = chain(samples::outage()).request.unwrap();
        let id = RequestId { boot_ns: 1, tid: 557 };
        (asked.process.pid, asked.process.start_ns) = (2, 2);
        asked.ancestors.clear();
        assert!(!filter.belongs(&event(Some(id), Body::Request(Box::new(asked.clone())))));
        assert!(filter.is_idle());
        (asked.process.pid, asked.process.start_ns) = (557, 557);
        assert!(filter.belongs(&event(Some(id), Body::Request(Box::new(asked)))));
        assert!(!filter.is_idle());
        assert!(filter.belongs(&ends(Some(id), None)));
        assert!(filter.is_idle() && !Filter::new(Scope::Host).is_idle());
    }

    /// The memory of a long-running command is bounded, and a nested request is in scope after the end of its parent.
    #[test]
    fn ended_requests_are_kept_within_bounds() {
        let mut filter = filter();
        let asked = chain(samples::outage()).request.unwrap();
        let id = |number: u64| RequestId { boot_ns: number, tid: 557 };
        for number in 0..100_000 {
            let mut asked = asked.clone();
            asked.ancestors[0].pid = 557;
            asked.ancestors[0].start_ns = 557;
            (asked.process.pid, asked.process.start_ns) = (600, number);
            assert!(filter.belongs(&event(Some(id(number)), Body::Request(Box::new(asked)))));
            assert!(filter.belongs(&ends(Some(id(number)), None)));
        }
        assert!(filter.requests.is_empty());
        let mut nested = asked;
        nested.parent_request = Some(id(99_000));
        nested.ancestors.clear();
        (nested.process.pid, nested.process.start_ns) = (2, 2);
        assert!(filter.belongs(&event(Some(id(200_000)), Body::Request(Box::new(nested.clone())))));
        nested.parent_request = Some(id(1));
        assert!(!filter.belongs(&event(Some(id(200_001)), Body::Request(Box::new(nested)))), "it was forgotten");
    }

    /// A load of unknown origin is in scope, with its later events, in any process.
    #[test]
    fn load_of_unknown_origin_is_in_scope() {
        let mut filter = filter();
        let mut load = chain(samples::by_hand()).modules.swap_remove(0).load;
        load.ancestors.clear();
        let loader = load.process.id();
        assert!(!filter.belongs(&event(None, Body::Load(Box::new(load.clone())))));
        load.origin = Origin::Unknown;
        assert!(filter.belongs(&event(None, Body::Load(Box::new(load)))));
        assert!(filter.belongs(&ends(None, Some(loader))));
    }

    /// The result of a loader is in scope, and later events of a loader that has ended are too.
    #[test]
    fn ended_loader_stays_in_scope() {
        let mut filter = filter();
        let load = chain(samples::by_hand()).modules.swap_remove(0).load;
        let loader = load.process.id();
        for _ in 0..2 {
            let mut load = load.clone();
            load.ancestors[0].start_ns = 557;
            assert!(filter.belongs(&event(None, Body::Load(Box::new(load)))));
            assert!(filter.belongs(&ends(None, Some(loader))));
            assert!(filter.loaders.is_empty());
        }
        assert!(filter.belongs(&ends(None, Some(loader))));
        assert!(!filter.belongs(&ends(None, Some(ProcessId { pid: 9, start_ns: 9 }))));
    }
}
