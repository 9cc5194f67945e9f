//! Splits a capture into sections that are small enough to be held in memory and checked separately: a zstd frame, or
//! lines of plain text.
//!
//! Damage is confined to its section: reading resumes at the next frame or line. Memory is bounded for any file.

use std::io::{self, Read};

use memchr::memmem;
use zstd::{
    stream::raw::{Decoder, InBuffer, Operation, OutBuffer},
    zstd_safe,
};

use self::frames::{Measure, form_of, measure};
use super::{LINE_BYTES_MAX, hash::Hasher};

mod frames;
#[cfg(test)]
mod tests;

/// Maximum text of a frame that is decoded at once, bytes. The writer creates no larger ones; they are read as a stream.
pub const FRAME_TEXT_BYTES_MAX: usize = 4 << 20;

/// Approximate size of parts of unsealed plain text, bytes. Sealed sections are smaller: the writer closes one at 256 KiB.
const PART_BYTES: usize = 512 << 10;

/// Read size, bytes.
const READ_BYTES: usize = 128 << 10;

/// Maximum window of a frame that is read as a stream: 8 MiB.
const WINDOW_LOG_MAX: u32 = 23;

/// Search limit for the next frame: bytes examined per byte of the file.
const SEARCH_FACTOR: u64 = 64;

/// Minimum search limit for the next frame, bytes.
const SEARCH_BYTES_MIN: u64 = 64 << 20;

const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Magic of skippable frames (RFC 8878, 3.1.2) without its lowest four bits.
const SKIPPABLE: u32 = 0x184d_2a50;

/// Maximum size of a frame header with its magic (RFC 8878, 3.1.1.1).
const HEADER_BYTES_MAX: usize = 18;

/// Bytes that are examined to detect the type of a file whose first bytes are damaged.
const FORM_BYTES: usize = 1 << 20;

/// Maximum number of frame candidates for that detection.
const FORM_CANDIDATES: usize = 64;

/// A byte sequence that every seal contains. A JSON string cannot contain it, since its quotes are escaped.
const SEAL_TYPE: &[u8] = b"\"type\":\"seal\"";

/// Why reading a file stops.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SectionError {
    /// The file cannot be read.
    #[error("cannot read the file")]
    Read(#[source] io::Error),
    /// It does not begin like a capture.
    #[error("cannot read the file: not a capture (neither zstd nor JSON Lines)")]
    NotACapture,
}

/// Why a part of a file is unreadable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Damage {
    /// The file ends inside of it, as after a crash.
    Torn,
    /// zstd cannot decode the frame.
    Frame,
    /// A frame ends in the middle of a line.
    Line,
    /// A line exceeds the maximum size of events.
    LongLine,
    /// The rest was not searched for intact frames, because the search limit was reached.
    Unsearched,
}

/// A part of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Section {
    /// Its offset in the file.
    pub offset: u64,
    /// Its size in the file.
    pub bytes: u64,
    /// Its content.
    pub body: Body,
}

impl Section {
    /// Its decoded size, bytes; an upper bound if the frame does not contain it.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        match &self.body {
            Body::Frame(frame) => {
                let text = zstd_safe::get_frame_content_size(frame).ok().flatten();
                let text = text.and_then(|bytes| usize::try_from(bytes).ok());
                frame.len() + text.map_or(FRAME_TEXT_BYTES_MAX, |bytes| bytes.min(FRAME_TEXT_BYTES_MAX))
            }
            Body::Text { text, .. } => text.len(),
            Body::Gap(_) => 0,
        }
    }
}

/// The content of a section.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Body {
    /// A compressed frame of bounded size, not decoded yet.
    Frame(Vec<u8>),
    /// Lines with their line ends, except possibly the last line of a file.
    Text {
        /// The lines.
        text: Vec<u8>,
        /// It begins at the beginning of a file or frame or after a seal, so its seal can be checked.
        is_complete: bool,
        /// Hash state of the earlier text that its first seal covers as well, if known.
        begun: Option<Box<Hasher>>,
    },
    /// Unreadable.
    Gap(Damage),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Unknown,
    Zstd,
    Plain,
}

/// Splits a file. At its end [`Sections::next_section`] may be called again, since more may have been written.
pub struct Sections<R> {
    input: R,
    form: Form,
    buffer: Vec<u8>,
    /// Consumed bytes of the buffer.
    start: usize,
    /// File offset of the unconsumed part of the buffer.
    offset: u64,
    /// Bytes examined while searching for intact frames.
    searched: u64,
    lines: Lines,
    /// Decoder of the frame that is read as a stream; its text goes to `lines`.
    decoder: Option<Decoder<'static>>,
    /// Lines of plain text are passed on as soon as they were read.
    is_live: bool,
}

/// Text that is cut into sections.
#[derive(Default)]
struct Lines {
    text: Vec<u8>,
    /// Bytes that were passed on.
    start: usize,
    /// The frame has ended, so no more text follows.
    has_ended: bool,
    /// File offset of the part that was not passed on yet.
    offset: u64,
    /// A part of the section was already passed on.
    has_begun: bool,
    /// The hash of that part, while it is within the maximum size of a sealed part.
    begun: Hasher,
    begun_bytes: usize,
}

