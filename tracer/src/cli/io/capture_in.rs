//! Capture input: reads captures into a consumer, for all verbs that read captures.

use std::path::PathBuf;

use anyhow::Context;

use crate::{
    capture::sign::PublicKey,
    logging::notice,
    output::{count, escape_str},
    stream::{CaptureSource, Consumer, FileSummary, Issue, IssueKind, Issues, Pipeline, Severity},
};

/// Maximum number of issues listed with an error.
const LISTED_MAX: usize = 32;

/// The result of reading captures.
#[derive(Debug)]
pub(in crate::cli) struct Captures {
    /// The files, in reading order.
    pub(in crate::cli) files: Vec<FileSummary>,
    /// Problems of the evidence.
    pub(in crate::cli) issues: Issues,
}

/// Reads captures into a consumer and reports duplicates.
pub(in crate::cli) fn read_captures(
    paths: &[PathBuf],
    key: Option<PublicKey>,
    consumer: &mut impl Consumer,
) -> anyhow::Result<Captures> {
    let mut pipeline = Pipeline::new(consumer);
    let files = CaptureSource::new(paths)?.signed_by(key).read(&mut pipeline)?;
    let (_, issues) = pipeline.finish().context("cannot write the output")?;
    for file in &files {
        if let Some(of) = &file.repeats {
            let events = count(file.repeated, "event was", "events were");
            notice(&format!(
                "{}: {events} already read from {}, and counted once",
                escape_str(&file.file),
                escape_str(of)
            ));
        }
    }
    Ok(Captures { files, issues })
}

impl Captures {
    /// Prints the issues as warnings.
    pub(in crate::cli) fn warn(&self) {
        for issue in self.issues.iter().filter(|issue| issue.kind.severity() > Severity::Note) {
            notice(&format!("warning: {issue}"));
        }
        if self.issues.more() > 0 {
            notice(&format!("warning: {} more", count(self.issues.more(), "issue", "issues")));
        }
    }

    /// An error if the evidence is incomplete; `answer` is what cannot be done then.
    pub(in crate::cli) fn require_complete(&self, answer: &str) -> anyhow::Result<()> {
        let mut doubts = self.issues.doubts();
        let Some(first) = doubts.next() else { return Ok(()) };
        let more: Vec<String> = doubts.collect();
        for doubt in more.iter().take(LISTED_MAX) {
            notice(&format!("incomplete: {doubt}"));
        }
        let more = match more.len().saturating_sub(LISTED_MAX) {
            0 => String::new(),
            more => format!(" (and {more} more)"),
        };
        anyhow::bail!("cannot {answer}: the evidence is incomplete: {first}{more}")
    }

    /// A file with lines, if no file has any event.
    pub(in crate::cli) fn without_events(&self) -> Option<String> {
        let has_lines = |issue: &&Issue| matches!(issue.kind, IssueKind::Malformed { .. });
        if self.files.iter().any(|file| file.events + file.repeated > 0) {
            return None;
        }
        self.issues.iter().find(has_lines).map(|issue| issue.source.clone())
    }

    /// Number of events read.
    pub(in crate::cli) fn events(&self) -> u64 {
        self.files.iter().map(|file| file.events).sum()
    }
}

/// Discards all events, for verbs that need the issues only.
pub(in crate::cli) struct Ignore;

impl Consumer for Ignore {
    fn wants_items(&self) -> bool {
        false
    }
}
