//! JSON Lines: the event contract, one object a line.

use std::io::{self, Write};

use super::Output;
use crate::{chain::Item, event::Event};

/// Writes each event as soon as it is known; every line is whole when it is written.
pub struct JsonLines {
    writer: Box<dyn Write>,
}

impl JsonLines {
    /// Writes to `writer`.
    #[must_use]
    pub fn new(writer: Box<dyn Write>) -> Self {
        Self { writer }
    }
}

impl Output for JsonLines {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        let mut line = serde_json::to_vec(event)?;
        line.push(b'\n');
        self.writer.write_all(&line)?;
        self.writer.flush()
    }

    fn item(&mut self, _: &Item) -> io::Result<()> {
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}
