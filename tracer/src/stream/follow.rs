//! Follows captures that are still being written, segment by segment.

use std::{
    collections::HashSet,
    fs::{self, File},
    hash::RandomState,
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::{
    Consumer, IssueKind, Pipeline, SourceError,
    assemble::{Assembler, FileSummary},
    capture_source::{UNREADABLE, in_order, why},
};
use crate::capture::{
    batch::Batcher,
    files,
    section::{SectionError, Sections},
};

/// A growing file.
struct Growing {
    path: PathBuf,
    sections: Sections<Box<dyn Read>>,
    /// Device and inode, if it is a regular file.
    node: Option<(u64, u64)>,
}

/// Why the reader leaves a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    /// Another file follows, or this one has ended.
    Done,
    /// The caller requested a stop.
    Stopped,
    /// The file was replaced by another of the same name.
    Replaced,
}

/// Reads captures into a pipeline and follows them until `wait` returns false. A single file is followed to its `end`,
/// a directory until then. Returns a summary of each file.
///
/// # Errors
/// See [`SourceError`].
pub fn follow(
    paths: &[PathBuf],
    pipeline: &mut Pipeline<impl Consumer>,
    wait: &mut dyn FnMut() -> bool,
) -> Result<Vec<FileSummary>, SourceError> {
    pipeline.follow();
    let has_directory = paths.iter().any(|path| path.is_dir());
    let mut assembler = Assembler::new(usize::MAX);
    let mut batcher = Batcher::new(None, RandomState::new(), true).map_err(SourceError::SetUp)?;
    let mut summaries = Vec::new();
    let mut known: HashSet<PathBuf> = HashSet::new();
    let mut queue: Vec<PathBuf> = Vec::new();
    loop {
        look(paths, &mut known, &mut queue, pipeline);
        if queue.is_empty() {
            if has_directory && wait() {
                continue;
            }
            break;
        }
        let path = queue.remove(0);
        assembler.begin_file(&name(&path));
        let mut growing = match open(&path) {
            Ok(growing) => growing,
            Err(error) => {
                let why = format!("{UNREADABLE}{error}");
                pipeline.issue_of(&name(&path), IssueKind::Unreadable { why });
                continue;
            }
        };
        let left = loop {
            let is_last = queue.is_empty();
            match drain(&mut growing, !is_last, &mut batcher, &mut assembler, pipeline) {
                Ok(()) => {}
                Err(Drain::Source(error)) => return Err(error),
                Err(Drain::Section(error)) => {
                    pipeline.issue_of(&name(&path), IssueKind::Unreadable { why: why(error) });
                    assembler.abandon_file();
                    break Left::Done;
                }
            }
            if !is_last || growing.node.is_none() || (assembler.file_has_end() && !has_directory) {
                break Left::Done;
            }
            look(paths, &mut known, &mut queue, pipeline);
            if !queue.is_empty() {
                // Read this segment to its end first: the next one was started after that.
                continue;
            }
            if growing.is_replaced() {
                break Left::Replaced;
            }
            if !wait() {
                break Left::Stopped;
            }
        };
        if left == Left::Replaced {
            let why =
                "the file was replaced or truncated while it was read: continuing with the new content".to_owned();
            pipeline.issue_of(&name(&path), IssueKind::Unreadable { why });
            if growing.path.exists() {
                queue.push(path);
            }
        }
        summaries.push(assembler.end_file(pipeline)?);
        if left == Left::Stopped || (queue.is_empty() && !has_directory && left == Left::Done) {
            break;
        }
    }
    assembler.finish(pipeline);
    Ok(summaries)
}

fn name(path: &Path) -> String {
    if files::is_stdin(path) { "standard input".to_owned() } else { path.to_string_lossy().into_owned() }
}

/// Queues new captures.
fn look(
    paths: &[PathBuf],
    known: &mut HashSet<PathBuf>,
    queue: &mut Vec<PathBuf>,
    pipeline: &mut Pipeline<impl Consumer>,
) {
    let files::Listing { files, unusable, .. } = files::list(paths);
    for unusable in unusable {
        if known.insert(unusable.path.clone()) {
            let why = format!("{UNREADABLE}{}", unusable.error);
            pipeline.issue_of(&unusable.path.to_string_lossy(), IssueKind::Unreadable { why });
        }
    }
    let new: Vec<PathBuf> = files.into_iter().filter(|path| !known.contains(path)).collect();
    known.extend(new.iter().cloned());
    queue.extend(in_order(new));
}

fn open(path: &Path) -> io::Result<Growing> {
    let (input, metadata): (Box<dyn Read>, _) = if files::is_stdin(path) {
        (Box::new(io::stdin()), File::open("/dev/stdin").and_then(|file| file.metadata()).ok())
    } else {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        (Box::new(file), Some(metadata))
    };
    // A pipe that has ended cannot grow.
    let node = metadata.filter(fs::Metadata::is_file).map(|metadata| (metadata.dev(), metadata.ino()));
    let sections = Sections::new(input);
    let sections = if node.is_none() { sections.live() } else { sections };
    Ok(Growing { path: path.to_owned(), sections, node })
}

impl Growing {
    /// Returns whether the file was replaced or truncated.
    fn is_replaced(&self) -> bool {
        if files::is_stdin(&self.path) {
            return false;
        }
        match fs::metadata(&self.path) {
            Ok(metadata) => {
                Some((metadata.dev(), metadata.ino())) != self.node || metadata.len() < self.sections.read_bytes()
            }
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        }
    }
}

/// Why reading a file stops.
enum Drain {
    Section(SectionError),
    Source(SourceError),
}

/// Reads the available data.
fn drain(
    growing: &mut Growing,
    is_final: bool,
    batcher: &mut Batcher,
    assembler: &mut Assembler,
    pipeline: &mut Pipeline<impl Consumer>,
) -> Result<(), Drain> {
    let is_final = is_final || growing.node.is_none();
    while let Some(section) = growing.sections.next_section(is_final).map_err(Drain::Section)? {
        assembler.batch(batcher.batch(section), pipeline).map_err(|error| Drain::Source(error.into()))?;
    }
    Ok(())
}
