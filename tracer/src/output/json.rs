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

#[cfg(test)]
mod tests {
    use std::{
        cell::RefCell,
        io::{self, Write},
        rc::Rc,
    };

    use super::JsonLines;
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
}
