//! Where events come from, and what is missing of them: every stream says what it did not see.

use std::collections::BTreeMap;

use super::{
    facts::nanoseconds,
    names::{NameId, Names},
    origin::{Origin, Part},
};
use crate::{
    event::{Body, End, Header, Loss, LossStage},
    output::count as count_of,
};

/// Causes of loss that are told apart.
const CAUSES_LIMIT: usize = 64;

/// Characters of a name that are kept.
const NAME_CHARS_LIMIT: usize = 256;

/// Things noticed about a stream that are told in words.
const NOTES_LIMIT: usize = 16;

/// What a header says of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// Host name.
    pub host: String,
    /// The boot.
    pub boot_id: String,
    /// Kernel release.
    pub kernel: String,
    /// Architecture.
    pub arch: String,
}

impl About {
    pub(super) fn new(header: &Header) -> Self {
        Self {
            host: clipped(&header.hostname),
            boot_id: clipped(&header.boot_id),
            kernel: clipped(&header.kernel),
            arch: clipped(&header.arch),
        }
    }
}

/// A name that is kept for each stream: a capture that was made to fill memory has long ones.
fn clipped(name: &str) -> String {
    name.chars().take(NAME_CHARS_LIMIT).collect()
}

/// A stream: what one tracer on one machine wrote from its start to its end, in one file or in several.
#[derive(Clone, Debug, Default)]
pub struct Stream {
    /// Files it was read from; the first of many.
    pub source: String,
    /// How many files.
    pub sources: u64,
    /// What its header says; absent when the stream begins without.
    pub about: Option<About>,
    /// Events read.
    pub events: u64,
    /// Seals among them, where events are read in full.
    pub seals: u64,
    /// Losses that the tracer itself counted, by stage and cause.
    pub lost: BTreeMap<(&'static str, String), u64>,
    /// Events that are missing between others, by their numbers.
    pub gap_events: u64,
    /// Places where some are missing.
    pub gaps: u64,
    /// Lines that are no events.
    pub malformed: u64,
    /// Events of types this version does not know.
    pub unknown: u64,
    /// Totals, where the stream was ended in order.
    pub end: Option<End>,
    /// First and last time.
    pub span_ns: Option<(i64, i64)>,
    /// What else is wrong, in words.
    pub notes: Vec<String>,
    next_seq: Option<u64>,
    host_id: Option<NameId>,
    /// The recording that it is of.
    part: Option<Part>,
}

impl Stream {
    /// A stream of a source.
    pub(super) fn new(source: &str) -> Self {
        Self { source: source.to_owned(), sources: 1, ..Self::default() }
    }

    /// The machine's name.
    #[must_use]
    pub fn host(&self) -> &str {
        self.about.as_ref().map_or("", |about| about.host.as_str())
    }

    /// The boot.
    #[must_use]
    pub fn boot_id(&self) -> &str {
        self.about.as_ref().map_or("", |about| about.boot_id.as_str())
    }

    pub(super) fn host_id(&self) -> NameId {
        self.host_id.unwrap_or(NameId::NONE)
    }

    /// Takes its header, if it has none.
    pub(super) fn begin(&mut self, about: About, names: &mut Names) {
        if self.about.is_none() {
            self.host_id = Some(names.id(about.host.as_bytes()));
            self.about = Some(about);
        }
    }

    /// Takes what its first header tells of its recording.
    pub(super) fn record(&mut self, origin: Origin, seq: u64) {
        self.part.get_or_insert(Part::new(origin, seq));
    }

    /// Up to which number its events were read, when a header with this number is one of them.
    pub(super) fn repeated_below(&self, origin: &Origin, seq: u64) -> Option<u64> {
        let next_seq = self.next_seq?;
        self.part.as_ref()?.has_read(origin, seq, next_seq).then_some(next_seq)
    }

    /// Whether an event with this number goes on with the stream.
    pub(super) fn continues(&self, about: &About, seq: u64) -> bool {
        let is_due = self.next_seq == Some(seq) && self.end.is_none();
        is_due && self.about.as_ref().is_some_and(|own| own.boot_id == about.boot_id)
    }

