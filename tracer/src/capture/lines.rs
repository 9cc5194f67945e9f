//! Lines of a capture: zstd frames or plain text, whichever it is. Memory is bounded whatever the file holds.

use std::io::{self, BufRead, BufReader, Read};

use zstd::{
    stream::raw::{Decoder, InBuffer, Operation, OutBuffer},
    zstd_safe::DParameter,
};

use super::LINE_BYTES_MAX;

/// Frames up to this are handed on only when they are whole and their checksum is right, bytes of text.
const WHOLE_FRAME_BYTES: usize = 4 << 20;

/// The largest window of a frame: 8 MiB.
const WINDOW_LOG_MAX: u32 = 23;

const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Magic of frames to be skipped (RFC 8878, 3.1.2) but for its lowest four bits.
const SKIPPABLE: u32 = 0x184d_2a50;

/// Why reading ends early.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// The file cannot be read.
    #[error("cannot be read")]
    Read(#[source] io::Error),
    /// It ends inside a frame: what a crash leaves behind.
    #[error(
        "ends inside the frame that begins at byte {frame_offset}: the recorder was killed, the disk was full, or it still runs"
    )]
    Torn {
        /// Where the frame begins.
        frame_offset: u64,
    },
    /// A frame is damaged.
    #[error("is damaged in the frame that begins at byte {frame_offset}: {why}")]
    Damaged {
        /// Where the frame begins.
        frame_offset: u64,
        /// What zstd says.
        why: String,
    },
    /// A line is too long to be ours.
    #[error("has a line of more than 4 MiB, in the frame that begins at byte {frame_offset}: no capture has")]
    LongLine {
        /// Where the frame begins.
        frame_offset: u64,
    },
    /// It does not begin as a capture does.
    #[error("is not a capture: neither zstd nor JSON Lines")]
    NotACapture,
}

#[derive(Debug, PartialEq, Eq)]
enum Form {
    Unknown,
    Zstd,
    Plain,
}

/// Reads lines.
pub struct Lines<R> {
    input: BufReader<R>,
    decoder: Decoder<'static>,
    form: Form,
    /// Bytes of input that were used up.
    offset: u64,
    frame_offset: u64,
    in_frame: bool,
    /// Decoded text that was not handed on yet, from `start`.
    text: Vec<u8>,
    start: usize,
    /// Up to here the text may be handed on.
    good: usize,
    finished: bool,
}

impl<R> std::fmt::Debug for Lines<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lines").field("offset", &self.offset).finish_non_exhaustive()
    }
}

