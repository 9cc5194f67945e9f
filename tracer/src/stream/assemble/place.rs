//! Finds the stream of a part and whether the part was read before.

use super::{
    super::{
        Consumer, Identity, Pipeline, StreamId,
        copies::{Comparison, Content, Copies},
        identity::SharedIds,
        issue::{Alteration, IssueKind},
    },
    AssembleError, Assembler, Tracked,
};
use crate::{
    capture::{
        batch::{self, Line},
        hash::{NO_HASH, to_hex},
    },
    event::{Body, Event, Header},
};

/// Maximum number of streams with the same ids that a header is compared with. Captures may be made to exhaust time.
const CANDIDATES_MAX: usize = 16;

/// Maximum number of streams in one input; each takes up to some kilobytes.
pub(super) const STREAMS_MAX: usize = 65_536;

impl Assembler {
    /// Finds the stream of the next part; returns false if the part was read before.
    pub(super) fn place(
        &mut self,
        seq: u64,
        events: u64,
        content: Content,
        header: Option<Heading<'_>>,
        pipeline: &mut Pipeline<impl Consumer>,
    ) -> Result<bool, AssembleError> {
        if let Some(heading) = header {
            return self.place_header(events, content, &heading, pipeline);
        }
        let Some(number) = self.file.current else {
            let number = self.begin(None, None, pipeline)?;
            self.file.current = Some(number);
            return Ok(true);
        };
        if self.file.is_repeat {
            return self.place_repeat(number, seq, events, content, pipeline);
        }
        let Some(tracked) = self.streams.get_mut(number) else { return Ok(true) };
        if tracked.copies.compare(seq, content) == Comparison::Same {
            tracked.doubled += events;
            return Ok(false);
        }
        // After its changed part, a modified copy continues like the original.
        let (id, other) = (tracked.id, tracked.copy_of);
        let is_same = |other: &usize| {
            self.streams.get(*other).is_some_and(|other| other.copies.compare(seq, content) == Comparison::Same)
        };
        if let Some(other) = other.filter(is_same) {
            self.repeated(events, other);
            let seals = u64::from(matches!(content, Content::Sealed(_)));
            pipeline.begin_at(id, seq.saturating_add(events).saturating_add(seals));
            return Ok(false);
        }
        Ok(true)
    }

    /// Compares a presumed copy with what was read before; returns false if it is one.
    pub(super) fn place_repeat(
        &mut self,
        number: usize,
        seq: u64,
        events: u64,
        content: Content,
        pipeline: &mut Pipeline<impl Consumer>,
    ) -> Result<bool, AssembleError> {
        let Some(tracked) = self.streams.get(number) else { return Ok(true) };
        match tracked.copies.compare(seq, content) {
            Comparison::Same => {
                self.repeated(events, number);
                Ok(false)
            }
            Comparison::New => {
                self.file.is_repeat = false;
                Ok(true)
            }
            Comparison::Different => {
                let (id, identity, other) = (tracked.id, tracked.identity.clone(), tracked.source.clone());
                let id = pipeline.fork(id, &self.file.summary.file, seq);
                let shared = identity.as_ref().map(Identity::shared);
                let fork = self.track(id, identity, self.file.segment)?;
                if let Some(tracked) = self.streams.get_mut(fork) {
                    tracked.copy_of = Some(number);
                }
                if let Some(shared) = shared {
                    // Its next segment must be able to find it.
                    self.by_ids.entry(shared).or_default().push(fork);
                }
                (self.file.current, self.file.is_repeat) = (Some(fork), false);
                self.report_here(pipeline, IssueKind::Contradiction { other, seq });
                Ok(true)
            }
        }
    }

    /// Switches to the stream that already has this header, if any.
    pub(super) fn recall(&mut self, heading: &Heading<'_>) -> Option<usize> {
        let number = *self.by_header.get(&heading.key())?;
        (self.file.current, self.file.is_repeat, self.file.segment) = (Some(number), true, heading.header.segment);
        Some(number)
    }

    pub(super) fn repeated(&mut self, events: u64, number: usize) {
        let source = self.streams.get(number).map(|tracked| tracked.source.clone());
        let summary = &mut self.file.summary;
        summary.repeated += events;
        summary.repeats = summary.repeats.take().or(source);
    }

