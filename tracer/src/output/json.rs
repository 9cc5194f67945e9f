//! JSON Lines: the event contract, one object a line.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

use super::{Output, escape::is_unsafe};
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
        let mut line = plain_json(event)?;
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

/// A value as JSON of which a terminal obeys nothing.
pub(crate) fn plain_json(value: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut json = Vec::with_capacity(1024);
    value.serialize(&mut Serializer::with_formatter(&mut json, Plain))?;
    Ok(json)
}

/// Compact JSON in which every character that is not shown as it is stands as `\uXXXX`: the same value to a program,
/// and nothing that a terminal obeys.
struct Plain;

impl Formatter for Plain {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(is_unsafe) {
            let (plain, from) = rest.split_at(at);
            writer.write_all(plain.as_bytes())?;
            let mut characters = from.chars();
            for unit in characters.next().iter().flat_map(|character| character.encode_utf16(&mut [0; 2]).to_vec()) {
                write!(writer, "\\u{unit:04x}")?;
            }
            rest = characters.as_str();
        }
        writer.write_all(rest.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use std::{
        cell::RefCell,
        io::{self, Write},
        rc::Rc,
    };

    use serde::Serialize;
    use serde_json::ser::Serializer;

    use super::{JsonLines, Plain};
    use crate::{chain::samples, event::Event, output::Output};

    /// Takes what is written, in pieces as the kernel may, until it is told to be a closed pipe.
    #[derive(Clone, Default)]
    struct Pipe(Rc<RefCell<(Vec<u8>, bool)>>);

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut pipe = self.0.borrow_mut();
            if pipe.1 {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            let part = &bytes[..bytes.len().min(7)];
            pipe.0.extend_from_slice(part);
            Ok(part.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Check that each event is one line, hostile names or not, and reads back as it was.
    #[test]
    fn events_are_lines_and_read_back() {
        let pipe = Pipe::default();
        let mut json = JsonLines::new(Box::new(pipe.clone()));
        let events = samples::events();
        for event in &events {
            json.event(event).unwrap();
        }
        json.finish().unwrap();
        let text = String::from_utf8(pipe.0.borrow().0.clone()).unwrap();
        let back: Vec<Event> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(!events.is_empty() && text.ends_with('\n'));
        assert_eq!(back, events);
    }

    /// Check that a reader that went away can be told from every other failure.
    #[test]
    fn a_closed_pipe_is_told_apart() {
        let pipe = Pipe::default();
        pipe.0.borrow_mut().1 = true;
        let mut json = JsonLines::new(Box::new(pipe));
        let error = json.event(&samples::events()[0]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }

    /// Check that no text of any kind puts a control or format character into a line, and that all of it reads back.
    #[test]
    fn hostile_text_stays_plain_and_whole() {
        let hostile = "a\u{9b}2J\u{7f}\u{202e}b\u{e0001}\u{1b}\n\u{e4}\u{1f600}\u{2028}";
        let mut line = Vec::new();
        hostile.serialize(&mut Serializer::with_formatter(&mut line, Plain)).unwrap();
        let line = String::from_utf8(line).unwrap();
        assert_eq!(serde_json::from_str::<String>(&line).unwrap(), hostile);
        let wanted = "\"a\\u009b2J\\u007f\\u202eb\\udb40\\udc01\\u001b\\n\u{e4}\u{1f600}\\u2028\"";
        assert_eq!(line, wanted);
    }
}
