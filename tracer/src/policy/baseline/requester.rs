//! Who is behind a load, by what stays the same from run to run.

use super::super::subject::Subject;
use crate::{
    chain::Cause,
    event::{Origin, Text},
    select::Seen,
};

/// By what to know who is behind it: the executable where it is known, else the name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::policy) enum By {
    Exe(Text),
    Comm(Text),
    Nobody,
}

/// By what to know who is behind a subject.
pub(in crate::policy) fn by(subject: &Subject<'_>) -> By {
    let by = known(subject);
    if matches!(&by, By::Comm(name) if name.is_empty()) { By::Nobody } else { by }
}

fn known(subject: &Subject<'_>) -> By {
    match subject.cause() {
        Cause::Through { behalf, .. } => By::Comm(behalf.comm.clone()),
        // A modprobe by hand is anybody's: who ran it says more.
        Cause::Ran { by, .. } if subject.root.request.is_none() && subject.origin() != Origin::Request => {
            By::Comm(by.comm.clone())
        }
        Cause::Ran { tool: process, .. } | Cause::Process(process) => match &process.exe {
            Some(exe) if Seen::path(exe.as_bytes(), process.exe_truncated).is_whole() && !process.kthread => {
                By::Exe(exe.clone())
            }
            _ => By::Comm(process.comm.clone()),
        },
        Cause::Kernel(_) | Cause::Unseen => By::Nobody,
    }
}
