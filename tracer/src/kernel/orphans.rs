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

/// Removes all children that have exited, adopted ones included, which would use up process ids. Returns the exit status of
/// `command` if it is one of them.
///
/// # Errors
/// If the kernel refuses.
pub fn reap_children(command: u32) -> io::Result<Option<ExitStatus>> {
    let mut of_command = None;
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) if pid.as_raw_nonzero().get().unsigned_abs() == command => {
                of_command = Some(ExitStatus::from_raw(status.as_raw()));
            }
            Ok(Some(_)) => {}
            Ok(None) | Err(Errno::CHILD) => return Ok(of_command),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
