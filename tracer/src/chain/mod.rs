//! Builds chains from events: the request, its helper, its modules, its result, and nested chains.
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

/// The key of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ChainKey {
    /// A kernel request.
    Request(RequestId),
    /// A process that loads modules explicitly.
    Loader(ProcessId),
}

impl ChainKey {
    /// The key of the chain that an event belongs to; `None` for events that belong to no chain.
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

/// Returns whether this is a failed unload. Without a request it has no result event.
pub(crate) fn is_unload(attempt: &Attempt) -> bool {
    attempt.syscall == "delete_module"
}

/// A module of a chain, in order of arrival.
#[derive(Clone, Debug, PartialEq)]
pub struct Module {
    /// Its load event.
    pub load: Load,
    /// When it arrived: nanoseconds since boot.
    pub boot_ns: u64,
    /// The end of its init; absent if it was not seen.
    pub init: Option<Init>,
}

/// Whether a chain contains all events of its key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Part {
    /// All that were seen.
    #[default]
    Whole,
    /// The remainder after a chain of the same key that was emitted early: count its modules, but not the request a
    /// second time.
    Rest,
    /// A single event with the id of another one of its type; it is unknown which one is valid.
    Duplicate,
}

/// A request or an explicit load and everything that it caused.
#[derive(Clone, Debug, PartialEq)]
pub struct Chain {
    /// Its key.
    pub key: ChainKey,
    /// Its beginning.
    pub time: Timestamp,
    /// The same, nanoseconds since boot.
    pub boot_ns: u64,
    /// Whether it is complete.
    pub part: Part,
    /// The request; absent for loaders, and when its event was lost.
    pub request: Option<Request>,
    /// The helper.
    pub helper: Option<Helper>,
    /// The modules it loaded.
    pub modules: Vec<Module>,
    /// Its failed system calls.
    pub attempts: Vec<Attempt>,
    /// The outcome; absent while it is running and if the result was lost.
    pub result: Option<Outcome>,
    /// Requests made by its helper, by its modules' inits or on its behalf, oldest first.
    pub nested: Vec<Chain>,
    /// Notes on what is missing; empty for a complete chain.
    pub incomplete: Vec<String>,
}

impl Chain {
    /// The load that identifies the requester of a module in an explicit load: the first one, unless the process has
    /// executed another program since.
    #[must_use]
    pub fn load_behind<'a>(&'a self, module: &'a Module) -> &'a Load {
        let program = |load: &'a Load| (&load.process.exe, &load.process.comm, load.process.uid);
        let first = self.modules.first().map(|first| &first.load);
        first.filter(|first| program(first) == program(&module.load)).unwrap_or(&module.load)
    }
}

/// The builder's output, in order of completion.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// A chain that has ended.
    Chain(Box<Chain>),
    /// An event that belongs to no chain: header, baseline, unload, failed unload, loss, end.
    Event(Box<Event>),
}