impl<R: Read> Lines<R> {
    /// Reads lines of `input`.
    ///
    /// # Errors
    /// When zstd cannot be set up.
    pub fn new(input: R) -> Result<Self, LineError> {
        let mut decoder = Decoder::new().map_err(LineError::Read)?;
        decoder.set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX)).map_err(LineError::Read)?;
        Ok(Self {
            input: BufReader::with_capacity(128 << 10, input),
            decoder,
            form: Form::Unknown,
            offset: 0,
            frame_offset: 0,
            in_frame: false,
            text: Vec::new(),
            start: 0,
            good: 0,
            finished: false,
        })
    }

    /// The next line, without its end; `None` at the end of the file.
    ///
    /// # Errors
    /// See [`LineError`]. Lines handed on before are good.
    pub fn next_line(&mut self) -> Result<Option<&[u8]>, LineError> {
        loop {
            let ready = self.text.get(self.start..self.good).unwrap_or_default();
            if let Some(length) = ready.iter().position(|byte| *byte == b'\n') {
                let begin = self.start;
                self.start += length + 1;
                return Ok(self.text.get(begin..begin + length));
            }
            if self.finished {
                return self.end_of_file(ready.is_empty()).map(|()| None);
            }
            self.fill()?;
        }
    }

    /// All whole lines that are ready, with their ends; `None` at the end of the file.
    ///
    /// # Errors
    /// As [`Lines::next_line`].
    pub fn next_block(&mut self) -> Result<Option<&[u8]>, LineError> {
        loop {
            let ready = self.text.get(self.start..self.good).unwrap_or_default();
            if let Some(last) = memchr::memrchr(b'\n', ready) {
                let begin = self.start;
                self.start += last + 1;
                return Ok(self.text.get(begin..self.start));
            }
            if self.finished {
                return self.end_of_file(ready.is_empty()).map(|()| None);
            }
            self.fill()?;
        }
    }

    /// Goes on after the end of a file that has grown since. What was torn may be whole by now.
    pub const fn go_on(&mut self) {
        self.finished = false;
    }

    /// A last line without its end was not written whole.
    fn end_of_file(&self, is_whole: bool) -> Result<(), LineError> {
        match self.form {
            _ if is_whole => Ok(()),
            Form::Plain => Err(LineError::Torn { frame_offset: self.frame_offset }),
            _ => Err(self.damaged(&"a line goes on beyond its frame")),
        }
    }

    /// Where the frame of the last line begins, bytes from the start of the file. In plain text: 0.
    #[must_use]
    pub const fn frame_offset(&self) -> u64 {
        self.frame_offset
    }

    /// Where the text that was decoded so far ends in the file: at the end of a frame, when all its lines are read.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// Whether the file is text as it is, without frames.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.form == Form::Plain
    }

    /// Whether all lines of the frame are read.
    #[must_use]
    pub const fn at_frame_end(&self) -> bool {
        !self.in_frame && self.start == self.good
    }

    fn damaged(&self, why: &impl ToString) -> LineError {
        LineError::Damaged { frame_offset: self.frame_offset, why: why.to_string() }
    }

    /// Decodes some more, or finds the end.
    fn fill(&mut self) -> Result<(), LineError> {
        if self.start > 0 {
            self.text.drain(..self.start);
            self.good -= self.start;
            self.start = 0;
        }
        if self.text.len() > LINE_BYTES_MAX && self.good + 1 >= self.text.len() {
            return Err(LineError::LongLine { frame_offset: self.frame_offset });
        }
        let chunk = match self.input.fill_buf() {
            Ok(chunk) => chunk,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            Err(error) => return Err(LineError::Read(error)),
        };
        if chunk.is_empty() {
            if self.in_frame {
                return Err(LineError::Torn { frame_offset: self.frame_offset });
            }
            self.finished = true;
            return Ok(());
        }
        if self.form == Form::Unknown {
            self.form = form_of(chunk)?;
        }
        if self.form == Form::Plain {
            let used = chunk.len();
            self.text.extend_from_slice(chunk);
            self.good = self.text.len();
            self.input.consume(used);
            self.offset += used as u64;
            return Ok(());
        }
        if !self.in_frame {
            self.in_frame = true;
            self.frame_offset = self.offset;
            self.decoder.reinit().map_err(LineError::Read)?;
        }
        let begin = self.text.len();
        self.text.resize(begin + (128 << 10), 0);
        let mut input = InBuffer::around(chunk);
        let room = self.text.get_mut(begin..).unwrap_or_default();
        let mut output = OutBuffer::around(room);
        let hint = self.decoder.run(&mut input, &mut output);
        let (used, made) = (input.pos(), output.pos());
        self.text.truncate(begin + made);
        self.input.consume(used);
        self.offset += used as u64;
        match hint {
            // The frame is whole, and zstd has compared its checksum.
            Ok(0) => {
                self.in_frame = false;
                self.good = self.text.len();
                if self.text.last().is_some_and(|byte| *byte != b'\n') && self.text.len() <= WHOLE_FRAME_BYTES {
                    return Err(self.damaged(&"it does not end with a whole line"));
                }
            }
            // The last byte waits until it is known whether the frame ends with it: who reads its last line must know that.
            Ok(_) if self.text.len() > WHOLE_FRAME_BYTES => self.good = self.text.len() - 1,
            Ok(_) => {}
            Err(error) => return Err(self.damaged(&error)),
        }
        Ok(())
    }
}

/// What a file is, by its first bytes.
fn form_of(chunk: &[u8]) -> Result<Form, LineError> {
    let first: Option<[u8; 4]> = chunk.get(..4).and_then(|bytes| bytes.try_into().ok());
    let is_skippable = first.is_some_and(|bytes| u32::from_le_bytes(bytes) & !0xf == SKIPPABLE);
    if first == Some(MAGIC) || is_skippable || (chunk.len() < 4 && MAGIC.starts_with(chunk)) {
        return Ok(Form::Zstd);
    }
    match chunk.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'{') | None => Ok(Form::Plain),
        Some(_) => Err(LineError::NotACapture),
    }
}
