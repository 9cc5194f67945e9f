//! Sections to events: decodes, parses and checks the seal of each section. Sections are independent, so several
//! threads can work in parallel.

use std::{
    hash::{BuildHasher, RandomState},
    ops::Range,
};

use zstd::bulk::Decompressor;

use super::{
    frame::{HASH_FIELD, find_last},
    hash::{Hash, Hasher, to_hex},
    section::{self, Damage, FRAME_TEXT_BYTES_MAX, Section},
    sign::PublicKey,
};
use crate::event::{self, Body, Event, ParseError, Parsed, Seal};

/// A parsed section of a capture.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Batch {
    /// Its offset in the file.
    pub offset: u64,
    /// Its size in the file.
    pub bytes: u64,
    /// Its lines, split after every seal.
    pub parts: Vec<Part>,
    /// Total number of lines, including blank ones.
    pub line_count: u64,
    /// Why it is unreadable.
    pub damage: Option<Damage>,
}

impl Content {
    /// The number of the event.
    #[must_use]
    pub const fn seq(&self) -> Option<u64> {
        match self {
            Self::Event(event) => Some(event.seq),
            Self::Unknown(seq) | Self::Brief(seq, _) => Some(*seq),
            Self::Malformed { seq, .. } => *seq,
            Self::Newer(_) => None,
        }
    }
}

/// Lines up to a seal or the end of the section.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Part {
    /// The lines, without blank lines and the seal.
    pub lines: Vec<Line>,
    /// The seal at their end.
    pub seal: Option<Sealed>,
    /// The seal also covers lines that were passed on before.
    pub is_continued: bool,
}

/// A line.
#[derive(Debug)]
#[non_exhaustive]
pub struct Line {
    /// Its number in the section, from 0.
    pub number: u64,
    /// Its bytes in the section's text.
    pub range: Range<usize>,
    /// It has a line end; only the last line of a file may lack it.
    pub is_terminated: bool,
    /// Fingerprint for comparison with another copy, if one may be needed; valid only within one run.
    pub fingerprint: u32,
    /// Its content.
    pub content: Content,
}

/// The content of a line.
#[derive(Debug)]
#[non_exhaustive]
pub enum Content {
    /// An event.
    Event(Event),
    /// An event of which only the number and kind are needed.
    Brief(u64, Brief),
    /// An event of a type unknown to this version, and its number.
    Unknown(u64),
    /// Not an event.
    Malformed {
        /// Its number, if it begins like an event.
        seq: Option<u64>,
        /// Why.
        why: Box<ParseError>,
        /// Number of directly following lines that are no events and have no number; they are not stored separately.
        more: u64,
    },
    /// The header of a format version that is not supported.
    Newer(String),
}

/// The counter that an event belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Brief {
    /// A request.
    Request,
    /// A load.
    Load,
    /// An unload.
    Unload,
    /// Any other.
    Other,
}

impl Brief {
    /// The counter of an event for which counting is sufficient; `None` for events about the stream itself and for
    /// loads with unknown fields.
    fn of(event: &Event) -> Option<Self> {
        match &event.body {
            Body::Header(_) | Body::Loss(_) | Body::End(_) | Body::Seal(_) => None,
            Body::Request(_) => Some(Self::Request),
            Body::Load(load) => (!load.is_unattributed()).then_some(Self::Load),
            Body::Unload(_) => Some(Self::Unload),
            _ => Some(Self::Other),
        }
    }
}

/// A seal and the text that it covers.
#[derive(Debug)]
#[non_exhaustive]
pub struct Sealed {
    /// Its number.
    pub seq: u64,
    /// Its contents.
    pub seal: Seal,
    /// The hash of the covered text; absent if the text is incomplete.
    pub hash: Option<Hash>,
    /// Only the hash and a signature follow the covered text.
    pub is_canonical: bool,
    /// Whether the signature is valid, if a key was given.
    pub is_signed: Option<bool>,
}

/// Creates batches.
pub struct Batcher {
    decompressor: Decompressor<'static>,
    text: Vec<u8>,
    key: Option<PublicKey>,
    hasher: RandomState,
    keeps_lines: bool,
    is_brief: bool,
}

impl std::fmt::Debug for Batcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batcher").finish_non_exhaustive()
    }
}

impl Batcher {
    /// Creates a batcher that checks signatures with `key`. Fingerprints are comparable between batchers with the same
    /// `hasher`; with `keeps_lines` sealed lines have one as well.
    ///
    /// # Errors
    /// When zstd cannot be set up.
    pub fn new(key: Option<PublicKey>, hasher: RandomState, keeps_lines: bool) -> std::io::Result<Self> {
        Ok(Self { decompressor: Decompressor::new()?, text: Vec::new(), key, hasher, keeps_lines, is_brief: false })
    }

    /// Makes the batcher parse only number and type of most events.
    #[must_use]
    pub fn briefly(self, is_brief: bool) -> Self {
        Self { is_brief, ..self }
    }

    /// Parses a section.
    pub fn batch(&mut self, section: Section) -> Batch {
        let Section { offset, bytes, body } = section;
        let mut batch = Batch { offset, bytes, ..Batch::default() };
        match body {
            section::Body::Gap(damage) => batch.damage = Some(damage),
            section::Body::Text { text, is_complete, begun } => {
                let begun = begun.map(|begun| *begun);
                self.parts(&text, if is_complete { Some(Hasher::default()) } else { begun }, is_complete, &mut batch);
            }
            section::Body::Frame(frame) => {
                let mut text = std::mem::take(&mut self.text);
                text.clear();
                text.reserve(FRAME_TEXT_BYTES_MAX);
                match self.decompressor.decompress_to_buffer(&frame, &mut text) {
                    Err(_) => batch.damage = Some(Damage::Frame),
                    Ok(_) if text.last().is_some_and(|byte| *byte != b'\n') => batch.damage = Some(Damage::Line),
                    Ok(_) => self.parts(&text, Some(Hasher::default()), true, &mut batch),
                }
                self.text = text;
            }
        }
        batch
    }

