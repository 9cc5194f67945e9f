//! Capture input: reads captures into a consumer, for all verbs that read captures.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use anyhow::Context;

use crate::{
    capture::{files, sign::PublicKey},
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

/// Where the service puts its captures.
pub(in crate::cli) const SERVICE_CAPTURES: &str = "/var/log/kmodtrace";

/// The given captures, or those of the service.
pub(in crate::cli) fn or_service(paths: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    if !paths.is_empty() {
        return Ok(paths.to_vec());
    }
    let directory = Path::new(SERVICE_CAPTURES);
    match no_captures(directory) {
        Some(why) => anyhow::bail!("{why}, or name captures"),
        None => Ok(vec![directory.to_owned()]),
    }
}

/// Why there are no captures of the service; `None` if there are.
pub(in crate::cli) fn no_captures(directory: &Path) -> Option<String> {
    let start = "start the service: systemctl enable --now kmodtrace-early kmodtrace";
    let shown = directory.display();
    match fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Some(format!("nothing was recording on this host: there is no {shown}; {start}"))
        }
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            Some(format!("cannot read the captures of the service in {shown}: {error}; run it as root"))
        }
        Err(error) => Some(format!("cannot read the captures of the service in {shown}: {error}; check the directory")),
        Ok(_) if files::list(&[directory.to_owned()]).files.is_empty() => {
            Some(format!("nothing was recorded on this host: {shown} has no captures; {start}"))
        }
        Ok(_) => None,
    }
}

/// Reads captures into a consumer and reports duplicates.
pub(in crate::cli) fn read_captures(
    paths: &[PathBuf],
    key: Option<PublicKey>,
    consumer: &mut impl Consumer,
) -> anyhow::Result<Captures> {
    read_captures_of(paths, None, key, consumer)
}

/// Like [`read_captures`], for the streams of one boot.
pub(in crate::cli) fn read_captures_of(
    paths: &[PathBuf],
    boot_id: Option<&str>,
    key: Option<PublicKey>,
    consumer: &mut impl Consumer,
) -> anyhow::Result<Captures> {
    let mut pipeline = Pipeline::new(consumer);
    boot_id.into_iter().for_each(|boot_id| pipeline.only_boot(boot_id));
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

#[cfg(test)]
mod tests {
    use super::no_captures;

    /// A missing directory, an empty one and one with captures are distinguished.
    #[test]
    fn service_without_captures_is_explained() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("kmodtrace");
        assert!(no_captures(&directory).unwrap().starts_with("nothing was recording on this host: there is no /"));
        std::fs::create_dir(&directory).unwrap();
        assert!(no_captures(&directory).unwrap().contains(" has no captures; start the service: systemctl"));
        std::fs::write(directory.join("a.jsonl.zst"), "").unwrap();
        assert_eq!(no_captures(&directory), None);
    }
}
