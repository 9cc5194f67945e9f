//! `kmodtrace verify`: whether anything of a capture is missing or altered.

use std::{collections::BTreeMap, fmt::Write, io, path::PathBuf, process::ExitCode};

use anyhow::Context;
use serde::Serialize;

use super::{EXIT_VERDICT, captures, print, public_key};
use crate::{
    output::{count, escape_str},
    stream::{Consumer, FileSummary, Issue, IssueKind, Severity, StreamSummary},
};

/// Arguments of `verify`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit code: 0 intact, 1 something is missing, altered, damaged or not sealed, 125 error.\n\n\
    What this is worth: the seals show accidents and partial edits. Who can write the files can also compute every seal \
    anew, and can leave out the end of a recording. Against that help a key that is not on the machine (record --sign, \
    verify --key), and hashes that are kept elsewhere (record --anchor journald, with a journal that is sent away).")]
pub struct Args {
    /// Captures: files, and directories with all captures in them; - is standard input. Files of one recording in order.
    #[arg(required = true, value_name = "FILE")]
    paths: Vec<PathBuf>,
    /// Each seal must be signed by the key with this public half (KEY.pub of record --sign KEY).
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Require the end of every recording: without one its recorder was killed, still runs, or the end was removed.
    /// Requires the beginning as well.
    #[arg(long)]
    ended: bool,
    /// Require the beginning of every recording: segment 0.
    #[arg(long)]
    begun: bool,
    /// Write one JSON object for each file.
    #[arg(long)]
    json: bool,
}

/// One line of the JSON form.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    summary: &'a FileSummary,
    issues: Vec<IssueJson>,
}

/// An issue in the JSON form.
#[derive(Serialize)]
struct IssueJson {
    issue: &'static str,
    severity: Severity,
    text: String,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let key = args.key.as_deref().map(public_key).transpose()?;
    let mut totals = Totals::default();
    let read = captures::read(&args.paths, key, &mut totals)?;
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
    /// Whether captures with this issue are not intact. A loss that the recorder counted is in the capture.
    const fn breaks(&self, issue: &Issue) -> bool {
        match &issue.kind {
            IssueKind::Unsealed => true,
            IssueKind::NoEnd => self.ended,
            IssueKind::MissingBeginning { .. } => self.ended || self.begun,
            kind => matches!(kind.severity(), Severity::Broken),
        }
    }
}

/// What is counted of all streams.
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

/// The last line: what all captures together are.
fn conclude(out: &mut String, is_intact: bool, issues: &crate::stream::Issues, lost: u64) {
    if !is_intact {
        out.push_str("not intact\n");
        return;
    }
    let has = |wanted: fn(&IssueKind) -> bool| issues.iter().any(|issue| wanted(&issue.kind));
    let mut but = Vec::new();
    if has(|kind| matches!(kind, IssueKind::MissingBeginning { .. })) {
        but.push("the beginning of a recording was not given".to_owned());
    }
    if has(|kind| matches!(kind, IssueKind::NoEnd)) {
        but.push("a recording has no end".to_owned());
    }
    if has(|kind| matches!(kind, IssueKind::UnknownTypes { .. })) {
        but.push("some events are of types that this version does not know".to_owned());
    }
    if lost > 0 {
        but.push(format!("the recorder counted {} as lost", count(lost, "record", "records")));
    }
    if but.is_empty() {
        out.push_str("intact: nothing is missing, nothing was lost\n");
    } else {
        out.push_str(&format!("intact as far as it was given; {}\n", but.join("; ")));
    }
}
