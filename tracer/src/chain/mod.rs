//! Events to chains: the request, its helper, its modules, its result, and what it caused in turn.
//!
//! Pure: no clock, no I/O. The same builder serves the live view and reports on captures.

mod builder;
mod cause;
mod emitted;
mod issues;
mod lost;
mod open;
mod weight;

#[cfg(test)]
pub(crate) mod growth;
#[cfg(test)]
pub(crate) mod samples;

pub use builder::{Builder, Limits};
pub use cause::Cause;
pub(crate) use cause::is_kmod_tool;
pub use issues::{Issue, Single};

use jiff::Timestamp;

use crate::event::{Attempt, Body, Event, Helper, Init, Load, Outcome, ProcessId, Request, RequestId};

/// What a chain is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ChainKey {
    /// A request of the kernel.
    Request(RequestId),
    /// A process that loads modules by itself.
    Loader(ProcessId),
}

impl ChainKey {
    /// The chain that an event belongs to; `None` for one that is a story of its own.
    #[must_use]
    pub fn of(event: &Event) -> Option<Self> {
        let loader = match &event.body {
            Body::Request(_) | Body::Helper(_) => return event.request.map(Self::Request),
            Body::Load(load) => load.process.id(),
            Body::Init(init) => ProcessId { pid: init.pid, start_ns: init.start_ns },
            Body::Attempt(attempt) if event.request.is_none() && is_unload(attempt) => return None,
            Body::Attempt(attempt) => attempt.process.id(),
            Body::Result(outcome) => return event.request.map(Self::Request).or(outcome.loader.map(Self::Loader)),
            _ => return None,
        };
        Some(event.request.map_or(Self::Loader(loader), Self::Request))
    }
}

/// Whether somebody tried to unload a module: without a request that is no piece of work with an end of its own.
pub(crate) fn is_unload(attempt: &Attempt) -> bool {
    attempt.syscall == "delete_module"
}

/// A module of a chain, in order of arrival.
#[derive(Clone, Debug, PartialEq)]
pub struct Module {
    /// Its arrival.
    pub load: Load,
    /// When it arrived: nanoseconds since boot.
    pub boot_ns: u64,
    /// The end of its init; absent when it was not seen.
    pub init: Option<Init>,
}

/// Whether a chain has all events of its request or piece of work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Part {
    /// As far as they were seen.
    #[default]
    Whole,
    /// What came after another chain of the same key, which was handed out before its end: count its modules, but not
    /// the request a second time.
    Rest,
    /// A single event that has the id of another one of its type: which of them is true is not known.
    Duplicate,
}

/// One cause and everything that came of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Chain {
    /// What it is about.
    pub key: ChainKey,
    /// When it began.
    pub time: Timestamp,
    /// The same, nanoseconds since boot.
    pub boot_ns: u64,
    /// Whether it is all.
    pub part: Part,
    /// The request; absent for loaders, and when its event was lost.
    pub request: Option<Request>,
    /// The helper.
    pub helper: Option<Helper>,
    /// The modules it loaded.
    pub modules: Vec<Module>,
    /// System calls of it that failed.
    pub attempts: Vec<Attempt>,
    /// How it ended; absent while it runs, and when the end was lost.
    pub result: Option<Outcome>,
    /// Requests made by its helper, by its modules' inits or on its behalf, oldest first.
    pub nested: Vec<Chain>,
    /// What is missing, in words; empty for a whole chain.
    pub incomplete: Vec<String>,
}

impl Chain {
    /// The load that tells who is behind a module of a process that loads by itself: the first, unless the process has
    /// become another program since.
    #[must_use]
    pub fn load_behind<'a>(&'a self, module: &'a Module) -> &'a Load {
        let program = |load: &'a Load| (&load.process.exe, &load.process.comm, load.process.uid);
        let first = self.modules.first().map(|first| &first.load);
        first.filter(|first| program(first) == program(&module.load)).unwrap_or(&module.load)
    }
}

/// What the builder hands out, in order of completion.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// A chain that ended.
    Chain(Box<Chain>),
    /// An event that is a story of its own: header, baseline, unload, failed unload, loss, end.
    Event(Box<Event>),
}
