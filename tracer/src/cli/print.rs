//! Answers on standard output.

use std::io::{self, ErrorKind, Write};

use anyhow::Context;

/// Writes it all. A reader that went away is a normal end.
pub(super) fn stdout(text: &str) -> anyhow::Result<()> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result.context("cannot write the output"),
    }
}
