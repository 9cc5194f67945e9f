//! The guest's side of the rig: pid 1, and the programs it starts.

mod agent;
mod command;
mod init;
mod port;
mod shell;

use std::process::ExitCode;

use anyhow::{Result, bail};

/// Runs what the first argument names; none means pid 1.
///
/// # Errors
/// When the part that was asked for cannot do its work.
pub fn main(arguments: &[String]) -> Result<ExitCode> {
    match arguments.first().map(String::as_str) {
        None => init::run(),
        Some("agent") => agent::run(),
        Some(other) => bail!("no part named {other:?}"),
    }
}
