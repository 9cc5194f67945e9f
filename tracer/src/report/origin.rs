//! Which recording a header is of, so that what is given twice is read once.

use crate::event::{Body, Event, Header};

/// Characters of an id that are kept: a capture that was made to fill memory has long ones.
const ID_CHARS_LIMIT: usize = 64;

/// What the segments of a recording share, and no other recording has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    boot_id: String,
    /// Its id; what was written without one has one header only, and begins by its clock.
    recording: Result<String, u64>,
}

impl Origin {
    /// Of a header, which was written `boot_ns` after the boot.
    #[must_use]
    pub fn new(header: &Header, boot_ns: u64) -> Self {
        let clipped = |id: &str| id.chars().take(ID_CHARS_LIMIT).collect::<String>();
        let recording = header.recording.as_deref().map(clipped).ok_or(boot_ns);
        Self { boot_id: clipped(&header.boot_id), recording }
    }
}

/// What was read of a recording, from a header on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    origin: Origin,
    /// The number of the header.
    first_seq: u64,
}

impl Part {
    pub(super) const fn new(origin: Origin, first_seq: u64) -> Self {
        Self { origin, first_seq }
    }

    /// Whether a header with this number is in it, where the numbers below `next_seq` were read.
    pub(super) fn has_read(&self, origin: &Origin, seq: u64, next_seq: u64) -> bool {
        (self.first_seq..next_seq).contains(&seq) && self.origin == *origin
    }
}

/// Recordings that are kept in mind; a capture may be made of nothing but headers.
const RECORDINGS_LIMIT: usize = 4096;

/// Which recordings were read, and how far: for who takes events one by one.
#[derive(Debug, Default)]
pub struct Recordings {
    /// With the number of the next event, and where it was read from.
    read: Vec<(Part, u64, String)>,
    current: Option<usize>,
    /// Events of the present source below this number were read from another.
    repeated_below: u64,
    repeats: Repeats,
    is_full: bool,
}

impl Recordings {
    /// The events that follow are of another source.
    pub const fn begin(&mut self) {
        self.current = None;
        self.repeated_below = 0;
    }

    /// Takes an event of a source; true when it was read before.
    pub fn has_read(&mut self, event: &Event, source: &str) -> bool {
        if let Body::Header(header) = &event.body {
            self.header(&Origin::new(header, event.boot_ns), event.seq, source);
        }
        let is_repeated = event.seq < self.repeated_below;
        if let Some((_, next_seq, of)) = self.current.and_then(|number| self.read.get_mut(number)) {
            if is_repeated {
                self.repeats.add(source, of);
            } else {
                *next_seq = event.seq.saturating_add(1);
            }
        }
        is_repeated
    }

    fn header(&mut self, origin: &Origin, seq: u64, source: &str) {
        self.begin();
        let again = self.read.iter().position(|(part, next_seq, _)| part.has_read(origin, seq, *next_seq));
        if let Some(number) = again {
            self.repeated_below = self.read.get(number).map_or(0, |(_, next_seq, _)| *next_seq);
            self.current = Some(number);
        } else if self.read.len() < RECORDINGS_LIMIT {
            self.current = Some(self.read.len());
            self.read.push((Part::new(origin.clone(), seq), seq, source.to_owned()));
        } else {
            self.is_full = true;
        }
    }

    /// What was left out, a sentence each.
    pub fn sentences(&self) -> impl Iterator<Item = String> {
        let full = self.is_full.then(|| {
            format!(
                "there are more than {RECORDINGS_LIMIT} recordings: what is given twice of the rest is counted twice"
            )
        });
        self.repeats.sentences().chain(full)
    }
}

/// A source of which something was read before.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Repeat {
    /// The source.
    source: String,
    /// The source that it repeats.
    of: String,
    /// Events that were left out.
    events: u64,
}

impl std::fmt::Display for Repeat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let events =
            crate::output::count(self.events, "event was read already and is", "events were read already and are");
        write!(f, "{}: {events} left out (from {})", self.source, self.of)
    }
}

/// Sources of which something was left out.
#[derive(Clone, Debug, Default)]
pub struct Repeats {
    told: Vec<Repeat>,
    /// Further ones, beyond what is kept.
    more: u64,
}

/// Repeats that are told one by one.
const REPEATS_LIMIT: usize = 64;

impl Repeats {
    /// An event of a source was read before, from another.
    pub fn add(&mut self, source: &str, of: &str) {
        if let Some(last) = self.told.last_mut().filter(|last| last.source == source && last.of == of) {
            last.events += 1;
        } else if self.told.len() < REPEATS_LIMIT {
            self.told.push(Repeat { source: source.to_owned(), of: of.to_owned(), events: 1 });
        } else {
            self.more += 1;
        }
    }

    /// What was left out, a sentence each.
    pub fn sentences(&self) -> impl Iterator<Item = String> {
        let more = (self.more > 0).then(|| format!("{} more events were read already and are left out", self.more));
        self.told.iter().map(ToString::to_string).chain(more)
    }
}

#[cfg(test)]
mod tests {
    use super::{Origin, Part, Repeats};
    use crate::event::Header;

    /// Check that a segment is known by its recording, or by its beginning, and by its boot.
    #[test]
    fn recordings_are_told_apart() {
        let origin = |boot: &str, recording: Option<&str>, boot_ns| {
            let recording = recording.map(str::to_owned);
            Origin::new(&Header { boot_id: boot.to_owned(), recording, ..Header::default() }, boot_ns)
        };
        let part = Part::new(origin("b", Some("r"), 5), 10);
        for (other, seq, is_read) in [
            (origin("b", Some("r"), 5), 10, true),
            (origin("b", Some("r"), 9), 19, true),
            (origin("b", Some("r"), 9), 20, false),
            (origin("b", Some("r"), 5), 9, false),
            (origin("b", Some("s"), 5), 10, false),
            (origin("c", Some("r"), 5), 10, false),
            (origin("b", None, 5), 10, false),
        ] {
            assert_eq!(part.has_read(&other, seq, 20), is_read, "{other:?} {seq}");
        }
        assert_eq!(origin("b", None, 5), origin("b", None, 5));
        assert_ne!(origin("b", None, 5), origin("b", None, 6));
    }

    /// Check that what is left out is counted for each source, and that there is a limit to what is told.
    #[test]
    fn repeats_are_counted() {
        let mut repeats = Repeats::default();
        for (source, of) in [("b", "a"), ("b", "a"), ("c", "a")] {
            repeats.add(source, of);
        }
        let told: Vec<String> = repeats.sentences().collect();
        assert_eq!(
            told,
            [
                "b: 2 events were read already and are left out (from a)",
                "c: 1 event was read already and is left out (from a)"
            ]
        );
        (0..100).for_each(|number| repeats.add(&number.to_string(), "a"));
        assert_eq!(repeats.sentences().last().as_deref(), Some("38 more events were read already and are left out"));
    }
}
