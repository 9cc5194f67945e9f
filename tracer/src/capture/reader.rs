//! Events of a capture.

use std::io::Read;

use super::lines::{LineError, Lines};
use crate::event::{self, Event, ParseError, Parsed, SCHEMA_VERSION};

/// Why events end early.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file itself.
    #[error(transparent)]
    Line(#[from] LineError),
    /// A line is not an event.
    #[error("has no event in line {line}: {why}")]
    Event {
        /// Its number, from 1.
        line: u64,
        /// What is wrong with it.
        why: String,
    },
    /// A newer writer.
    #[error(
        "was written in version {schema} of the format, and this kmodtrace knows version {SCHEMA_VERSION}: read it with {tool}, or newer"
    )]
    Version {
        /// The version.
        schema: u64,
        /// Who wrote it.
        tool: String,
    },
}

/// Reads events. Types of events that it does not know are passed over and counted.
#[derive(Debug)]
pub struct Reader<R> {
    lines: Lines<R>,
    line: u64,
    unknown: u64,
    failed: bool,
}

impl<R: Read> Reader<R> {
    /// Reads events of `input`.
    ///
    /// # Errors
    /// When zstd cannot be set up.
    pub fn new(input: R) -> Result<Self, ReadError> {
        Ok(Self { lines: Lines::new(input)?, line: 0, unknown: 0, failed: false })
    }

    /// Lines read so far.
    #[must_use]
    pub const fn line(&self) -> u64 {
        self.line
    }

    /// Events of types that this version does not know.
    #[must_use]
    pub const fn unknown(&self) -> u64 {
        self.unknown
    }

    /// The next event.
    ///
    /// # Errors
    /// See [`ReadError`]. Events handed on before are good.
    pub fn next_event(&mut self) -> Result<Option<Event>, ReadError> {
        loop {
            let Some(text) = self.lines.next_line()? else { return Ok(None) };
            self.line += 1;
            match parse(text, self.line)? {
                Some(event) => return Ok(Some(event)),
                None => self.unknown += 1,
            }
        }
    }
}

/// The event of a line; `None` for a type that is not known.
///
/// # Errors
/// When it is no event, or a header of a version that is not known.
pub fn parse(text: &[u8], line: u64) -> Result<Option<Event>, ReadError> {
    match event::parse(text) {
        Ok(Parsed::Event(event)) => Ok(Some(event)),
        Ok(Parsed::Unknown { .. }) => Ok(None),
        Err(ParseError::Version { schema, tool }) => Err(ReadError::Version { schema, tool }),
        Err(error) => Err(ReadError::Event { line, why: error.to_string() }),
    }
}

impl<R: Read> Iterator for Reader<R> {
    type Item = Result<Event, ReadError>;

    /// Ends after the first error.
    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let next = self.next_event();
        self.failed = next.is_err();
        next.transpose()
    }
}
