//! Assembles parts of captures into streams: finds the recording of each, removes duplicates and checks seals.

use std::{
    collections::{HashMap, HashSet},
    io,
};

use super::{
    Consumer, Identity, Pipeline, StreamId,
    copies::{Comparison, Content, Copies},
    identity::SharedIds,
    issue::IssueKind,
};
use crate::{
    capture::{
        batch::{self, Batch, Line, Part},
        section::Damage,
    },
    event::{Body, Event},
};

mod place;
mod seals;

use place::{Heading, STREAMS_MAX};

/// Why reading stops.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AssembleError {
    /// The consumer cannot write.
    #[error(transparent)]
    Write(#[from] io::Error),
    /// The number of streams exceeds its limit.
    #[error("cannot read more than {STREAMS_MAX} recordings at a time; use fewer captures")]
    TooManyStreams,
}

/// Summary of one file.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct FileSummary {
    /// Its name.
    pub file: String,
    /// Events, without seals.
    pub events: u64,
    /// The numbers of the first and last event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range: Option<(u64, u64)>,
    /// Number of seals.
    pub seals: u64,
    /// Number of seals with a valid signature.
    pub signed: u64,
    /// The hash of the last seal, in hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_hash: Option<String>,
    /// It contains the end of a recording.
    pub has_end: bool,
    /// Number of events that were already read from another file.
    pub repeated: u64,
    /// The first such file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeats: Option<String>,
}

/// The state of a stream.
struct Tracked {
    id: StreamId,
    identity: Option<Identity>,
    source: String,
    copies: Copies,
    /// The hash that the next seal must refer to; `None` if unknown.
    previous: Option<String>,
    segment: Option<u32>,
    has_ended: bool,
    is_after_end: bool,
    sealed_parts: u64,
    unsealed: Option<Unsealed>,
    doubled: u64,
    has_room: bool,
    /// The stream whose copy it is, up to the first difference.
    copy_of: Option<usize>,
}

/// A range of unsealed events.
struct Unsealed {
    first_seq: u64,
    last_seq: u64,
    /// The file of the first event.
    file: String,
}

impl Unsealed {
    /// Returns whether all of them are in the range from `first` to `last`.
    const fn is_in(&self, first: u64, last: u64) -> bool {
        first <= self.first_seq && self.last_seq <= last
    }
}

/// The file that is being read.
#[derive(Default)]
struct File {
    summary: FileSummary,
    current: Option<usize>,
    /// The segment of its last header.
    segment: Option<u32>,
    /// The current data was already read from another file.
    is_repeat: bool,
    lines: u64,
    malformed: u64,
    first_malformed: Option<(u64, String)>,
    is_lost: bool,
}

/// Assembles streams.
#[derive(Default)]
pub struct Assembler {
    streams: Vec<Tracked>,
    by_ids: HashMap<SharedIds, Vec<usize>>,
    /// Streams by their ids and the number and fingerprint of a header.
    by_header: HashMap<(SharedIds, u64, u32), usize>,
    /// Hashes of the last seals of files that have no header.
    headless: HashSet<String>,
    file: File,
    /// Also remember lines of sealed parts: another copy may be truncated inside of one.
    keeps_lines: bool,
}

impl std::fmt::Debug for Assembler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Assembler").field("streams", &self.streams.len()).finish_non_exhaustive()
    }
}

impl Assembler {
    /// Creates an assembler for a number of files.
    #[must_use]
    pub fn new(files: usize) -> Self {
        Self { keeps_lines: files > 1, ..Self::default() }
    }

    /// Begins a file.
    pub fn begin_file(&mut self, name: &str) {
        self.file =
            File { summary: FileSummary { file: name.to_owned(), ..FileSummary::default() }, ..File::default() };
    }

    /// The name of the current file.
    #[must_use]
    pub fn file_name(&self) -> &str {
        &self.file.summary.file
    }