    /// Splits text into parts. The first part is a complete one if `is_complete`; `begun` is the hash state of the
    /// earlier text that its seal covers, if known.
    fn parts(&self, text: &[u8], mut begun: Option<Hasher>, mut is_complete: bool, batch: &mut Batch) {
        let mut part = Part::default();
        let mut begin = 0;
        let mut at = 0;
        while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
            let line_begin = at;
            let length = memchr::memchr(b'\n', rest).map_or(rest.len(), |end| end + 1);
            let line = rest.get(..length).unwrap_or(rest);
            at += length;
            let number = batch.line_count;
            batch.line_count += 1;
            let is_terminated = line.ends_with(b"\n");
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let content = content(line, is_terminated);
            if let Content::Event(Event { seq, body: Body::Seal(seal), .. }) = content {
                let covered = find_last(line, HASH_FIELD).and_then(|end| text.get(begin..line_begin + end));
                let hash = covered.zip(begun.take()).map(|(covered, begun)| begun.with(covered));
                part.is_continued = !is_complete;
                part.seal = Some(self.sealed(line, seq, seal, hash));
                let is_headed = matches!(
                    part.lines.first(),
                    Some(Line { content: Content::Event(Event { body: Body::Header(_), .. }), .. })
                );
                if self.keeps_lines || hash.is_none() {
                    self.fingerprints(text, &mut part.lines);
                } else if is_headed {
                    // A header is compared separately, since it identifies the recording of the part.
                    self.fingerprints(text, part.lines.get_mut(..1).unwrap_or_default());
                }
                batch.parts.push(std::mem::take(&mut part));
                (begin, is_complete, begun) = (at, true, Some(Hasher::default()));
                continue;
            }
            if is_terminated && is_one_more(part.lines.last_mut(), number, &content) {
                continue;
            }
            let content = match content {
                Content::Event(event) if self.is_brief => match Brief::of(&event) {
                    Some(brief) => Content::Brief(event.seq, brief),
                    None => Content::Event(event),
                },
                content => content,
            };
            let range = line_begin..line_begin + line.len();
            part.lines.push(Line { number, range, is_terminated, fingerprint: 0, content });
        }
        if !part.lines.is_empty() {
            self.fingerprints(text, &mut part.lines);
            batch.parts.push(part);
        }
    }

    /// A sealed part is compared by its hash. Only lines that are unsealed, or may be without their seal in another
    /// copy, need a fingerprint.
    fn fingerprints(&self, text: &[u8], lines: &mut [Line]) {
        for line in lines {
            let hash = self.hasher.hash_one(text.get(line.range.clone()).unwrap_or_default());
            #[expect(clippy::cast_possible_truncation, reason = "any 32 of its bits serve")]
            let fingerprint = hash as u32;
            line.fingerprint = fingerprint;
        }
    }

    fn sealed(&self, line: &[u8], seq: u64, seal: Seal, hash: Option<Hash>) -> Sealed {
        let is_canonical = find_last(line, HASH_FIELD).is_some_and(|end| line.get(end..) == Some(&tail(&seal)[..]));
        let is_signed = self
            .key
            .as_ref()
            .zip(hash)
            .map(|(key, hash)| seal.signature.as_ref().is_some_and(|signature| key.has_signed(&hash, signature)));
        Sealed { seq, seal, hash, is_canonical, is_signed }
    }
}

/// The bytes that the writer appends to the text that a hash covers.
fn tail(seal: &Seal) -> Vec<u8> {
    let signature =
        seal.signature.as_ref().map_or_else(String::new, |signature| format!(",\"signature\":\"{signature}\""));
    format!("{}\"{}\"{signature}}}", String::from_utf8_lossy(HASH_FIELD), seal.sha256).into_bytes()
}

impl Sealed {
    /// The hash that the next seal must refer to.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.seal.sha256
    }

    /// Returns whether the text matches the seal.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.hash.is_some_and(|hash| to_hex(&hash) == self.seal.sha256)
    }
}

fn content(line: &[u8], is_terminated: bool) -> Content {
    match event::parse(line) {
        Ok(Parsed::Event(event)) => Content::Event(event),
        Ok(Parsed::Unknown { seq }) => Content::Unknown(seq),
        Err(error @ ParseError::Version { .. }) => Content::Newer(format!("written in {error}")),
        // An incomplete last line is not compared with other copies.
        Err(error) => Content::Malformed { seq: number(line).filter(|_| is_terminated), why: Box::new(error), more: 0 },
    }
}

/// Merges a line that is no event and has no number with a previous one. A frame of a few bytes may contain a million
/// of them.
fn is_one_more(last: Option<&mut Line>, number: u64, content: &Content) -> bool {
    match (last, content) {
        (
            Some(Line { number: first, content: Content::Malformed { more, .. }, .. }),
            Content::Malformed { seq: None, .. },
        ) if *first + *more + 1 == number => {
            *more += 1;
            true
        }
        _ => false,
    }
}

/// The number at the beginning of a malformed event.
fn number(line: &[u8]) -> Option<u64> {
    let rest = line.strip_prefix(b"{\"seq\":")?;
    let digits = rest.get(..memchr::memchr(b',', rest)?)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}
