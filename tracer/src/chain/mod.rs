//! Events to chains: the request, its helper, its modules, its result, and what it caused in turn.
//!
//! Pure: no clock, no I/O. The same builder serves the live view and reports on captures.

mod builder;
mod gone;
mod lost;
mod open;

pub use builder::Builder;

use jiff::Timestamp;

use crate::event::{Attempt, Event, Helper, Init, Load, Outcome, ProcessId, Request, RequestId};

/// What a chain is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ChainKey {
    /// A request of the kernel.
    Request(RequestId),
    /// A process that loads modules by itself.
    Loader(ProcessId),
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

/// One cause and everything that came of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Chain {
    /// What it is about.
    pub key: ChainKey,
    /// When it began.
    pub time: Timestamp,
    /// The same, nanoseconds since boot.
    pub boot_ns: u64,
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

/// What the builder hands out, in order of completion.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// A chain that ended.
    Chain(Box<Chain>),
    /// An event that is a story of its own: header, baseline, unload, loss, end.
    Event(Box<Event>),
}
