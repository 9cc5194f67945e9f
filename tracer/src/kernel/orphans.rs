//! Orphans: what a command leaves behind becomes a child of this process, not of init, so that it still descends from it.

use std::{io, os::unix::process::ExitStatusExt as _, process::ExitStatus};

use rustix::{
    io::Errno,
    process::{WaitOptions, getpid, set_child_subreaper, wait},
};

/// Makes this process the parent of all descendants whose own parent exits.
///
/// # Errors
/// If the kernel refuses.
pub fn adopt_orphans() -> io::Result<()> {
    Ok(set_child_subreaper(Some(getpid()))?)
}

/// Children that have exited.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Reaped {
    /// The exit status of the command, if it is one of them.
    pub command: Option<ExitStatus>,
    /// No child is left, so no descendant of the command runs any more.
    pub is_last: bool,
}

/// Removes all children that have exited, adopted ones included, which would use up process ids.
///
/// # Errors
/// If the kernel refuses.
pub fn reap_children(command: u32) -> io::Result<Reaped> {
    let mut reaped = Reaped { command: None, is_last: false };
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) if pid.as_raw_nonzero().get().unsigned_abs() == command => {
                reaped.command = Some(ExitStatus::from_raw(status.as_raw()));
            }
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) => return Ok(reaped),
            Err(Errno::CHILD) => return Ok(Reaped { is_last: true, ..reaped }),
            Err(error) => return Err(error.into()),
        }
    }
}