    /// Takes an event's number. A gap is a loss that nobody counted.
    pub(super) fn number(&mut self, seq: u64) {
        self.events += 1;
        match self.next_seq {
            Some(next) if seq > next => {
                self.gaps += 1;
                self.gap_events = self.gap_events.saturating_add(seq - next);
            }
            Some(next) if seq < next => self.note(format!("event {seq} comes after event {}", next - 1)),
            None if seq > 0 && self.about.is_none() => {
                self.note(format!("it begins with event {seq}, without a header"));
            }
            _ => {}
        }
        self.next_seq = Some(seq.saturating_add(1));
    }

    pub(super) fn time(&mut self, time: jiff::Timestamp) {
        let ns = nanoseconds(time);
        let (first, last) = self.span_ns.unwrap_or((ns, ns));
        self.span_ns = Some((first.min(ns), last.max(ns)));
    }

    /// Takes what an event tells of the stream itself.
    pub(super) fn body(&mut self, body: &Body) {
        match body {
            Body::Loss(loss) => self.loss(loss),
            Body::Seal(_) => self.seals += 1,
            Body::End(end) => self.end = Some(end.clone()),
            _ => {}
        }
    }

    fn loss(&mut self, loss: &Loss) {
        let key = (stage_name(loss.stage), clipped(&loss.cause));
        let key = if self.lost.contains_key(&key) || self.lost.len() < CAUSES_LIMIT {
            key
        } else {
            (key.0, "other causes".to_owned())
        };
        let count = self.lost.entry(key).or_default();
        *count = count.saturating_add(loss.count);
    }

    /// Says that something is wrong.
    pub(super) fn note(&mut self, note: String) {
        if self.notes.len() < NOTES_LIMIT && !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// All that is missing, a sentence each; empty for a whole stream.
    #[must_use]
    pub fn missing(&self, is_followed: bool) -> Vec<String> {
        let mut missing: Vec<String> = Vec::new();
        for ((stage, cause), count) in &self.lost {
            let lost = count_of(*count, "event was", "events were");
            missing.push(format!("{lost} lost when it was recorded: {cause} ({stage})"));
        }
        if self.gaps > 0 {
            let events = count_of(self.gap_events, "event is", "events are");
            missing.push(format!("{events} missing in {}", count_of(self.gaps, "place", "places")));
        }
        if self.malformed > 0 {
            missing.push(format!("{} not understood", count_of(self.malformed, "line is", "lines are")));
        }
        if self.unknown > 0 {
            let events = count_of(self.unknown, "event is of a type", "events are of types");
            missing.push(format!("{events} that this version does not know"));
        }
        if self.about.is_none() {
            missing.push("there is no header: host and boot are not known".to_owned());
        }
        if self.end.is_none() && !is_followed {
            missing.push("there is no end: it is still being recorded, or the recorder was killed".to_owned());
        }
        missing.extend(self.notes.iter().cloned());
        missing
    }
}

/// Where something was lost.
const fn stage_name(stage: LossStage) -> &'static str {
    match stage {
        LossStage::Probe => "in the kernel",
        LossStage::Missed => "not run by the kernel",
        LossStage::Decode => "not understood",
        LossStage::Write => "not written",
    }
}

#[cfg(test)]
mod tests {
    use super::{About, Stream};
    use crate::{
        event::{Body, End, Header, Loss, LossStage},
        report::names::Names,
    };

    /// Check that a whole stream has nothing to say, an empty one that it is none, and that each defect is a sentence with its
    /// number.
    #[test]
    fn tells_what_is_missing() {
        let mut stream = Stream::new("a.jsonl");
        stream.number(0);
        stream.number(1);
        stream.body(&Body::Loss(Loss { stage: LossStage::Probe, cause: "ring_full".to_owned(), count: 2 }));
        stream.body(&Body::Loss(Loss { stage: LossStage::Probe, cause: "ring_full".to_owned(), count: 3 }));
        stream.number(5);
        assert_eq!(
            stream.missing(false),
            [
                "5 events were lost when it was recorded: ring_full (in the kernel)",
                "3 events are missing in 1 place",
                "there is no header: host and boot are not known",
                "there is no end: it is still being recorded, or the recorder was killed",
            ]
        );
        let mut whole = Stream::new("b.jsonl");
        assert_eq!(whole.missing(false).len(), 2);
        whole.begin(About::new(&Header::default()), &mut Names::default());
        whole.body(&Body::End(End::default()));
        assert!(whole.missing(false).is_empty());
    }
}
