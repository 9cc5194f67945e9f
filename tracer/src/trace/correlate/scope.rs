//! The scope: which events belong to the traced command.

use std::collections::HashSet;

use super::recent_set::RecentSet;
use crate::{
    chain,
    event::{Behalf, Body, Descent, Event, Origin, Process, ProcessId, RequestId, Text},
    kernel::cgroup::OwnCgroup,
};

/// The scope of a trace.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Scope {
    /// All events of the host.
    Host,
    /// The descendants of this process that are the command, by the kernel's record of parents: what detaches itself must get this
    /// process as its parent (`PR_SET_CHILD_SUBREAPER`). Also the processes in the command's own cgroup, if it has one: they may
    /// have more generations above them than are followed.
    Command {
        /// Its cgroup.
        cgroup: Option<CommandCgroup>,
    },
}

/// The cgroup that was created for a command.
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
    fn contains(&self, process: &Process) -> bool {
        let Self::Command { cgroup } = self else { return true };
        match cgroup {
            _ if process.in_command => true,
            Some(cgroup) => cgroup.contains(process),
            // It may be in scope.
            None => process.descent == Some(Descent::Unknown),
        }
    }

    /// Whether the creator of a kernel thread is in scope.
    fn contains_creator(&self, creator: &Behalf) -> bool {
        let Self::Command { cgroup } = self else { return true };
        let of_cgroup = |cgroup: &CommandCgroup| cgroup.id.is_some() && cgroup.id == creator.cgroup_id;
        creator.in_command || cgroup.as_ref().is_some_and(of_cgroup)
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
    /// No process of the command runs any more.
    has_exited: bool,
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
            has_exited: false,
        }
    }

    /// Narrows the scope once the command is known.
    pub fn set_scope(&mut self, scope: Scope) {
        self.scope = scope;
    }

    /// Whether no request or load of the command is in flight. `false` if the scope is the host.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        let is_command = matches!(self.scope, Scope::Command { .. });
        is_command && self.requests.is_empty() && (self.has_exited || self.loaders.is_empty())
    }

    /// Notes that no process of the command runs any more: its loaders have ended.
    pub const fn command_has_exited(&mut self) {
        self.has_exited = true;
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
                    known || self.scope.contains_creator(behalf)
                });
                let nested = request.parent_request.is_some_and(|parent| self.has_request(parent));
                let ours = nested || by_behalf || self.scope.contains(&request.process);
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
                None => self.loader(&load.process),
            },
            Body::Attempt(attempt) => match event.request {
                Some(id) => self.has_request(id),
                // No result will follow.
                None if chain::is_unload(attempt) => {
                    let ours = attempt.origin == Origin::Unknown || self.scope.contains(&attempt.process);
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
                None => self.loader(&attempt.process),
            },
            Body::Unload(unload) => match event.request {
                Some(id) => self.has_request(id),
                None => self.scope.contains(&unload.process),
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

    fn loader(&mut self, process: &Process) -> bool {
        let ours = self.scope.contains(process);
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
        event::{Attribution, Body, Descent, Event, Origin, Outcome, Process, ProcessId, RequestId, Status},
    };

    fn filter() -> Filter {
        Filter::new(Scope::Command { cgroup: None })
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

    /// Without a cgroup, a process whose descent is unknown may be in scope; with one, the cgroup decides.
    #[test]
    fn process_of_unknown_descent_may_be_in_scope() {
        let unknown = Process { descent: Some(Descent::Unknown), ..Process::default() };
        let of_init = Process { descent: Some(Descent::Init), ..Process::default() };
        let in_command = Process { in_command: true, ..unknown.clone() };
        let cgroup = CommandCgroup { name: "own".into(), path: None, id: Some(7) };
        let (bare, placed) = (Scope::Command { cgroup: None }, Scope::Command { cgroup: Some(cgroup) });
        assert!(bare.contains(&unknown) && !placed.contains(&unknown));
        assert!(!bare.contains(&of_init) && !placed.contains(&of_init));
        assert!(bare.contains(&in_command) && placed.contains(&in_command));
        let inside = Process { cgroup_id: Some(7), ..unknown };
        assert!(placed.contains(&inside));
    }

    /// A command is idle when each of its requests and loaders has a result; those of others do not count. The host never is.
    #[test]
    fn command_is_idle_after_its_last_result() {
        let mut filter = filter();
        let mut asked = chain(samples::outage()).request.unwrap();
        let id = RequestId { boot_ns: 1, tid: 557 };
        assert!(!filter.belongs(&event(Some(id), Body::Request(Box::new(asked.clone())))));
        assert!(filter.is_idle());
        (asked.process.pid, asked.process.in_command) = (2, true);
        assert!(filter.belongs(&event(Some(id), Body::Request(Box::new(asked)))));
        assert!(!filter.is_idle());
        assert!(filter.belongs(&ends(Some(id), None)));
        assert!(filter.is_idle() && !Filter::new(Scope::Host).is_idle());
    }

    /// A loader whose end is unknown is not in flight after the exit of all processes of the command, but its requests are.
    #[test]
    fn command_that_has_exited_has_no_loaders() {
        let mut filter = filter();
        let mut load = chain(samples::by_hand()).modules.swap_remove(0).load;
        load.process.in_command = true;
        assert!(filter.belongs(&event(None, Body::Load(Box::new(load)))));
        assert!(!filter.is_idle());
        filter.command_has_exited();
        assert!(filter.is_idle());
        let mut asked = chain(samples::outage()).request.unwrap();
        asked.process.in_command = true;
        assert!(filter.belongs(&event(Some(RequestId { boot_ns: 1, tid: 1 }), Body::Request(Box::new(asked)))));
        assert!(!filter.is_idle());
    }

    /// The memory of a long-running command is bounded, and a nested request is in scope after the end of its parent.
    #[test]
    fn ended_requests_are_kept_within_bounds() {
        let mut filter = filter();
        let asked = chain(samples::outage()).request.unwrap();
        let id = |number: u64| RequestId { boot_ns: number, tid: 557 };
        for number in 0..100_000 {
            let mut asked = asked.clone();
            (asked.process.start_ns, asked.process.in_command) = (number, true);
            assert!(filter.belongs(&event(Some(id(number)), Body::Request(Box::new(asked)))));
            assert!(filter.belongs(&ends(Some(id(number)), None)));
        }
        assert!(filter.requests.is_empty());
        let mut nested = asked;
        nested.parent_request = Some(id(99_000));
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
            load.process.in_command = true;
            assert!(filter.belongs(&event(None, Body::Load(Box::new(load)))));
            assert!(filter.belongs(&ends(None, Some(loader))));
            assert!(filter.loaders.is_empty());
        }
        assert!(filter.belongs(&ends(None, Some(loader))));
        assert!(!filter.belongs(&ends(None, Some(ProcessId { pid: 9, start_ns: 9 }))));
    }
}
