//! `kmodtrace verify`: checks the integrity of captures.

use std::{collections::BTreeMap, fmt::Write, io, path::PathBuf, process::ExitCode};

use anyhow::Context;
use serde::Serialize;

use crate::{
    cli::{
        EXIT_VERDICT,
        io::{capture_in::read_captures, print},
        public_key,
    },
    output::{count, escape_str},
    stream::{Consumer, FileSummary, Issue, IssueKind, Severity, StreamSummary},
};

/// Arguments of `verify`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit code: 0 intact; 1 incomplete, altered, damaged or not sealed; 125 error.\n\n\
    Seals detect accidents and partial edits. An attacker who can write the files can recompute all seals or truncate a \
    recording; a secret key stored elsewhere (record --sign, verify --key) and remote copies of the hashes (record \
    --anchor journald with a forwarded journal) detect that, too.")]
pub struct Args {
    /// Captures: files or directories, files of one recording in order; - is standard input.
    #[arg(required = true, value_name = "FILE")]
    paths: Vec<PathBuf>,
    /// Require each seal to be signed; FILE is the public key (KEY.pub of record --sign KEY) [default: not checked].
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Require the beginning and end of each recording: the recorder has stopped and nothing was removed.
    #[arg(long)]
    ended: bool,
    /// Require the beginning of each recording (segment 0).
    #[arg(long)]
    begun: bool,
    /// Write one JSON object per file.
    #[arg(long)]
    json: bool,
}

/// One line of JSON output.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    summary: &'a FileSummary,
    issues: Vec<IssueJson>,
}

/// An issue in JSON output.
#[derive(Serialize)]
struct IssueJson {
    issue: &'static str,
    severity: Severity,
    text: String,
}

pub(in crate::cli) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let key = args.key.as_deref().map(public_key).transpose()?;
    let mut totals = Totals::default();
    let read = read_captures(&args.paths, key, &mut totals)?;
    let mut by_file: BTreeMap<&str, Vec<&Issue>> = BTreeMap::new();
    for issue in read.issues.iter() {
        by_file.entry(&issue.source).or_default().push(issue);
    }
    let mut out = String::new();
    for file in &read.files {
        let issues = by_file.remove(file.file.as_str()).unwrap_or_default();
        let written =
            if args.json { json(&mut out, file, &issues) } else { human(&mut out, file, &issues, args.key.is_some()) };
        written.context("cannot write the report")?;
    }
    for (file, issues) in by_file {
        let file = FileSummary { file: file.to_owned(), ..FileSummary::default() };
        let written = if args.json { json(&mut out, &file, &issues) } else { human(&mut out, &file, &issues, false) };
        written.context("cannot write the report")?;
    }
    let is_intact = read.issues.more() == 0 && read.issues.iter().all(|issue| !args.breaks(issue));
    if !args.json {
        conclude(&mut out, is_intact, &read.issues, totals.lost);
    }
    print::stdout(&out)?;
    Ok(if is_intact { ExitCode::SUCCESS } else { ExitCode::from(EXIT_VERDICT) })
}

impl Args {
    /// Whether an issue means that the captures are not intact. Losses counted by the recorder are part of a capture.
    const fn breaks(&self, issue: &Issue) -> bool {
        match &issue.kind {
            IssueKind::Unsealed => true,
            IssueKind::NoEnd => self.ended,
            IssueKind::MissingBeginning { .. } => self.ended || self.begun,
            kind => matches!(kind.severity(), Severity::Broken),
        }
    }
}

/// Totals of all streams.
#[derive(Default)]
struct Totals {
    lost: u64,
}

impl Consumer for Totals {
    fn wants_events(&self) -> bool {
        false
    }

    fn wants_items(&self) -> bool {
        false
    }

    fn end(&mut self, stream: &StreamSummary<'_>) -> io::Result<()> {
        self.lost = self.lost.saturating_add(stream.lost);
        Ok(())
    }
}

fn json(out: &mut String, summary: &FileSummary, issues: &[&Issue]) -> Result<(), std::fmt::Error> {
    let issues = issues.iter().map(|issue| IssueJson {
        issue: issue.kind.name(),
        severity: issue.kind.severity(),
        text: issue.kind.to_string(),
    });
    let line = Line { summary, issues: issues.collect() };
    out.push_str(&serde_json::to_string(&line).map_err(|_| std::fmt::Error)?);
    out.push('\n');
    Ok(())
}

fn human(out: &mut String, file: &FileSummary, issues: &[&Issue], has_key: bool) -> std::fmt::Result {
    write!(out, "{}: {}", escape_str(&file.file), count(file.events, "event", "events"))?;
    if let Some((first, last)) = file.range {
        write!(out, " ({first} to {last})")?;
    }
    write!(out, ", {}", count(file.seals, "seal", "seals"))?;
    if file.signed > 0 || has_key {
        write!(out, ", {} signed", file.signed)?;
    }
    if let Some(hash) = &file.last_hash {
        write!(out, ", last hash {}", escape_str(hash))?;
    }
    out.push('\n');
    issues.iter().try_for_each(|issue| writeln!(out, "  {}", issue.kind))
}

/// The last line: the result for all captures.
fn conclude(out: &mut String, is_intact: bool, issues: &crate::stream::Issues, lost: u64) {
    if !is_intact {
        out.push_str("not intact\n");
        return;
    }
    let has = |wanted: fn(&IssueKind) -> bool| issues.iter().any(|issue| wanted(&issue.kind));
    let mut but = Vec::new();
    if has(|kind| matches!(kind, IssueKind::MissingBeginning { .. })) {
        but.push("the beginning of a recording is missing".to_owned());
    }
    if has(|kind| matches!(kind, IssueKind::NoEnd)) {
        but.push("a recording has no end".to_owned());
    }
    if has(|kind| matches!(kind, IssueKind::UnknownTypes { .. })) {
        but.push("some events have types unknown to this version".to_owned());
    }
    if lost > 0 {
        but.push(format!("the recorder counted {} as lost", count(lost, "record", "records")));
    }
    if but.is_empty() {
        out.push_str("intact: nothing is missing, nothing was lost\n");
    } else {
        out.push_str(&format!("intact as far as given; {}\n", but.join("; ")));
    }
}
