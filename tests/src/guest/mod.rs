//! The guest side: pid 1 and the programs that it starts.

mod action;
mod address;
mod agent;
mod bench;
mod cleanup;
mod command;
mod init;
mod initramfs;
mod map_reader;
mod port;
mod scenario;
mod shell;
mod suite;
mod system;

use std::process::ExitCode;

use anyhow::{Result, bail};

pub use action::Action;
pub(crate) use action::READY;
pub(crate) use command::{ENVIRONMENT, code_of};
pub(crate) use map_reader::READING;
pub use system::System;

/// Runs the subcommand in the first argument; no argument means pid 1.
///
/// # Errors
/// When the subcommand fails.
pub fn main(arguments: &[String]) -> Result<ExitCode> {
    match arguments.first().map(String::as_str) {
        None => init::run(),
        Some("agent") => agent::run(),
        Some("scenario") => scenario::run(&arguments[1..]),
        Some("act") => action::run(&arguments[1..]),
        Some("read-map") => map_reader::run(),
        Some("bench") => bench::run(&arguments[1..]),
        Some("bench-boot") => bench::boot::run(),
        Some("ask") => bench::ask(&arguments[1..]),
        Some(other) => bail!("unknown subcommand {other:?}"),
    }
}
