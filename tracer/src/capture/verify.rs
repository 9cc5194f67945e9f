//! Whether anything of a capture is missing or altered.

use std::{
    collections::{BTreeMap, HashMap},
    io::Read,
};

use serde::Serialize;

use super::{
    frame::{HASH_FIELD, find_last},
    hash::{Hasher, NO_HASH, to_hex},
    lines::{LineError, Lines},
    reader::parse,
    sign::PublicKey,
};
use crate::event::{Body, Event, Header, Loss, LossStage, Seal};

/// Gaps of a file that are told one by one: a capture may be made of nothing else.
const GAPS_LIMIT: u64 = 64;

/// Causes of loss that are told apart.
const CAUSES_LIMIT: usize = 64;

/// Characters of a cause that are kept.
const CAUSE_CHARS_LIMIT: usize = 256;

/// What is known of one file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FileReport {
    /// Events, seals left out.
    pub events: u64,
    /// Numbers of the first and the last event.
    pub range: Option<(u64, u64)>,
    /// Seals that hold.
    pub seals: u64,
    /// Seals with a good signature.
    pub signed: u64,
    /// The hash of the last seal that holds, in hexadecimal.
    pub last_hash: Option<String>,
    /// It ends as a recording does.
    pub ended: bool,
    /// What is missing or altered.
    pub problems: Vec<String>,
    /// Events of types that are not known here.
    pub unknown: u64,
    /// Bytes up to here are good: whole frames, or whole lines of plain text.
    pub good_bytes: u64,
    /// Plain text: nothing vouches for it.
    pub unsealed: bool,
}

/// What is known of all files.
#[derive(Debug, Default)]
pub struct Verifier {
    key: Option<PublicKey>,
    recordings: HashMap<String, Progress>,
    losses: BTreeMap<(String, String), u64>,
}

/// How far a recording was followed.
#[derive(Clone, Debug)]
struct Progress {
    next_seq: u64,
    previous: String,
    next_segment: u32,
    ended: bool,
}

/// The state of one file.
struct Walk<'a> {
    report: FileReport,
    key: Option<&'a PublicKey>,
    /// Text of the frame so far.
    text: Hasher,
    /// First and last event of the frame so far.
    frame: Option<(u64, u64)>,
    next_seq: Option<u64>,
    previous: Option<String>,
    sealed: bool,
    /// A frame had no seal: whoever can write the file can have put it there.
    unsealed_frame: bool,
    /// Numbers that do not follow the one before.
    gaps: u64,
}

/// What every event has, also one of a type that is not known.
#[derive(serde::Deserialize)]
struct Numbered {
    seq: u64,
}

impl Verifier {
    /// A verifier; with a key, each seal must be signed by it.
    #[must_use]
    pub fn new(key: Option<PublicKey>) -> Self {
        Self { key, ..Self::default() }
    }

    /// Losses that the captures tell of, by stage and cause.
    #[must_use]
    pub const fn losses(&self) -> &BTreeMap<(String, String), u64> {
        &self.losses
    }

    /// Recordings whose last file so far has no end.
    #[must_use]
    pub fn unended(&self) -> usize {
        self.recordings.values().filter(|progress| !progress.ended).count()
    }

