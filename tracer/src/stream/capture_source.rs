//! The source of captured events: reads files in order, decoding and parsing on all processors.

use std::{
    fs::File,
    hash::RandomState,
    io::{self, Read},
    path::{Path, PathBuf},
    thread,
};

use super::{
    Consumer, Pipeline,
    ahead::{Ahead, Step},
    assemble::{AssembleError, Assembler, FileSummary},
    issue::IssueKind,
};
use crate::{
    capture::{
        batch::{Batcher, Content},
        files::{self, Unusable},
        section::{SectionError, Sections},
        sign::PublicKey,
    },
    event::{Body, Event, Header},
};

/// The beginning of the issue of a file that cannot be read.
pub(super) const UNREADABLE: &str = "unreadable: ";

/// The message for a file that does not begin like a capture.
const NOT_A_CAPTURE: &str = "not a capture: neither zstd nor JSON Lines; unpack other formats first (gunzip, xz -d)";

/// Why captures cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The consumer cannot write.
    #[error("cannot write the output")]
    Write(#[source] io::Error),
    /// There are too many recordings.
    #[error(transparent)]
    Streams(AssembleError),
    /// zstd or a thread cannot be set up.
    #[error("cannot read captures")]
    SetUp(#[source] io::Error),
    /// None of the inputs can be read.
    #[error("{0}")]
    Nothing(String),
    /// A directory contains no captures.
    #[error("cannot find a capture in {}: no name ends with {} or .jsonl", .0.display(), files::EXTENSION)]
    NoCaptures(PathBuf),
}

impl From<AssembleError> for SourceError {
    fn from(error: AssembleError) -> Self {
        match error {
            AssembleError::Write(error) => Self::Write(error),
            AssembleError::TooManyStreams => Self::Streams(error),
        }
    }
}

/// Captures to read: files, directories, and `-` for standard input.
#[derive(Debug)]
pub struct CaptureSource {
    files: Vec<PathBuf>,
    unusable: Vec<Unusable>,
    key: Option<PublicKey>,
}

impl CaptureSource {
    /// Finds the captures, oldest first, with the segments of a recording in order.
    ///
    /// # Errors
    /// When a directory contains none.
    pub fn new(paths: &[PathBuf]) -> Result<Self, SourceError> {
        let listing = files::list(paths);
        if let Some(empty) = listing.empty.into_iter().next() {
            return Err(SourceError::NoCaptures(empty));
        }
        let files::Listing { files, unusable, .. } = listing;
        Ok(Self { files: in_order(files), unusable, key: None })
    }

    /// Requires each seal to be signed by this key.
    #[must_use]
    pub fn signed_by(mut self, key: Option<PublicKey>) -> Self {
        self.key = key;
        self
    }

    /// The files, in order.
    #[must_use]
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// Reads all captures into a pipeline and returns a summary of each file.
    ///
    /// # Errors
    /// See [`SourceError`]. A file that cannot be read is an issue, unless no file can be.
    pub fn read(self, pipeline: &mut Pipeline<impl Consumer>) -> Result<Vec<FileSummary>, SourceError> {
        let Self { files, unusable, key } = self;
        let mut failures = Failures::default();
        for Unusable { path, error } in unusable {
            failures.add(&path.to_string_lossy(), format!("{UNREADABLE}{error}"), pipeline);
        }
        let mut assembler = Assembler::new(files.len());
        let is_brief = !pipeline.consumer().wants_events();
        let mut summaries = Vec::new();
        thread::scope(|scope| {
            let ahead = Ahead::begin(scope, files, key.as_ref(), is_brief).map_err(SourceError::SetUp)?;
            let died = || SourceError::SetUp(io::Error::other("a thread has ended unexpectedly"));
            ahead.for_each_step(died, |step| {
                match step {
                    Step::Begin(name) => assembler.begin_file(&name),
                    Step::Batch(batch) => assembler.batch(batch, pipeline)?,
                    Step::Failed(error) => {
                        let name = assembler.file_name().to_owned();
                        failures.add(&name, why(error), pipeline);
                        assembler.abandon_file();
                    }
                    Step::End => summaries.push(assembler.end_file(pipeline)?),
                }
                Ok(())
            })
        })?;
        assembler.finish(pipeline);
        if pipeline.streams() == 0
            && let Some(first) = failures.first
        {
            return Err(SourceError::Nothing(first));
        }
        Ok(summaries)
    }
}

/// Reads captures that are not files, in this order and on this thread, and returns a summary of each.
///
/// # Errors
/// See [`SourceError`]. An input that cannot be read is an issue.
pub fn read_inputs<R: Read>(
    inputs: impl IntoIterator<Item = (String, R)>,
    key: Option<PublicKey>,
    pipeline: &mut Pipeline<impl Consumer>,
) -> Result<Vec<FileSummary>, SourceError> {
    let mut assembler = Assembler::new(usize::MAX);
    let mut batcher = Batcher::new(key, RandomState::new(), true).map_err(SourceError::SetUp)?;
    let mut summaries = Vec::new();
    for (name, input) in inputs {
        assembler.begin_file(&name);
        let mut sections = Sections::new(input);
        loop {
            match sections.next_section(true) {
                Ok(Some(section)) => assembler.batch(batcher.batch(section), pipeline)?,
                Ok(None) => break,
                Err(error) => {
                    pipeline.issue_of(&name, IssueKind::Unreadable { why: why(error) });
                    assembler.abandon_file();
                    break;
                }
            }
        }
        summaries.push(assembler.end_file(pipeline)?);
    }
    assembler.finish(pipeline);
    Ok(summaries)
}

/// The message for a file that cannot be read.
pub(super) fn why(error: SectionError) -> String {
    match error {
        SectionError::NotACapture => NOT_A_CAPTURE.to_owned(),
        SectionError::Read(error) => format!("{UNREADABLE}{error}"),
    }
}

/// Files that cannot be read.
#[derive(Default)]
struct Failures {
    first: Option<String>,
}

impl Failures {
    fn add(&mut self, name: &str, why: String, pipeline: &mut Pipeline<impl Consumer>) {
        let escaped = crate::text::escape_str(name);
        let reason = why.strip_prefix(UNREADABLE).unwrap_or(&why);
        self.first.get_or_insert_with(|| format!("cannot read {escaped}: {reason}"));
        pipeline.issue_of(name, IssueKind::Unreadable { why });
    }
}

/// The sort key of a capture, from its header.
struct Beginning {
    time: jiff::Timestamp,
    recording: Option<(String, String, u32)>,
}

/// Sorts by the time of the header and keeps the segments of one recording together, by number. Files without a header
/// come first, in the given order.
pub(super) fn in_order(files: Vec<PathBuf>) -> Vec<PathBuf> {
    if files.len() < 2 {
        return files;
    }
    let beginnings: Vec<Option<Beginning>> = files.iter().map(|path| beginning(path)).collect();
    let mut first_times = std::collections::HashMap::new();
    for Beginning { time, recording } in beginnings.iter().flatten() {
        if let Some((boot, id, _)) = recording {
            let first = first_times.entry((boot.clone(), id.clone())).or_insert(*time);
            *first = (*first).min(*time);
        }
    }
    let mut keyed: Vec<_> = files
        .into_iter()
        .zip(beginnings)
        .map(|(path, beginning)| {
            let key = beginning.map(|Beginning { time, recording }| match recording {
                Some((boot, id, segment)) => {
                    let first = first_times.get(&(boot.clone(), id.clone())).copied().unwrap_or(time);
                    (first, boot, id, segment, time)
                }
                None => (time, String::new(), String::new(), 0, time),
            });
            (key, path)
        })
        .collect();
    keyed.sort_by(|(a, _), (b, _)| a.cmp(b));
    keyed.into_iter().map(|(_, path)| path).collect()
}

fn beginning(path: &Path) -> Option<Beginning> {
    let (time, header) = header(path)?;
    let recording = header.recording.zip(header.segment).map(|(id, segment)| (header.boot_id, id, segment));
    Some(Beginning { time, recording })
}

/// The header at the beginning of a file, with its time.
pub(super) fn header(path: &Path) -> Option<(jiff::Timestamp, Header)> {
    // Data that is read from a pipe cannot be read again.
    let file = path.is_file().then(|| File::open(path).ok())??;
    let section = Sections::new(file.take(FIRST_BYTES)).next_section(true).ok()??;
    let mut batcher = Batcher::new(None, RandomState::new(), false).ok()?;
    let batch = batcher.batch(section);
    match &batch.parts.first()?.lines.first()?.content {
        Content::Event(Event { time, body: Body::Header(header), .. }) => Some((*time, header.as_ref().clone())),
        _ => None,
    }
}

/// Bytes that are read to find the header of a file.
const FIRST_BYTES: u64 = 1 << 20;
