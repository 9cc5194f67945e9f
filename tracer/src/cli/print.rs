//! Answers on standard output.

use std::io::{self, ErrorKind, Write};

use anyhow::Context;

use super::live::has_utf8_locale;
use crate::output::ascii;

/// Writes it all, for people: in ASCII alone where the locale has no other characters.
pub(super) fn human(text: &str) -> anyhow::Result<()> {
    if has_utf8_locale(|name| std::env::var_os(name)) { stdout(text) } else { stdout(&ascii(text)) }
}

/// Writes it all. A reader that went away is a normal end.
pub(super) fn stdout(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result.context("cannot write the output"),
    }
}
