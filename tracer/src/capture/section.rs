//! Splits a capture into sections, each small enough to be held and judged alone: a zstd frame, or lines of plain text.
//!
//! A damaged section costs itself only: reading resumes at the next frame or line. Memory is bounded whatever the file
//! holds.

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

/// Text of a frame that is decoded as one, bytes. Larger frames, which our writer never makes, are read as a stream.
pub const FRAME_TEXT_BYTES_MAX: usize = 4 << 20;

/// Plain text without a seal is handed on in parts of about this size, bytes. A sealed section is smaller: the writer
/// closes one at 256 KiB.
const PART_BYTES: usize = 512 << 10;

/// Bytes that are read at a time.
const READ_BYTES: usize = 128 << 10;

/// The largest window of a frame that is read as a stream: 8 MiB.
const WINDOW_LOG_MAX: u32 = 23;

/// Work that looking for the next frame may take, in bytes looked at for each byte of the file.
const SEARCH_FACTOR: u64 = 64;

/// Work that looking for the next frame may always take, bytes.
const SEARCH_BYTES_MIN: u64 = 64 << 20;

const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Magic of skippable frames (RFC 8878, 3.1.2) without its lowest four bits.
const SKIPPABLE: u32 = 0x184d_2a50;

/// The largest header of a frame (RFC 8878, 3.1.1.1), with its magic.
const HEADER_BYTES_MAX: usize = 18;

/// As much is looked at to find out what a file is whose first bytes are damaged, bytes.
const FORM_BYTES: usize = 1 << 20;

/// As many beginnings of frames are tried for that.
const FORM_CANDIDATES: usize = 64;

/// What every seal has between its fields: a string of JSON never contains it, since its quotes are escaped.
const SEAL_TYPE: &[u8] = b"\"type\":\"seal\"";

/// Why a file cannot be read any further.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SectionError {
    /// The file cannot be read.
    #[error("cannot be read")]
    Read(#[source] io::Error),
    /// It does not begin as a capture does.
    #[error("is not a capture: neither zstd nor JSON Lines")]
    NotACapture,
}

/// Why a part of a file is not readable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Damage {
    /// The file ends inside it: what a crash leaves behind.
    Torn,
    /// zstd cannot decode the frame.
    Frame,
    /// A frame ends in the middle of a line.
    Line,
    /// A line is larger than any event.
    LongLine,
    /// The rest was not searched for intact frames: that took more work than the file is worth.
    Unsearched,
}

/// A part of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Section {
    /// Where it begins in the file.
    pub offset: u64,
    /// Its size in the file.
    pub bytes: u64,
    /// What it holds.
    pub body: Body,
}

impl Section {
    /// What it takes, decoded, bytes: the most that it may be where its frame does not say.
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

/// What a section holds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Body {
    /// A compressed frame of bounded size, not decoded yet.
    Frame(Vec<u8>),
    /// Lines, each with its end, except perhaps the last of a file.
    Text {
        /// The lines.
        text: Vec<u8>,
        /// It begins where a file or frame does, or behind a seal: a seal in it can be checked.
        is_complete: bool,
        /// What was handed on before of what its first seal covers, if that is known.
        begun: Option<Box<Hasher>>,
    },
    /// Not readable.
    Gap(Damage),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Unknown,
    Zstd,
    Plain,
}

/// Splits a file. At its end [`Sections::next_section`] may be called again: more may have been written.
pub struct Sections<R> {
    input: R,
    form: Form,
    buffer: Vec<u8>,
    /// Bytes of the buffer that were used.
    start: usize,
    /// Where the unused part of the buffer begins in the file.
    offset: u64,
    /// Bytes looked at while searching for intact frames.
    searched: u64,
    lines: Lines,
    /// Decodes the frame that is being read as a stream; its text goes to `lines`.
    decoder: Option<Decoder<'static>>,
}

/// Text that is cut into sections.
#[derive(Default)]
struct Lines {
    text: Vec<u8>,
    /// As much of it was handed on, bytes.
    start: usize,
    /// No more text follows: the frame has ended.
    has_ended: bool,
    /// Where its part that was not handed on yet begins in the file.
    offset: u64,
    /// Part of the section was handed on already.
    has_begun: bool,
    /// The hash of that part, while it is no larger than what a seal may cover.
    begun: Hasher,
    begun_bytes: usize,
}

impl Lines {
    fn rest(&self) -> &[u8] {
        self.text.get(self.start..).unwrap_or_default()
    }
}

/// What came of reading more text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fill {
    More,
    /// The frame has ended, or a plain file.
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
        }
    }

    /// Whether the file is plain text, without frames.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.form == Form::Plain
    }

    /// Bytes that were read of the file.
    #[must_use]
    pub fn read_bytes(&self) -> u64 {
        self.offset + self.rest().len() as u64
    }

    /// The next section; `None` at the end. What the file ends inside of is handed on as torn only when `is_final`: a file
    /// that is still written to may be continued.
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

    /// What the file is, by its first bytes; where these are damaged, by what follows.
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

    /// Reads more into the buffer; false at the end of the file.
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

    // Text: a plain file, or a frame that is too large to be held.

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
            if last_line >= PART_BYTES || (is_too_long && last_line > 0) {
                self.lines.has_begun = true;
                return Ok(Some(self.hand_on(last_line, false)));
            }
            if is_too_long {
                return self.skip_line();
            }
            // A seal may have begun in the last line, which is not here in full.
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
                    // The last line may be a seal of which only the line end is missing.
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

    /// Gives a frame up that is read as a stream; where its unread part begins.
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
        // Of plain text this is exact; of a frame it is as far as was read for these lines.
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
            // What was used of the damaged part is searched for the next frame.
            _ => Ok(Fill::Damaged),
        }
    }

    /// Passes over a line that is too long.
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
