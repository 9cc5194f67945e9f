//! The guest's side of the rig: pid 1, and the programs it starts.

mod act;
mod address;
mod agent;
mod bench;
mod cleanup;
mod command;
mod init;
mod initramfs;
mod port;
mod scenario;
mod shell;
mod suite;
mod system;

use std::process::ExitCode;

use anyhow::{Result, bail};

pub use act::Deed;
pub(crate) use act::READY;
pub(crate) use command::{ENVIRONMENT, code_of};
pub use system::System;

/// Runs what the first argument names; none means pid 1.
///
/// # Errors
/// When the part that was asked for cannot do its work.
pub fn main(arguments: &[String]) -> Result<ExitCode> {
    match arguments.first().map(String::as_str) {
        None => init::run(),
        Some("agent") => agent::run(),
        Some("scenario") => scenario::run(&arguments[1..]),
        Some("act") => act::run(&arguments[1..]),
        Some("bench") => bench::run(&arguments[1..]),
        Some("ask") => bench::ask(&arguments[1..]),
        Some(other) => bail!("no part named {other:?}"),
    }
}
