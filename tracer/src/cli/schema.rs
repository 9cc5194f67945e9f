//! `kmodtrace schema`: the contract of events, for machines.

use std::process::ExitCode;

use anyhow::Context;

use super::print;
use crate::event;

/// Arguments of `schema`.
#[derive(Debug, clap::Args)]
pub struct Args {}

pub(super) fn run(_: &Args) -> anyhow::Result<ExitCode> {
    let schema = serde_json::to_string_pretty(&event::schema()).context("cannot write the schema")?;
    print::stdout(&format!("{schema}\n")).map(|()| ExitCode::SUCCESS)
}
