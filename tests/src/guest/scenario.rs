//! One scenario in a process of its own, so that a scenario that hangs or crashes does not affect others.

use std::fs;
use std::process::ExitCode;

use anyhow::{Context as _, Result};

use crate::ctx::Ctx;
use crate::scenarios;

/// Runs the scenario in the first argument, and writes the reason of a failure to the file in the second.
pub(super) fn run(arguments: &[String]) -> Result<ExitCode> {
    let [name, reason_path] = arguments else {
        anyhow::bail!("invalid arguments {arguments:?}: expected SCENARIO FILE")
    };
    // All processes that the scenario starts can be found, and killed, by their session.
    rustix::process::setsid().context("cannot start a session")?;
    let scenario = scenarios::find(name).with_context(|| format!("unknown scenario {name:?}"))?;
    let mut ctx = Ctx::new();
    match (scenario.run)(&mut ctx) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => {
            fs::write(reason_path, format!("{error:#}")).with_context(|| format!("cannot write {reason_path}"))?;
            Ok(ExitCode::FAILURE)
        }
    }
}
