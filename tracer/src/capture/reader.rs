//! Events of a capture.

use std::io::Read;

use super::lines::{LineError, Lines};
use crate::event::{Body, Event, SCHEMA_VERSION};

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

/// What is read of a line that is no event of ours.
#[derive(serde::Deserialize)]
struct Outline {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    schema: Option<u64>,
    #[serde(default)]
    tool: Option<String>,
}

const KINDS: [&str; 13] = [
    "header", "baseline", "request", "helper", "load", "init", "unload", "attempt", "result", "loss", "clock", "seal",
    "end",
];

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
    let error = match serde_json::from_slice::<Event>(text) {
        Ok(event) => {
            if let Body::Header(header) = &event.body {
                check_version(u64::from(header.schema), &header.tool)?;
            }
            return Ok(Some(event));
        }
        Err(error) => error,
    };
    match serde_json::from_slice::<Outline>(text) {
        // A newer header may have changed in any way but these.
        Ok(outline) if outline.kind == "header" => {
            check_version(
                outline.schema.unwrap_or(0),
                outline.tool.as_deref().unwrap_or("the kmodtrace that wrote it"),
            )?;
        }
        Ok(outline) if !KINDS.contains(&outline.kind.as_str()) => return Ok(None),
        _ => {}
    }
    Err(ReadError::Event { line, why: error.to_string() })
}

fn check_version(schema: u64, tool: &str) -> Result<(), ReadError> {
    if schema > u64::from(SCHEMA_VERSION) {
        return Err(ReadError::Version { schema, tool: tool.to_owned() });
    }
    Ok(())
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