    /// Returns whether the end of a recording was read from the current file.
    #[must_use]
    pub const fn file_has_end(&self) -> bool {
        self.file.summary.has_end
    }

    /// Marks the rest of the file as unreadable; the issue was reported already.
    pub const fn abandon_file(&mut self) {
        self.file.is_lost = true;
    }

    /// Ends a file.
    ///
    /// # Errors
    /// See [`AssembleError`].
    pub fn end_file(&mut self, pipeline: &mut Pipeline<impl Consumer>) -> Result<FileSummary, AssembleError> {
        let File { summary, current, malformed, first_malformed, is_lost, .. } = std::mem::take(&mut self.file);
        if let Some((line, why)) = first_malformed {
            let kind = IssueKind::Malformed { lines: malformed, line, why };
            self.report(pipeline, current, &summary.file, kind);
        }
        let headless = current.and_then(|number| self.streams.get(number)).filter(|tracked| tracked.identity.is_none());
        if let Some(hash) = headless.and_then(|tracked| tracked.previous.clone()) {
            self.headless.insert(hash);
        }
        if summary.events == 0 && summary.repeated == 0 && current.is_none() && !is_lost {
            pipeline.issue_of(&summary.file, IssueKind::Empty);
        }
        Ok(summary)
    }

    fn report(&self, pipeline: &mut Pipeline<impl Consumer>, number: Option<usize>, file: &str, kind: IssueKind) {
        match number.and_then(|number| self.streams.get(number)) {
            Some(tracked) => pipeline.issue_in(tracked.id, file, kind),
            None => pipeline.issue_of(file, kind),
        }
    }

    fn report_here(&self, pipeline: &mut Pipeline<impl Consumer>, kind: IssueKind) {
        self.report(pipeline, self.file.current, &self.file.summary.file, kind);
    }

    /// Processes the next batch of the file.
    ///
    /// # Errors
    /// See [`AssembleError`].
    pub fn batch(&mut self, batch: Batch, pipeline: &mut Pipeline<impl Consumer>) -> Result<(), AssembleError> {
        let Batch { offset, bytes, parts, line_count, damage } = batch;
        if self.file.is_lost {
            return Ok(());
        }
        for part in parts {
            self.part(part, offset, pipeline)?;
        }
        self.file.lines += line_count;
        if let Some(damage) = damage {
            let kind = match damage {
                Damage::Torn => IssueKind::Torn { offset },
                Damage::Frame => IssueKind::Damaged { offset, bytes, why: "the frame is not intact" },
                Damage::Line => IssueKind::Damaged { offset, bytes, why: "the frame ends in the middle of a line" },
                Damage::LongLine => IssueKind::Damaged { offset, bytes, why: "a line of more than 4 MiB" },
                Damage::Unsearched => {
                    IssueKind::Damaged { offset, bytes, why: "no intact frame was found in reasonable time" }
                }
            };
            self.report_here(pipeline, kind);
            if let Some(tracked) = self.file.current.and_then(|number| self.streams.get_mut(number)) {
                // The lost part is reported; the next seal cannot be compared with the previous one.
                tracked.previous = None;
            }
        }
        Ok(())
    }

