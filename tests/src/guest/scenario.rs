//! One scenario in a process of its own, so that one that hangs or dies takes nothing along.

use std::fs;
use std::process::ExitCode;

use anyhow::{Context as _, Result};

use crate::ctx::Ctx;
use crate::scenarios;

/// Runs the scenario that the first argument names; why it failed goes into the file that the second names.
pub(super) fn run(arguments: &[String]) -> Result<ExitCode> {
    let [name, reason_path] = arguments else { anyhow::bail!("a scenario and a file are wanted, not {arguments:?}") };
    // Everything the scenario starts can be found, and ended, by its session.
    rustix::process::setsid().context("cannot start a session")?;
    let scenario = scenarios::find(name).with_context(|| format!("no scenario {name:?}"))?;
    let mut ctx = Ctx::new();
    match (scenario.run)(&mut ctx) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => {
            fs::write(reason_path, format!("{error:#}")).with_context(|| format!("cannot write {reason_path}"))?;
            Ok(ExitCode::FAILURE)
        }
    }
}