    /// Reads one file to its end, or to where it is no more to be trusted. Files of a recording come in order.
    ///
    /// # Errors
    /// When it cannot be read at all.
    pub fn file(&mut self, input: impl Read) -> Result<FileReport, LineError> {
        let mut lines = Lines::new(input)?;
        let key = self.key.clone();
        let mut walk = Walk {
            report: FileReport::default(),
            key: key.as_ref(),
            text: Hasher::default(),
            frame: None,
            next_seq: None,
            previous: None,
            sealed: false,
            unsealed_frame: false,
            gaps: 0,
        };
        let mut recording: Option<(String, u32)> = None;
        let mut number = 0;
        // Text that no seal has vouched for yet, bytes.
        let mut pending = 0;
        loop {
            let line = match lines.next_line() {
                Ok(Some(line)) => line,
                Ok(None) => break,
                Err(error @ (LineError::Read(_) | LineError::NotACapture)) if number == 0 => return Err(error),
                Err(error) => {
                    walk.report.problems.push(error.to_string());
                    break;
                }
            };
            number += 1;
            let length = line.len() as u64 + 1;
            let event = match parse(line, number) {
                Ok(event) => event,
                Err(error) => {
                    walk.report.problems.push(error.to_string());
                    break;
                }
            };
            if let Some(Event { body: Body::Header(header), .. }) = &event {
                recording = self.header(header, &mut walk);
            }
            if let Some(Event { body: Body::Loss(loss), .. }) = &event {
                self.loss(loss);
            }
            if !walk.line(line, event.as_ref()) {
                break;
            }
            // Text that was taken out of its frames has the seals alone.
            let is_end = if lines.is_plain() { walk.sealed } else { lines.at_frame_end() };
            if is_end && !walk.frame_ends() {
                break;
            }
            pending += length;
            if is_end {
                walk.report.good_bytes =
                    if lines.is_plain() { walk.report.good_bytes + pending } else { lines.offset() };
                pending = 0;
            }
        }
        walk.report.unsealed = walk.report.seals == 0;
        if lines.is_plain() && pending > 0 {
            if walk.report.unsealed {
                walk.report.good_bytes += pending;
            } else if walk.report.problems.is_empty() {
                walk.report.problems.push("ends with lines that no seal vouches for".to_owned());
            }
        }
        if let (Some((id, segment)), Some(next_seq), Some(previous)) = (recording, walk.next_seq, &walk.previous) {
            let (previous, next_segment, ended) = (previous.clone(), segment.saturating_add(1), walk.report.ended);
            self.recordings.insert(id, Progress { next_seq, previous, next_segment, ended });
        }
        Ok(walk.report)
    }

    /// Adds to what was lost, in bounded memory.
    fn loss(&mut self, loss: &Loss) {
        let stage = stage(loss.stage).to_owned();
        let mut key = (stage, loss.cause.chars().take(CAUSE_CHARS_LIMIT).collect());
        if self.losses.len() >= CAUSES_LIMIT && !self.losses.contains_key(&key) {
            key.1 = "other causes".to_owned();
        }
        let lost = self.losses.entry(key).or_default();
        *lost = lost.saturating_add(loss.count);
    }

    /// Ties a file to the one before it.
    fn header(&self, header: &Header, walk: &mut Walk<'_>) -> Option<(String, u32)> {
        let (id, segment) = (header.recording.clone()?, header.segment?);
        if walk.report.events > 0 {
            return Some((id, segment));
        }
        match (self.recordings.get(&id), segment) {
            (Some(before), _) if before.next_segment == segment => {
                walk.next_seq = Some(before.next_seq);
                walk.previous = Some(before.previous.clone());
            }
            (_, 0) => {
                walk.next_seq = Some(0);
                walk.previous = Some(to_hex(&NO_HASH));
            }
            (Some(before), _) if segment < before.next_segment => {
                let last = before.next_segment - 1;
                walk.report
                    .problems
                    .push(format!("is segment {segment} of its recording, and stands behind segment {last}"));
            }
            (Some(before), _) => {
                let gap = format!("{} to {}", before.next_segment, segment - 1);
                walk.report.problems.push(format!("files are missing before it: segments {gap} of its recording"));
            }
            // The first file given: what came before may be elsewhere.
            (None, _) => walk.previous.clone_from(&header.previous),
        }
        Some((id, segment))
    }
}

