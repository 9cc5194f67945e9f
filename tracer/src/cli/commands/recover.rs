//! `kmodtrace recover`: copies the intact parts of a damaged capture.

use std::{
    fs::{File, OpenOptions, remove_file},
    io::{self, Read},
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Context;

use crate::{
    capture::{files::is_stdin, recover::recover},
    cli::io::capture_in::{Ignore, read_captures},
    logging::notice,
    output::{count, escape_str},
};

/// Arguments of `recover`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit code: 0 at least one event was recovered; 125 error.\n\n\
    Damaged frames are skipped.")]
pub struct Args {
    /// Damaged capture, which is not modified; - is standard input.
    #[arg(value_name = "FILE")]
    from: PathBuf,
    /// New file for the intact frames, which must not exist.
    #[arg(value_name = "NEW")]
    to: PathBuf,
}

pub(in crate::cli) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let Args { from, to } = args;
    let name = if is_stdin(from) { "standard input".to_owned() } else { escape_str(&from.to_string_lossy()) };
    let input: Box<dyn Read> = if is_stdin(from) {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(from).with_context(|| format!("cannot read {name}"))?)
    };
    // Captures are readable by their owner only.
    let new = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to);
    let mut new = new.with_context(|| format!("cannot create {}", to.display()))?;
    let recovered = recover(input, &mut new).with_context(|| format!("cannot recover {name}"));
    if !recovered.as_ref().is_ok_and(|recovered| recovered.events > 0) {
        remove_file(to).with_context(|| format!("cannot remove {}", to.display()))?;
    }
    let recovered = recovered?;
    anyhow::ensure!(recovered.events > 0, "cannot recover {name}: no event of it is intact");
    new.sync_all().with_context(|| format!("cannot write {}", to.display()))?;
    let bytes = |bytes: u64| count(bytes, "byte", "bytes");
    notice(&format!(
        "{}: {} copied, {} skipped",
        escape_str(&to.to_string_lossy()),
        bytes(recovered.copied_bytes),
        bytes(recovered.left_out_bytes)
    ));
    for gap in &recovered.gaps {
        notice(&format!("{name}: skipped {} at offset {}: not intact", bytes(gap.bytes), gap.offset));
    }
    read_captures(std::slice::from_ref(to), None, &mut Ignore)?.warn();
    Ok(ExitCode::SUCCESS)
}
