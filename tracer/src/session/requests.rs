//! Requests on their way, from asking to their last event.

use super::verdict::Failure;
use crate::event::{Outcome, ProcessId, Request, Text};

/// A request's state.
#[derive(Debug)]
pub(super) struct InFlight {
    pub name: Text,
    /// When the task entered `__request_module`, or was asked where that was not seen.
    pub began_ns: u64,
    pub process: ProcessId,
    /// The request event, until it is known whether the requester waits.
    pub held: Option<Box<Request>>,
    /// When it was found to have got one of the kernel's places.
    pub admitted_ns: Option<u64>,
    /// A modprobe is run for it.
    pub handed_over: bool,
    pub helper: Option<ProcessId>,
    /// Whether the helper was found gone at the last look.
    pub helper_gone: bool,
    /// Modules that arrived through it and stayed.
    pub loaded: Vec<String>,
    pub failures: Vec<Failure>,
    /// When the same thread entered `__request_module` again: this one is over, though nothing told how.
    pub over_ns: Option<u64>,
    /// When the requester was first found gone although no result had come.
    pub gone_ns: Option<u64>,
    /// Decided, but events may still follow until the helper is gone.
    pub ending: Option<Ending>,
}

impl InFlight {
    /// It got a place, and a modprobe is run for it.
    pub(super) fn is_run(&mut self, boot_ns: u64) {
        self.admitted_ns.get_or_insert(boot_ns);
        self.handed_over = true;
    }

    /// Whether it has one of the kernel's places.
    pub(super) fn has_place(&self) -> bool {
        self.admitted_ns.is_some() && self.ending.is_none() && self.over_ns.is_none() && !self.helper_gone
    }
}

/// An end that waits for its helper.
#[derive(Debug)]
pub(super) struct Ending {
    pub outcome: Outcome,
    pub boot_ns: u64,
}

/// A process that loads modules by itself.
#[derive(Debug, Default)]
pub(super) struct Loader {
    pub began_ns: u64,
    pub last_ns: u64,
    pub loaded: usize,
    /// Module inits that have begun and not ended: it is not idle while one runs.
    pub in_init: usize,
    pub last_failure: Option<Failure>,
    /// Whether it was found gone at the last look.
    pub gone: bool,
}