    fn part(&mut self, part: Part, offset: u64, pipeline: &mut Pipeline<impl Consumer>) -> Result<(), AssembleError> {
        let Part { lines, seal, is_continued } = part;
        let Some(sealed) = seal else {
            return lines.into_iter().try_for_each(|line| self.line(line, offset, pipeline));
        };
        let is_headed =
            |line: &Line| matches!(&line.content, batch::Content::Event(Event { body: Body::Header(_), .. }));
        let has_header_inside = lines.iter().skip(1).any(is_headed);
        let Some(hash) = sealed.hash.filter(|_| !has_header_inside) else {
            lines.into_iter().try_for_each(|line| self.line(line, offset, pipeline))?;
            self.check(&sealed, None, pipeline);
            if let Some(tracked) = self.file.current.and_then(|number| self.streams.get(number)) {
                pipeline.seal(tracked.id, sealed.seq);
            }
            return Ok(());
        };
        if is_continued {
            return self.continued_part(lines, &sealed, hash, offset, pipeline);
        }
        let range = range(&lines);
        let content = Content::Sealed(hash.first_chunk().copied().unwrap_or_default());
        let first_seq = range.map_or(sealed.seq, |(first, _)| first);
        let header = lines.first().and_then(Heading::of);
        if let Some(heading) = &header {
            self.recall(heading);
        }
        let events = lines.len() as u64;
        if self.is_known_in_part(first_seq, content, pipeline) {
            // The copy that was read first is truncated inside of this part.
            lines.into_iter().try_for_each(|line| self.line(line, offset, pipeline))?;
            self.check(&sealed, Some(range), pipeline);
            if let Some(tracked) = self.file.current.and_then(|number| self.streams.get_mut(number)) {
                // This copy has the seal that the other copy lacks.
                if range.is_some_and(|(first, last)| {
                    sealed.holds() && tracked.unsealed.as_ref().is_some_and(|unsealed| unsealed.is_in(first, last))
                }) {
                    tracked.unsealed = None;
                }
                tracked.copies.add(first_seq, content);
                pipeline.seal(tracked.id, sealed.seq);
            }
            return Ok(());
        }
        if !self.place(first_seq, events, content, header, pipeline)? {
            return Ok(());
        }
        self.check(&sealed, Some(range), pipeline);
        for line in lines {
            if let (true, Some(seq), Some(tracked)) = (
                self.keeps_lines,
                line.content.seq(),
                self.file.current.and_then(|number| self.streams.get_mut(number)),
            ) {
                tracked.copies.add(seq, Content::Line(line.fingerprint));
            }
            self.deliver(line, offset, pipeline)?;
        }
        if let Some(tracked) = self.file.current.and_then(|number| self.streams.get_mut(number)) {
            tracked.has_room &= tracked.copies.add(first_seq, content);
            pipeline.seal(tracked.id, sealed.seq);
        }
        Ok(())
    }

    /// Returns whether some lines of a sealed part were already read without their seal.
    fn is_known_in_part(&self, seq: u64, content: Content, pipeline: &Pipeline<impl Consumer>) -> bool {
        let Some(tracked) = self.file.current.and_then(|number| self.streams.get(number)) else { return false };
        self.file.is_repeat
            && seq < pipeline.next_seq(tracked.id)
            && tracked.copies.compare(seq, content) == Comparison::New
    }

    fn line(&mut self, line: Line, offset: u64, pipeline: &mut Pipeline<impl Consumer>) -> Result<(), AssembleError> {
        if self.file.is_lost {
            return Ok(());
        }
        let content = Content::Line(line.fingerprint);
        if let Some(seq) = line.content.seq() {
            if !self.place(seq, 1, content, Heading::of(&line), pipeline)? {
                return Ok(());
            }
            self.not_sealed(seq);
            if let Some(tracked) = self.file.current.and_then(|number| self.streams.get_mut(number)) {
                let had_room = tracked.has_room;
                tracked.has_room &= tracked.copies.add(seq, content);
                if had_room && !tracked.has_room {
                    let what = "too many unsealed lines to recognize all duplicates: some events may be counted twice";
                    self.report_here(pipeline, IssueKind::Limit { what: what.to_owned() });
                }
            }
        }
        self.deliver(line, offset, pipeline)
    }

    /// Processes an unsealed line; another copy may contain its seal.
    fn not_sealed(&mut self, seq: u64) {
        let Some(tracked) = self.file.current.and_then(|number| self.streams.get_mut(number)) else { return };
        let file = &self.file.summary.file;
        let unsealed =
            tracked.unsealed.get_or_insert_with(|| Unsealed { first_seq: seq, last_seq: seq, file: file.clone() });
        unsealed.first_seq = unsealed.first_seq.min(seq);
        unsealed.last_seq = unsealed.last_seq.max(seq);
    }

