//! `kmodtrace snapshot CAPTURE...`: creates a snapshot of a workload, for comparing kernels.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context;

use crate::{
    chain::Item,
    cli::{
        args::boot::BootArgs,
        io::{
            capture_in::{or_service, read_captures_of},
            output_files::OutputFiles,
            print,
        },
    },
    event::{Body, Event},
    output::pretty_json,
    policy::{Recorder, Snapshot},
    stream::{Consumer, StreamInfo},
};

/// Arguments of `snapshot`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit code: 0 success; 125 error, or incomplete captures.")]
pub struct Args {
    /// Write to FILE [default: standard output].
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    boot: BootArgs,
    /// Captures of one workload: files or directories; - is standard input [default: /var/log/kmodtrace].
    #[arg(value_name = "CAPTURE")]
    captures: Vec<PathBuf>,
}

pub(in crate::cli) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let captures = or_service(&args.captures)?;
    let boot_id = args.boot.boot_id(&captures)?;
    let mut outputs = OutputFiles::new(&captures)?;
    let file = args.output.as_deref().map(|path| outputs.open(path)).transpose()?;
    let snapshot = of_captures(&captures, boot_id.as_deref())?;
    let text = pretty_json(&snapshot).context("cannot write the snapshot")? + "\n";
    match file {
        Some(mut file) => {
            file.write_all(text.as_bytes()).and_then(|()| file.flush()).context("cannot write the snapshot")?;
            outputs.keep()?;
        }
        None => print::stdout(&text)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The snapshot of complete captures.
pub(in crate::cli) fn of_captures(paths: &[PathBuf], boot_id: Option<&str>) -> anyhow::Result<Snapshot> {
    let mut recording = Recording(Recorder::default());
    read_captures_of(paths, boot_id, None, &mut recording)?.require_complete("create a snapshot")?;
    Ok(recording.0.finish())
}

/// Feeds headers and chains to the snapshot.
struct Recording(Recorder);

impl Consumer for Recording {
    fn event(&mut self, event: &Event, _: &StreamInfo) -> io::Result<()> {
        if let Body::Header(header) = &event.body {
            self.0.header(header);
        }
        Ok(())
    }

    fn item(&mut self, item: &Item, _: &StreamInfo) -> io::Result<()> {
        if let Item::Chain(chain) = item {
            self.0.chain(chain);
        }
        Ok(())
    }
}

/// Number of bytes that decide whether a file is a snapshot.
const BEGIN_BYTES: u64 = 64;

/// Whether the first bytes of a file are those of a snapshot: one object, pretty-printed or compact (as of `jq -c`).
fn is_snapshot(begin: &[u8]) -> bool {
    let rest = begin.trim_ascii_start().strip_prefix(b"{");
    let begins = |rest: &[u8]| {
        let keys: [&[u8]; 4] = [b"\"snapshot\"", b"\"source\"", b"\"compared\"", b"\"seen\""];
        keys.iter().any(|key| rest.trim_ascii_start().starts_with(key))
    };
    rest.is_some_and(|rest| rest.starts_with(b"\n") || begins(rest))
}

/// Reads a snapshot, or creates one from a capture.
pub(in crate::cli) fn open(path: &Path) -> anyhow::Result<Snapshot> {
    if path.is_file() {
        let cannot = || format!("cannot read {}", path.display());
        let mut begin = Vec::new();
        File::open(path).with_context(cannot)?.take(BEGIN_BYTES).read_to_end(&mut begin).with_context(cannot)?;
        if is_snapshot(&begin) {
            let text = fs::read(path).with_context(cannot)?;
            let cannot = || format!("cannot read {}", path.display());
            return String::from_utf8(text).with_context(cannot)?.parse().with_context(cannot);
        }
    }
    of_captures(&[path.to_owned()], None)
}