impl Walk<'_> {
    /// Takes a line; false when what follows is not to be trusted.
    fn line(&mut self, line: &[u8], event: Option<&Event>) -> bool {
        if self.sealed {
            self.report.problems.push("has lines behind the seal of a frame".to_owned());
            return false;
        }
        let Some(event) = event else {
            self.report.unknown += 1;
            if let Ok(Numbered { seq }) = serde_json::from_slice(line) {
                self.number(seq);
                self.frame = Some((self.frame.map_or(seq, |(first, _)| first), seq));
            }
            self.keep(line);
            return true;
        };
        self.number(event.seq);
        if let Body::Seal(seal) = &event.body {
            self.sealed = true;
            return self.seal(line, seal);
        }
        if self.report.events == 0 && !matches!(event.body, Body::Header(_)) {
            self.report.problems.push("does not begin with a header: what came before is missing".to_owned());
            return false;
        }
        self.report.events += 1;
        self.report.range = Some((self.report.range.map_or(event.seq, |(first, _)| first), event.seq));
        self.frame = Some((self.frame.map_or(event.seq, |(first, _)| first), event.seq));
        self.report.ended = matches!(event.body, Body::End(_));
        self.keep(line);
        true
    }

    /// Takes an event's number, whatever its type.
    fn number(&mut self, seq: u64) {
        if let Some(next) = self.next_seq.filter(|next| *next != seq) {
            self.gaps += 1;
            match self.gaps {
                ..GAPS_LIMIT if seq > next => {
                    self.report.problems.push(format!("events {next} to {} are missing", seq - 1));
                }
                ..GAPS_LIMIT => self.report.problems.push(format!("event {seq} stands where {next} should")),
                GAPS_LIMIT => self.report.problems.push("has more numbers that do not follow each other".to_owned()),
                _ => {}
            }
        }
        self.next_seq = Some(seq.saturating_add(1));
    }

    fn keep(&mut self, line: &[u8]) {
        self.text.update(line);
        self.text.update(b"\n");
    }

    fn seal(&mut self, line: &[u8], seal: &Seal) -> bool {
        let end = find_last(line, HASH_FIELD).unwrap_or(line.len());
        self.text.update(line.get(..end).unwrap_or_default());
        let real = self.text.take();
        let (first, last) = (seal.first_seq, seal.last_seq);
        let mut problem = None;
        if self.unsealed_frame {
            // Its header alone would say what this seal has to follow.
            problem = Some(format!("has a frame without a seal before event {first}, which is sealed"));
        } else if seal.sha256 != to_hex(&real) {
            problem = Some(format!("was altered: the seal of events {first} to {last} is not that of their text"));
        } else if self.previous.as_ref().is_some_and(|previous| *previous != seal.previous) {
            problem = Some(format!("was altered before event {first}: its seal does not follow the one before"));
        } else if self.frame.is_some_and(|frame| frame != (first, last)) {
            problem = Some(format!("was altered: a seal is for events {first} to {last}, and others stand before it"));
        }
        if let Some(key) = self.key {
            match &seal.signature {
                Some(signature) if key.has_signed(&real, signature) => self.report.signed += 1,
                Some(_) => {
                    problem =
                        Some(format!("was altered: the seal of events {first} to {last} is not signed by this key"));
                }
                None => problem = Some(format!("the seal of events {first} to {last} is not signed")),
            }
        }
        self.previous = Some(seal.sha256.clone());
        match problem {
            Some(problem) => {
                self.report.problems.push(problem);
                false
            }
            None => {
                self.report.seals += 1;
                self.report.last_hash = Some(seal.sha256.clone());
                true
            }
        }
    }

    /// A frame is over; false when one before it was sealed and it is not. Where none is, nothing is vouched for at all.
    fn frame_ends(&mut self) -> bool {
        let was_sealed = std::mem::take(&mut self.sealed);
        self.unsealed_frame |= !was_sealed;
        self.text.take();
        self.frame = None;
        if !was_sealed && self.report.seals > 0 {
            self.report.problems.push("has a frame without a seal".to_owned());
            return false;
        }
        true
    }
}

/// The public name of a stage.
const fn stage(stage: LossStage) -> &'static str {
    match stage {
        LossStage::Probe => "probe",
        LossStage::Missed => "missed",
        LossStage::Decode => "decode",
        LossStage::Write => "write",
    }
}

#[cfg(test)]
mod tests;
