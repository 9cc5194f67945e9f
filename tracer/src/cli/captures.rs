//! Captures in: the one way from files to a consumer, for every verb that reads some.

use std::path::PathBuf;

use anyhow::Context;

use crate::{
    capture::sign::PublicKey,
    logging::say,
    output::{count, escape_str},
    stream::{CaptureSource, Consumer, FileSummary, Issue, IssueKind, Issues, Pipeline, Severity},
};

/// Issues that are listed beside an error.
const LISTED_MAX: usize = 32;

/// What was read.
#[derive(Debug)]
pub(super) struct Captures {
    /// The files, in the order in which they were read.
    pub(super) files: Vec<FileSummary>,
    /// What is wrong with the evidence.
    pub(super) issues: Issues,
}

/// Reads captures into a consumer; what was given twice is reported.
pub(super) fn read(
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
            say(&format!(
                "{}: {events} already read from {}, and counted once",
                escape_str(&file.file),
                escape_str(of)
            ));
        }
    }
    Ok(Captures { files, issues })
}

impl Captures {
    /// Prints what is wrong with the evidence as warnings.
    pub(super) fn warn(&self) {
        for issue in self.issues.iter().filter(|issue| issue.kind.severity() > Severity::Note) {
            say(&format!("warning: {issue}"));
        }
        if self.issues.more() > 0 {
            say(&format!("warning: {} more", count(self.issues.more(), "issue", "issues")));
        }
    }

    /// An error where an answer needs complete evidence and this is not.
    pub(super) fn require_complete(&self, answer: &str) -> anyhow::Result<()> {
        let mut doubts = self.issues.doubts();
        let Some(first) = doubts.next() else { return Ok(()) };
        let more: Vec<String> = doubts.collect();
        for doubt in more.iter().take(LISTED_MAX) {
            say(&format!("incomplete: {doubt}"));
        }
        let more = match more.len().saturating_sub(LISTED_MAX) {
            0 => String::new(),
            more => format!(" (and {more} more)"),
        };
        anyhow::bail!("cannot {answer}: the evidence is incomplete: {first}{more}")
    }

    /// The file, when there is one with lines but nothing at all is an event.
    pub(super) fn without_events(&self) -> Option<String> {
        let has_lines = |issue: &&Issue| matches!(issue.kind, IssueKind::Malformed { .. });
        if self.files.iter().any(|file| file.events + file.repeated > 0) {
            return None;
        }
        self.issues.iter().find(has_lines).map(|issue| issue.source.clone())
    }

    /// Events that were read.
    pub(super) fn events(&self) -> u64 {
        self.files.iter().map(|file| file.events).sum()
    }
}

/// Takes nothing: for verbs that only want to know what is wrong.
pub(super) struct Ignore;

impl Consumer for Ignore {
    fn wants_items(&self) -> bool {
        false
    }
}