    /// Passes a line to the pipeline.
    fn deliver(
        &mut self,
        line: Line,
        offset: u64,
        pipeline: &mut Pipeline<impl Consumer>,
    ) -> Result<(), AssembleError> {
        let (number, begin) = (self.file.lines + line.number + 1, line.range.start as u64);
        let event = match line.content {
            batch::Content::Event(event) => event,
            batch::Content::Brief(seq, brief) => {
                if let Some(id) = self.delivered(seq, false, pipeline) {
                    pipeline.brief(id, seq, brief);
                }
                return Ok(());
            }
            batch::Content::Unknown(seq) => {
                if let Some(tracked) = self.file.current.and_then(|number| self.streams.get(number)) {
                    pipeline.unknown(tracked.id, seq);
                }
                return Ok(());
            }
            batch::Content::Malformed { .. } if !line.is_terminated => {
                self.report_here(pipeline, IssueKind::Torn { offset: offset.saturating_add(begin) });
                return Ok(());
            }
            batch::Content::Malformed { seq, why, more } => {
                let id = self.file.current.and_then(|number| self.streams.get(number)).map(|tracked| tracked.id);
                // It is reported as malformed, and must not be reported as missing, too.
                if let (Some(id), Some(seq)) = (id, seq)
                    && seq == pipeline.next_seq(id)
                {
                    pipeline.seal(id, seq);
                }
                self.file.malformed += 1 + more;
                self.file.first_malformed.get_or_insert_with(|| (number, why.to_string()));
                return Ok(());
            }
            batch::Content::Newer(why) => {
                self.file.is_lost = true;
                pipeline.issue_of(&self.file.summary.file, IssueKind::Unreadable { why });
                return Ok(());
            }
        };
        let is_end = matches!(event.body, Body::End(_));
        if let Some(id) = self.delivered(event.seq, is_end, pipeline) {
            pipeline.event(id, event)?;
        }
        Ok(())
    }

    /// Records an event that is passed on and returns its stream.
    fn delivered(&mut self, seq: u64, is_end: bool, pipeline: &mut Pipeline<impl Consumer>) -> Option<StreamId> {
        let summary = &mut self.file.summary;
        summary.events += 1;
        summary.range = Some((summary.range.map_or(seq, |(first, _)| first), seq));
        summary.has_end |= is_end;
        let tracked = self.file.current.and_then(|number| self.streams.get_mut(number))?;
        let is_first_after = tracked.has_ended && !std::mem::replace(&mut tracked.is_after_end, true);
        tracked.has_ended |= is_end;
        let id = tracked.id;
        if is_first_after {
            self.report_here(pipeline, IssueKind::AfterEnd { seq });
        }
        Some(id)
    }

    /// Reports the issues of complete streams.
    pub fn finish(&mut self, pipeline: &mut Pipeline<impl Consumer>) {
        for tracked in &self.streams {
            if tracked.doubled > 0 {
                pipeline.issue(tracked.id, IssueKind::Doubled { events: tracked.doubled });
            }
            if tracked.sealed_parts == 0 {
                pipeline.issue(tracked.id, IssueKind::Unsealed);
            } else if let Some(Unsealed { first_seq, file, .. }) = &tracked.unsealed {
                pipeline.issue_in(tracked.id, file, IssueKind::UnsealedPart { first_seq: *first_seq });
            }
        }
    }
}

/// The numbers of the first and last event of a part.
fn range(lines: &[Line]) -> Option<(u64, u64)> {
    let mut numbers = lines.iter().filter_map(|line| line.content.seq());
    let first = numbers.next()?;
    Some((first, numbers.next_back().unwrap_or(first)))
}