    /// Finds or begins the stream of a header; returns false if it was read before.
    pub(super) fn place_header(
        &mut self,
        events: u64,
        content: Content,
        heading: &Heading<'_>,
        pipeline: &mut Pipeline<impl Consumer>,
    ) -> Result<bool, AssembleError> {
        if let Some(number) = self.recall(heading) {
            return self.place_repeat(number, heading.seq, events, content, pipeline);
        }
        let Heading { header, seq, boot_ns, .. } = *heading;
        let identity = Identity::new(header, boot_ns);
        let key = heading.key();
        (self.file.is_repeat, self.file.segment) = (false, header.segment);
        let candidates: Vec<usize> = self
            .by_ids
            .get(&key.0)
            .map(|all| all.iter().rev().take(CANDIDATES_MAX).copied().collect())
            .unwrap_or_default();
        let mut continued = candidates.iter().copied().filter_map(|number| {
            let tracked = self.streams.get(number)?;
            let follows = tracked.is_continued_by(&identity, header, seq, pipeline.next_seq(tracked.id));
            // Of cloned machines, choose the one whose seal the header refers to.
            follows.then(|| (number, tracked.previous.is_some() && tracked.previous == header.previous))
        });
        let first = continued.next();
        let continued = first.into_iter().chain(continued).reduce(|a, b| if b.1 && !a.1 { b } else { a });
        let continued = continued.map(|(number, _)| number);
        let number = match continued {
            Some(number) => number,
            None => self.begin(Some(identity), header.segment, pipeline)?,
        };
        self.file.current = Some(number);
        self.by_header.insert(key.clone(), number);
        if continued.is_some() {
            self.continue_with(number, header, seq, pipeline);
            return Ok(true);
        }
        self.by_ids.entry(key.0).or_default().push(number);
        if let Some(tracked) = self.streams.get_mut(number) {
            tracked.previous =
                if header.segment.unwrap_or(0) == 0 { Some(to_hex(&NO_HASH)) } else { header.previous.clone() };
            if header.segment.unwrap_or(0) > 0 {
                pipeline.begin_at(tracked.id, seq);
            }
        }
        if let Some(other) = candidates.first().and_then(|other| self.streams.get(*other)) {
            let other = other.source.clone();
            self.report_here(pipeline, IssueKind::Contradiction { other, seq });
        } else if let Some(segment) = header.segment.filter(|segment| *segment > 0) {
            self.report_here(pipeline, IssueKind::MissingBeginning { segment });
        }
        Ok(true)
    }

    /// Continues a stream with its next available segment.
    pub(super) fn continue_with(
        &mut self,
        number: usize,
        header: &Header,
        seq: u64,
        pipeline: &mut Pipeline<impl Consumer>,
    ) {
        let Some(tracked) = self.streams.get_mut(number) else { return };
        let due = tracked.segment.map_or(0, |segment| segment.saturating_add(1));
        let segment = header.segment.unwrap_or(due);
        tracked.segment = Some(segment);
        if segment > due {
            tracked.previous = None;
            // The previous segment may be present without its header; then the missing header is reported.
            let is_here = header.previous.as_ref().is_some_and(|previous| self.headless.contains(previous));
            let end = if is_here { segment - 1 } else { segment };
            if end > due {
                self.report_here(pipeline, IssueKind::MissingSegments { first: due, last: end - 1 });
            }
        } else if pipeline.next_seq(tracked.id) != seq {
            // The end of the previous segment is missing, which is reported.
            tracked.previous = None;
        } else if tracked.sealed_parts > 0 && tracked.previous.is_some() && tracked.previous != header.previous {
            tracked.previous = None;
            let kind = IssueKind::Altered { first_seq: seq, last_seq: seq, how: Alteration::Order };
            self.report_here(pipeline, kind);
        }
    }

    pub(super) fn begin(
        &mut self,
        identity: Option<Identity>,
        segment: Option<u32>,
        pipeline: &mut Pipeline<impl Consumer>,
    ) -> Result<usize, AssembleError> {
        let id = pipeline.begin(&self.file.summary.file);
        self.track(id, identity, segment)
    }

    pub(super) fn track(
        &mut self,
        id: StreamId,
        identity: Option<Identity>,
        segment: Option<u32>,
    ) -> Result<usize, AssembleError> {
        if self.streams.len() >= STREAMS_MAX {
            return Err(AssembleError::TooManyStreams);
        }
        let source = self.file.summary.file.clone();
        self.streams.push(Tracked {
            id,
            identity,
            source,
            copies: Copies::default(),
            previous: None,
            segment,
            has_ended: false,
            is_after_end: false,
            sealed_parts: 0,
            unsealed: None,
            doubled: 0,
            has_room: true,
            copy_of: None,
        });
        Ok(self.streams.len() - 1)
    }
}

impl Tracked {
    /// Returns whether a header belongs to a later segment of this recording.
    pub(super) fn is_continued_by(&self, identity: &Identity, header: &Header, seq: u64, next_seq: u64) -> bool {
        let (Some(own), Some(theirs)) = (self.segment, header.segment) else { return false };
        self.identity.as_ref() == Some(identity) && !self.has_ended && theirs > own && seq >= next_seq
    }
}

/// A line with a header.
pub(super) struct Heading<'a> {
    pub(super) header: &'a Header,
    seq: u64,
    boot_ns: u64,
    fingerprint: u32,
}

impl<'a> Heading<'a> {
    pub(super) fn of(line: &'a Line) -> Option<Self> {
        match &line.content {
            batch::Content::Event(Event { seq, boot_ns, body: Body::Header(header), .. }) => {
                Some(Self { header, seq: *seq, boot_ns: *boot_ns, fingerprint: line.fingerprint })
            }
            _ => None,
        }
    }

    pub(super) fn key(&self) -> (SharedIds, u64, u32) {
        (Identity::new(self.header, self.boot_ns).shared(), self.seq, self.fingerprint)
    }
}
