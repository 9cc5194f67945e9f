//! `kmodtrace recover`: what is good of a capture that was torn or damaged.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read},
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Context;

use crate::{capture::verify::Verifier, logging::say};

/// Arguments of `recover`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit code: 0 something was recovered, 125 error.")]
pub struct Args {
    /// The damaged capture; it is not changed.
    #[arg(value_name = "FILE")]
    from: PathBuf,
    /// Where its clean prefix goes: whole frames, byte for byte. It must not exist.
    #[arg(value_name = "NEW")]
    to: PathBuf,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let Args { from, to } = args;
    if from.as_os_str() == "-" {
        anyhow::bail!("recover reads its input twice: put standard input into a file, and name that");
    }
    let open = || File::open(from).with_context(|| format!("cannot read {}", from.display()));
    let report = Verifier::new(None).file(open()?).with_context(|| from.display().to_string())?;
    if report.good_bytes == 0 {
        let why = if report.problems.is_empty() { "it is empty".to_owned() } else { report.problems.join("; ") };
        anyhow::bail!("{} begins with nothing that is whole: {why}", from.display());
    }
    // As private as what it was.
    let mut new = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(to)
        .with_context(|| format!("cannot make {}", to.display()))?;
    let copied =
        io::copy(&mut open()?.take(report.good_bytes), &mut new).and_then(|bytes| new.sync_all().map(|()| bytes));
    let copied = copied.with_context(|| format!("cannot write {}", to.display()))?;
    let left = from.metadata().map_or(0, |metadata| metadata.len().saturating_sub(copied));
    say(&format!("{}: {copied} bytes copied, {left} left behind", to.display()));
    for problem in &report.problems {
        say(&format!("{}: {problem}", from.display()));
    }
    Ok(ExitCode::SUCCESS)
}