impl Lines {
    fn rest(&self) -> &[u8] {
        self.text.get(self.start..).unwrap_or_default()
    }
}

/// The result of reading more text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fill {
    More,
    /// The frame or plain file has ended.
    End,
    /// The file ends inside the frame.
    Torn,
    Damaged,
}

impl<R> std::fmt::Debug for Sections<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sections").field("offset", &self.offset).field("form", &self.form).finish_non_exhaustive()
    }
}

impl<R: Read> Sections<R> {
    /// Splits `input`.
    #[must_use]
    pub fn new(input: R) -> Self {
        Self {
            input,
            form: Form::Unknown,
            buffer: Vec::new(),
            start: 0,
            offset: 0,
            searched: 0,
            lines: Lines::default(),
            decoder: None,
            is_live: false,
        }
    }

    /// Passes on lines of plain text as soon as they were read, for a pipe whose writer is still at work.
    #[must_use]
    pub fn live(mut self) -> Self {
        self.is_live = true;
        self
    }

    /// Returns whether the file is plain text without frames.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.form == Form::Plain
    }

    /// Number of bytes read from the file.
    #[must_use]
    pub fn read_bytes(&self) -> u64 {
        self.offset + self.rest().len() as u64
    }

    /// Returns the next section; `None` at the end. An incomplete section at the end is returned as torn only when
    /// `is_final`: a file that is still being written may be continued.
    ///
    /// # Errors
    /// See [`SectionError`].
    pub fn next_section(&mut self, is_final: bool) -> Result<Option<Section>, SectionError> {
        if self.form == Form::Unknown {
            while self.rest().len() < 4 && self.read_more()? {}
            if self.rest().is_empty() || (!is_final && self.rest().len() < 4) {
                return Ok(None);
            }
            self.form = self.find_form()?;
        }
        if self.form == Form::Plain || self.decoder.is_some() {
            self.next_lines(is_final)
        } else {
            self.next_frame(is_final)
        }
    }

    /// Detects the type of the file from its first bytes, or from later ones if these are damaged.
    fn find_form(&mut self) -> Result<Form, SectionError> {
        if let Some(form) = form_of(self.rest()) {
            return Ok(form);
        }
        while self.rest().len() < FORM_BYTES && self.read_more()? {}
        if memmem::find(self.rest(), b"\n{\"seq\":").is_some() {
            return Ok(Form::Plain);
        }
        let mut from = 1;
        for _ in 0..FORM_CANDIDATES {
            let Some(found) = self.rest().get(from..).and_then(|rest| memmem::find(rest, &MAGIC)) else { break };
            let frame = self.rest().get(from + found..).unwrap_or_default();
            if let Some(Measure::Size(_)) = measure(frame) {
                return Ok(Form::Zstd);
            }
            from += found + 1;
        }
        Err(SectionError::NotACapture)
    }

    fn rest(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or_default()
    }

    /// Reads more into the buffer; returns false at the end of the file.
    fn read_more(&mut self) -> Result<bool, SectionError> {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        let kept = self.buffer.len();
        self.buffer.resize(kept + READ_BYTES, 0);
        let read = loop {
            match self.input.read(self.buffer.get_mut(kept..).unwrap_or_default()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result,
            }
        };
        let count = *read.as_ref().unwrap_or(&0);
        self.buffer.truncate(kept + count);
        read.map(|count| count > 0).map_err(SectionError::Read)
    }

    fn take(&mut self, bytes: usize) -> Vec<u8> {
        let taken = self.rest().get(..bytes).unwrap_or_default().to_vec();
        self.skip(bytes);
        taken
    }

    const fn skip(&mut self, bytes: usize) {
        self.start += bytes;
        self.offset += bytes as u64;
    }

    const fn section(&self, offset: u64, body: Body) -> Section {
        Section { offset, bytes: self.offset - offset, body }
    }

    // Text: a plain file, or a frame that is too large to be decoded at once.

    fn next_lines(&mut self, is_final: bool) -> Result<Option<Section>, SectionError> {
        let mut searched = 0;
        loop {
            let text = self.lines.rest();
            if let Some(found) = text.get(searched..).and_then(|new| memmem::find(new, SEAL_TYPE))
                && let Some(end) = memchr::memchr(b'\n', text.get(searched + found..).unwrap_or_default())
            {
                let is_complete = !std::mem::take(&mut self.lines.has_begun);
                return Ok(Some(self.hand_on(searched + found + end + 1, is_complete)));
            }
            let last_line = memchr::memrchr(b'\n', text).map_or(0, |at| at + 1);
            let is_too_long = text.len() - last_line > LINE_BYTES_MAX;
            let is_due = self.is_live && self.decoder.is_none() && last_line > 0;
            if is_due || last_line >= PART_BYTES || (is_too_long && last_line > 0) {
                self.lines.has_begun = true;
                return Ok(Some(self.hand_on(last_line, false)));
            }
            if is_too_long {
                return self.skip_line();
            }
            // The last line is incomplete and may contain the beginning of a seal.
            searched = last_line;
            match self.fill()? {
                Fill::More => {}
                Fill::End if self.decoder.is_some() && !self.lines.has_ended => self.lines.has_ended = true,
                Fill::End if self.decoder.is_some() => {
                    let bytes = self.lines.rest().len();
                    let is_complete = !self.lines.has_begun;
                    let section = self.hand_on(bytes, is_complete);
                    self.end_frame();
                    return if bytes > 0 { Ok(Some(section)) } else { self.next_section(is_final) };
                }
                Fill::End | Fill::Torn if !is_final => {
                    return Ok((last_line > 0).then(|| {
                        self.lines.has_begun = true;
                        self.hand_on(last_line, false)
                    }));
                }
                Fill::End => {
                    // The last line may be a seal that lacks only its line end.
                    let bytes = self.lines.rest().len();
                    let is_complete = !std::mem::take(&mut self.lines.has_begun);
                    return Ok((bytes > 0).then(|| self.hand_on(bytes, is_complete)));
                }
                Fill::Torn | Fill::Damaged if last_line > 0 => {
                    self.lines.has_begun = true;
                    return Ok(Some(self.hand_on(last_line, false)));
                }
                Fill::Torn => {
                    let offset = self.end_frame();
                    return Ok(Some(self.section(offset, Body::Gap(Damage::Torn))));
                }
                Fill::Damaged => {
                    let offset = self.end_frame();
                    return self.resume(offset, is_final).map(Some);
                }
            }
        }
    }

    /// Abandons a frame that is read as a stream and returns the offset of its unread part.
    fn end_frame(&mut self) -> u64 {
        self.decoder = None;
        let offset = self.lines.offset;
        self.lines = Lines::default();
        offset
    }

    fn hand_on(&mut self, bytes: usize, is_complete: bool) -> Section {
        let text = self.lines.rest().get(..bytes).unwrap_or_default().to_vec();
        self.lines.start += bytes;
        let begun_bytes = self.lines.begun_bytes;
        let is_known = !is_complete && begun_bytes > 0 && begun_bytes <= FRAME_TEXT_BYTES_MAX;
        let begun = is_known.then(|| Box::new(self.lines.begun.clone()));
        if !self.lines.has_begun {
            (self.lines.begun, self.lines.begun_bytes) = (Hasher::default(), 0);
        } else if begun_bytes <= FRAME_TEXT_BYTES_MAX {
            self.lines.begun.update(&text);
            self.lines.begun_bytes += bytes;
        }
        let offset = self.lines.offset;
        // Exact for plain text; for a frame it is the offset up to which data was read for these lines.
        self.lines.offset = if self.decoder.is_some() { self.offset } else { offset + bytes as u64 };
        Section { offset, bytes: self.lines.offset - offset, body: Body::Text { text, is_complete, begun } }
    }

    /// Reads more text.
    fn fill(&mut self) -> Result<Fill, SectionError> {
        if self.lines.has_ended {
            return Ok(Fill::End);
        }
        self.lines.text.drain(..self.lines.start);
        self.lines.start = 0;
        if self.rest().is_empty() && !self.read_more()? {
            return Ok(if self.decoder.is_some() { Fill::Torn } else { Fill::End });
        }
        let Some(decoder) = &mut self.decoder else {
            let rest = self.buffer.get(self.start..).unwrap_or_default();
            let bytes = rest.len();
            if self.lines.text.is_empty() {
                self.lines.offset = self.offset;
            }
            self.lines.text.extend_from_slice(rest);
            self.skip(bytes);
            return Ok(Fill::More);
        };
        let text = &mut self.lines.text;
        let begin = text.len();
        text.resize(begin + READ_BYTES, 0);
        let mut input = InBuffer::around(self.buffer.get(self.start..).unwrap_or_default());
        let mut output = OutBuffer::around(text.get_mut(begin..).unwrap_or_default());
        let hint = decoder.run(&mut input, &mut output);
        let (used, made) = (input.pos(), output.pos());
        text.truncate(begin + made);
        match hint {
            Ok(0) => {
                self.skip(used);
                Ok(Fill::End)
            }
            Ok(_) if used > 0 || made > 0 => {
                self.skip(used);
                Ok(Fill::More)
            }
            // The consumed bytes of the damaged part are searched for the next frame.
            _ => Ok(Fill::Damaged),
        }
    }

    /// Skips a line that is too long.
    fn skip_line(&mut self) -> Result<Option<Section>, SectionError> {
        let offset = self.lines.offset;
        self.lines.has_begun = true;
        loop {
            let rest = self.lines.rest();
            let end = memchr::memchr(b'\n', rest);
            let bytes = end.map_or(rest.len(), |end| end + 1);
            drop(self.hand_on(bytes, false));
            if end.is_some() || self.fill()? != Fill::More {
                return Ok(Some(Section {
                    offset,
                    bytes: self.lines.offset.saturating_sub(offset),
                    body: Body::Gap(Damage::LongLine),
                }));
            }
        }
    }
}
