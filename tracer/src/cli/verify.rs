//! `kmodtrace verify`: whether anything of a capture is missing or altered.

use std::{
    fmt::Write,
    fs::File,
    io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context;

use super::{EXIT_VERDICT, events::not_a_capture, print};
use crate::{
    capture::{
        files,
        lines::LineError,
        sign::{KeyError, PublicKey},
        verify::{FileReport, Verifier},
    },
    event::Text,
    output::escape,
};

/// Arguments of `verify`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit code: 0 whole, 1 something is missing or altered or nothing vouches for it, 125 error.\n\n\
    What this is worth: the seals show accidents and partial edits. Who can write the files can also compute every seal \
    anew, and can leave out the end of a recording. Against that help a key that is not on the machine (record --sign, \
    verify --key), and hashes that are kept elsewhere (record --anchor journald, with a journal that is sent away)."
)]
pub struct Args {
    /// Captures: files, and directories with all captures in them; - is standard input. Files of one recording in order.
    #[arg(required = true, value_name = "FILE")]
    paths: Vec<PathBuf>,
    /// Each seal must be signed by the key with this public half (KEY.pub of record --sign KEY).
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// A recording that has not ended is not whole: its recorder was killed, still runs, or its end was cut off.
    #[arg(long)]
    ended: bool,
    /// Write one JSON object for each file.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let key = args.key.as_deref().map(public_key).transpose()?;
    let mut verifier = Verifier::new(key);
    let mut out = String::new();
    let mut is_whole = true;
    let mut is_ended = true;
    for path in listed(&args.paths)? {
        let name = escape(&Text::from(path.display().to_string().as_str()));
        let report = if is_stdin(&path) {
            verifier.file(io::stdin().lock()).context("standard input")?
        } else {
            let file = File::open(&path).with_context(|| format!("cannot read {name}"))?;
            let report = match verifier.file(file) {
                Err(LineError::NotACapture) => return Err(not_a_capture(&name)),
                report => report.with_context(|| name.clone())?,
            };
            // Seals that no signature vouches for are seals all the same.
            if args.key.is_some() && report.unsealed { unsigned(&path, report)? } else { report }
        };
        is_whole &= report.problems.is_empty() && !report.unsealed;
        is_ended = report.ended;
        if args.json {
            let line = serde_json::json!({ "file": name, "report": report });
            writeln!(out, "{line}").context("cannot write the report")?;
        } else {
            human(&mut out, &name, &report, args.key.is_some()).context("cannot write the report")?;
        }
    }
    // A recording that was killed may be followed by others that ended.
    is_ended &= verifier.unended() == 0;
    let lost = verifier.losses().values().fold(0, |lost: u64, count| lost.saturating_add(*count));
    if !args.json {
        for ((stage, cause), count) in verifier.losses() {
            let cause = escape(&Text::from(cause.as_str()));
            writeln!(out, "lost: {count} ({stage}, {cause})").context("cannot write the report")?;
        }
        if !is_ended {
            out.push_str("a recording has no end: its recorder still runs, was killed, or the end was cut off\n");
        }
        is_whole &= is_ended || !args.ended;
        out.push_str(match (is_whole, lost) {
            (true, 0) => "whole: nothing is missing, nothing was lost\n",
            (true, _) => "whole: nothing is missing but what the recorder itself says was lost\n",
            (false, _) => "not whole\n",
        });
    }
    is_whole &= is_ended || !args.ended;
    print::stdout(&out)?;
    Ok(if is_whole { ExitCode::SUCCESS } else { ExitCode::from(EXIT_VERDICT) })
}

/// The files that are meant; `-` is standard input.
fn listed(paths: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut listed = Vec::new();
    for path in paths {
        if is_stdin(path) {
            listed.push(path.clone());
        } else {
            listed.extend(files::list(std::slice::from_ref(path))?);
        }
    }
    Ok(listed)
}

fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Reads the public half of a key.
fn public_key(path: &Path) -> anyhow::Result<PublicKey> {
    PublicKey::load(path).map_err(|error| match error {
        KeyError::Read { source, .. } if source.kind() != io::ErrorKind::InvalidData => {
            anyhow::Error::new(source).context(format!("cannot read the public key {}", path.display()))
        }
        _ => anyhow::anyhow!(
            "{} is not a public key: it must hold 64 hexadecimal digits, as KEY.pub does, which record --sign KEY writes",
            path.display()
        ),
    })
}

/// The report of a file without a seal that the key has signed: whether there are seals at all is another question.
fn unsigned(path: &Path, report: FileReport) -> anyhow::Result<FileReport> {
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let seals = Verifier::new(None).file(file).with_context(|| path.display().to_string())?.seals;
    Ok(FileReport { seals, unsealed: seals == 0, ..report })
}

fn human(out: &mut String, name: &str, report: &FileReport, has_key: bool) -> std::fmt::Result {
    write!(out, "{name}: {} events", report.events)?;
    if let Some((first, last)) = report.range {
        write!(out, " ({first} to {last})")?;
    }
    write!(out, ", {} seals", report.seals)?;
    if report.signed > 0 || has_key {
        write!(out, ", {} signed", report.signed)?;
    }
    if report.unknown > 0 {
        write!(out, ", {} of types that this version does not know", report.unknown)?;
    }
    if let Some(hash) = &report.last_hash {
        write!(out, ", last hash {hash}")?;
    }
    out.push('\n');
    if report.unsealed {
        writeln!(out, "  is not sealed: nothing vouches for what it says")?;
    }
    for problem in &report.problems {
        writeln!(out, "  {}", escape(&Text::from(problem.as_str())))?;
    }
    Ok(())
}
