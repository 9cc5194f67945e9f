//! `kmodtrace schema`: prints the JSON Schema of events.

use std::process::ExitCode;

use anyhow::Context;

use crate::{cli::io::print, event};

/// Arguments of `schema`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit code: 0 success; 125 error.")]
pub struct Args {}

pub(in crate::cli) fn run(_: &Args) -> anyhow::Result<ExitCode> {
    let schema = serde_json::to_string_pretty(&event::schema()).context("cannot write the schema")?;
    print::stdout(&format!("{schema}\n")).map(|()| ExitCode::SUCCESS)
}
