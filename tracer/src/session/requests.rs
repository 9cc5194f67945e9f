//! Requests on their way, from asking to their last event.

use tracer_ebpf::wire;

use super::verdict::Failure;
use crate::event::{Outcome, ProcessId, Request, RequestId, Text};

/// A request's state.
#[derive(Debug)]
pub(super) struct InFlight {
    pub name: Text,
    /// When the task entered `__request_module`, or was asked where that was not seen.
    pub began_ns: u64,
    pub process: ProcessId,
    /// The request event, until it is known whether the requester waits.
    pub held: Option<Box<Request>>,
    pub admitted: bool,
    pub handed_over: bool,
    pub helper: Option<ProcessId>,
    /// Modules that arrived through it and stayed.
    pub loaded: Vec<String>,
    pub failures: Vec<Failure>,
    /// Decided, but events may still follow until the helper is gone.
    pub ending: Option<Ending>,
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
    pub last_failure: Option<Failure>,
}

/// An id as the kernel side gives it; `None` for [`wire::RequestKey::NONE`].
pub(super) fn request_id(key: wire::RequestKey) -> Option<RequestId> {
    (key.boot_ns != 0).then_some(RequestId { boot_ns: key.boot_ns, tid: key.tid })
}

/// A process as the kernel side gives it.
pub(super) fn process_id(key: wire::ProcessKey) -> ProcessId {
    ProcessId { pid: key.pid, start_ns: key.start_ns }
}
