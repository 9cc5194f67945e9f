//! Standard output for complete texts.

use std::io::{self, ErrorKind, Write};

use anyhow::Context;

use crate::{cli::args::trace::has_utf8_locale, output::ascii};

/// Writes human-readable text, as ASCII if the locale is not UTF-8.
pub(in crate::cli) fn human(text: &str) -> anyhow::Result<()> {
    if has_utf8_locale(|name| std::env::var_os(name)) { stdout(text) } else { stdout(&ascii(text)) }
}

/// Writes a text. A closed pipe is not an error.
pub(in crate::cli) fn stdout(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result.context("cannot write the output"),
    }
}
