//! Chains for people: the tree and the lines of the live view, on captures of several machines.

use std::io::{self, Write};

use super::{
    engine::{Sink, Told, Whole},
    names::Names,
    stream::Stream,
};
use crate::{chain::Item, event::Event, output};

/// Writes chains by way of a format of the live view.
pub struct Human {
    output: Box<dyn output::Output>,
    /// Writes to where the format writes.
    heading: Box<dyn Write>,
    heading_mark: &'static str,
    /// The stream of the last line.
    told_stream: Option<usize>,
}

impl Human {
    /// Writes chains to `output`, and to `heading` which stream they are of. Both end in the same place.
    #[must_use]
    pub fn new(output: Box<dyn output::Output>, heading: Box<dyn Write>, heading_mark: &'static str) -> Self {
        Self { output, heading, heading_mark, told_stream: None }
    }

    fn head(&mut self, stream: &Stream, number: usize) -> io::Result<()> {
        if self.told_stream == Some(number) {
            return Ok(());
        }
        let lead = if self.told_stream.is_some() { "\n" } else { "" };
        self.told_stream = Some(number);
        let Some(header) = &stream.header else {
            return writeln!(self.heading, "{lead}{} {}", self.heading_mark, output::escape_str(&stream.source));
        };
        let since = header.kernel.as_str();
        let day = stream.span_ns.map_or_else(String::new, |(first_ns, _)| {
            let first = super::words::timestamp(first_ns);
            format!(", since {}", first.strftime("%Y-%m-%d %H:%M:%S UTC"))
        });
        writeln!(
            self.heading,
            "{lead}{} {}, kernel {}, boot {}{day}",
            self.heading_mark,
            output::escape_str(&header.hostname),
            output::escape_str(since),
            output::escape_str(&header.boot_id),
        )
    }
}

impl Sink for Human {
    fn chain(&mut self, told: &Told<'_>, _: &Names) -> io::Result<()> {
        self.head(told.stream, told.stream_number)?;
        self.output.item(&Item::Chain(Box::new(told.chain.clone())))
    }

    fn event(&mut self, event: &Event, stream: &Stream, number: usize) -> io::Result<()> {
        self.head(stream, number)?;
        self.output.item(&Item::Event(Box::new(event.clone())))
    }

    fn finish(&mut self, _: &Whole<'_>) -> io::Result<()> {
        self.output.finish()
    }
}
