//! Processes that load modules without a request, and how that ends.

use std::collections::BTreeMap;

use super::{
    Tracker,
    environment::Environment,
    outcome::{Failure, errno_name},
    round_robin::RoundRobin,
    unresolved::unseen,
};
use crate::event::{Attribution, Body, Outcome, ProcessId, Status};

/// A process that is not a kmod tool has completed an operation when it is inactive for this long.
pub(super) const PAUSE_NS: u64 = 1_000_000_000;

/// Maximum number of loaders. More than this are processes that fail in a loop.
const LIMIT: usize = 1 << 16;

/// A process that loads modules without a request.
#[derive(Debug, Default)]
pub(super) struct Loader {
    pub began_ns: u64,
    pub last_ns: u64,
    /// It is a kmod tool, which exits when its work is done.
    pub is_tool: bool,
    pub loaded: usize,
    /// Inits that succeeded after the load was reported with an earlier operation.
    pub late_inits: usize,
    /// Module inits in progress: the process is not idle while one runs.
    pub in_init: usize,
    pub last_failure: Option<Failure>,
}

impl Loader {
    /// Whether inactivity ends an operation.
    pub(super) const fn may_pause(&self) -> bool {
        !self.is_tool
    }

    fn outcome(&self) -> Outcome {
        match &self.last_failure {
            Some(failure) => Outcome {
                code: Some(failure.ret),
                errno: Some(errno_name(failure.ret)),
                detail: Some(failure.detail()),
                ..Outcome::new(Status::Failed, Attribution::exact())
            },
            None if self.in_init > 0 => unseen("the end of a module's init was not seen"),
            None if self.loaded + self.late_inits == 0 => Outcome::new(Status::AlreadyLoaded, Attribution::exact()),
            None => Outcome::new(Status::Loaded, Attribution::exact()),
        }
    }
}

/// All loaders.
#[derive(Debug, Default)]
pub(super) struct Loaders {
    open: BTreeMap<ProcessId, Loader>,
    looks: RoundRobin<ProcessId>,
}

impl Loaders {
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    pub(super) fn get(&self, process: ProcessId) -> Option<&Loader> {
        self.open.get(&process)
    }

    pub(super) fn get_mut(&mut self, process: ProcessId) -> Option<&mut Loader> {
        self.open.get_mut(&process)
    }

    /// The next loaders to check, round-robin.
    pub(super) fn next_to_check(&mut self, limit: usize) -> Vec<ProcessId> {
        let Self { open, looks } = self;
        looks.next(limit, |range, count| open.range(range).map(|(process, _)| *process).take(count).collect())
    }

    /// The first loader, if the table is full.
    fn first_if_full(&self) -> Option<ProcessId> {
        if self.open.len() < LIMIT { None } else { self.open.first_key_value().map(|(process, _)| *process) }
    }
}

impl<K: Environment> Tracker<K> {
    /// Notes an action of a loader.
    pub(super) fn loader_seen(&mut self, process: ProcessId, boot_ns: u64) -> &mut Loader {
        if self.loaders.get(process).is_none()
            && let Some(first_if_full) = self.loaders.first_if_full()
        {
            self.loader_ended(first_if_full);
        }
        let loader = self.loaders.open.entry(process).or_default();
        if loader.began_ns == 0 {
            loader.began_ns = boot_ns;
        }
        loader.last_ns = loader.last_ns.max(boot_ns);
        loader
    }

    /// Emits the result of a loader that has exited or become inactive.
    pub(super) fn loader_ended(&mut self, process: ProcessId) {
        let Some(loader) = self.loaders.open.remove(&process) else { return };
        let mut outcome = loader.outcome();
        outcome.loader = Some(process);
        outcome.duration_ns = Some(loader.last_ns.saturating_sub(loader.began_ns));
        self.emit(loader.last_ns, None, Body::Result(outcome));
    }

    /// Ends all loaders.
    pub(super) fn loaders_at_the_end(&mut self) {
        let loaders: Vec<ProcessId> = self.loaders.open.keys().copied().collect();
        for loader in loaders {
            self.loader_ended(loader);
        }
    }
}
