//! Answers on standard output.

use std::io::{self, ErrorKind, Write};

use anyhow::Context;

/// Writes it all. A reader that went away is a normal end.
pub(super) fn stdout(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result.context("cannot write the output"),
    }
}
