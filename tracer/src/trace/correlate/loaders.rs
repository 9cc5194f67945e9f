//! Processes that load modules by themselves: what they did in one go, and how that ended.

use std::collections::BTreeMap;

use super::{
    Tracker,
    environment::Environment,
    outcome::{Failure, errno_name},
    round_robin::RoundRobin,
    unresolved::unseen,
};
use crate::event::{Attribution, Body, Outcome, ProcessId, Status};

/// A process that goes on after its work is done has done a piece of it when it pauses this long.
pub(super) const PAUSE_NS: u64 = 1_000_000_000;

/// Loaders at a time: more are processes that fail in a loop.
const LIMIT: usize = 1 << 16;

/// A process that loads modules by itself.
#[derive(Debug, Default)]
pub(super) struct Loader {
    pub began_ns: u64,
    pub last_ns: u64,
    /// It is a program of kmod: it ends when its work is done.
    pub is_tool: bool,
    pub loaded: usize,
    /// Inits that ended well and whose arrival was told in an earlier piece of work.
    pub late_inits: usize,
    /// Module inits that have begun and not ended: it is not idle while one runs.
    pub in_init: usize,
    pub last_failure: Option<Failure>,
}

impl Loader {
    /// Whether a pause ends a piece of its work.
    pub(super) const fn may_pause(&self) -> bool {
        !self.is_tool
    }

    fn outcome(&self) -> Outcome {
        match &self.last_failure {
            Some(failure) => Outcome {
                code: Some(failure.ret),
                errno: Some(errno_name(failure.ret)),
                detail: Some(format!("{}: {}", failure.what, errno_name(failure.ret))),
                ..Outcome::new(Status::Failed, Attribution::exact())
            },
            None if self.in_init > 0 => unseen("the end of a module's init was not seen"),
            None if self.loaded + self.late_inits == 0 => Outcome::new(Status::AlreadyLoaded, Attribution::exact()),
            None => Outcome::new(Status::Loaded, Attribution::exact()),
        }
    }
}

/// All of them.
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

    /// The next ones to look at, in turn.
    pub(super) fn next_to_check(&mut self, limit: usize) -> Vec<ProcessId> {
        let Self { open, looks } = self;
        looks.next(limit, |range, count| open.range(range).map(|(process, _)| *process).take(count).collect())
    }

    /// One of them, where there is no room for one more.
    fn oldest_if_full(&self) -> Option<ProcessId> {
        if self.open.len() < LIMIT { None } else { self.open.first_key_value().map(|(process, _)| *process) }
    }
}

impl<K: Environment> Tracker<K> {
    /// Takes note that a process loads by itself.
    pub(super) fn loader_seen(&mut self, process: ProcessId, boot_ns: u64) -> &mut Loader {
        if self.loaders.get(process).is_none()
            && let Some(oldest_if_full) = self.loaders.oldest_if_full()
        {
            self.loader_ended(oldest_if_full);
        }
        let loader = self.loaders.open.entry(process).or_default();
        if loader.began_ns == 0 {
            loader.began_ns = boot_ns;
        }
        loader.last_ns = loader.last_ns.max(boot_ns);
        loader
    }

    /// A process that loads modules by itself has ended, or paused.
    pub(super) fn loader_ended(&mut self, process: ProcessId) {
        let Some(loader) = self.loaders.open.remove(&process) else { return };
        let mut outcome = loader.outcome();
        outcome.loader = Some(process);
        outcome.duration_ns = Some(loader.last_ns.saturating_sub(loader.began_ns));
        self.emit(loader.last_ns, None, Body::Result(outcome));
    }

    /// Ends all.
    pub(super) fn loaders_at_the_end(&mut self) {
        let loaders: Vec<ProcessId> = self.loaders.open.keys().copied().collect();
        for loader in loaders {
            self.loader_ended(loader);
        }
    }
}
