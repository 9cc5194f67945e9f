//! Lines of a capture to events.

use crate::event::{Body, Event, SCHEMA_VERSION};

/// Why events end early.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
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
