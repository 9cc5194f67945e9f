//! The identification of a requester that is stable between runs.

use super::super::subject::Subject;
use crate::{
    chain::Cause,
    event::{Origin, Text},
    select::Seen,
};

/// The identification of a process: its executable if known, else its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::policy) enum By {
    Exe(Text),
    Comm(Text),
    Unknown,
}

/// The identification of a subject's requester.
pub(in crate::policy) fn by(subject: &Subject<'_>) -> By {
    let by = known(subject);
    if matches!(&by, By::Comm(name) if name.is_empty()) { By::Unknown } else { by }
}

fn known(subject: &Subject<'_>) -> By {
    match subject.cause() {
        Cause::Through { behalf, .. } => By::Comm(behalf.comm.clone()),
        // Any process can run modprobe: its parent identifies the requester better.
        Cause::Ran { by, .. } if subject.root.request.is_none() && subject.origin() != Origin::Request => {
            By::Comm(by.comm.clone())
        }
        Cause::Ran { tool: process, .. } | Cause::Process(process) => match &process.exe {
            Some(exe) if Seen::path(exe.as_bytes(), process.exe_truncated).is_complete() && !process.kthread => {
                By::Exe(exe.clone())
            }
            _ => By::Comm(process.comm.clone()),
        },
        Cause::Kernel(_) | Cause::Undetermined { .. } | Cause::Unseen => By::Unknown,
    }
}
