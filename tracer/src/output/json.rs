//! JSON Lines output: one event per line.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, PrettyFormatter, Serializer};

use crate::{
    event::Event,
    stream::{Consumer, StreamInfo},
    text::unicode::{is_unsafe, pieces},
};

/// Writes each event immediately, one complete line per write.
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

impl Consumer for JsonLines {
    fn event(&mut self, event: &Event, _: &StreamInfo) -> io::Result<()> {
        let mut line = json(event)?.into_bytes();
        line.push(b'\n');
        self.writer.write_all(&line)?;
        self.writer.flush()
    }

    fn wants_items(&self) -> bool {
        false
    }

    fn finish(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// A value as one line of JSON, without line break. Control, format and other unsafe characters are written as `\uXXXX`,
/// so that they have no effect on terminals and are visible in reviews.
///
/// # Errors
/// When the value cannot be JSON.
pub fn json<Value: ?Sized + Serialize>(value: &Value) -> serde_json::Result<String> {
    written(value, CompactFormatter)
}

/// A value as indented JSON.
///
/// # Errors
/// As [`json`].
pub fn pretty_json<Value: ?Sized + Serialize>(value: &Value) -> serde_json::Result<String> {
    written(value, PrettyFormatter::new())
}

fn written<Value: ?Sized + Serialize>(value: &Value, form: impl Formatter) -> serde_json::Result<String> {
    let mut text = Vec::with_capacity(1024);
    value.serialize(&mut Serializer::with_formatter(&mut text, EscapeUnsafe(form)))?;
    // The serializer writes UTF-8.
    Ok(String::from_utf8(text).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}

/// A formatter that escapes unsafe characters as `\uXXXX`.
struct EscapeUnsafe<Form>(Form);

/// Delegates methods to the wrapped formatter.
macro_rules! delegate {
    ($($name:ident($($argument:ident: $type:ty)?);)*) => {
        $(fn $name<W: ?Sized + Write>(&mut self, writer: &mut W $(, $argument: $type)?) -> io::Result<()> {
            self.0.$name(writer $(, $argument)?)
        })*
    };
}

impl<Form: Formatter> Formatter for EscapeUnsafe<Form> {
    delegate! {
        begin_array();
        end_array();
        begin_array_value(first: bool);
        end_array_value();
        begin_object();
        end_object();
        begin_object_key(first: bool);
        end_object_key();
        begin_object_value();
        end_object_value();
    }

    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        // DEL is the only invisible ASCII character here: the serializer has escaped the characters below space.
        if fragment.bytes().all(|byte| byte.is_ascii() && byte != 0x7f) {
            return writer.write_all(fragment.as_bytes());
        }
        for (plain, escaped) in pieces(fragment, is_unsafe) {
            writer.write_all(plain.as_bytes())?;
            for unit in escaped.iter().flat_map(|character| character.encode_utf16(&mut [0; 2]).to_vec()) {
                write!(writer, "\\u{unit:04x}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{
        cell::RefCell,
        io::{self, Write},
        rc::Rc,
    };

    use super::{JsonLines, json, pretty_json};
    use crate::{
        chain::samples,
        event::Event,
        stream::{Consumer, StreamInfo},
    };

    /// A pipe with short writes, which can be closed.
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

    /// Each event is one line and is equal after reading it back, even with hostile names.
    #[test]
    fn events_written_and_read_back_are_equal() {
        let pipe = Pipe::default();
        let mut json = JsonLines::new(Box::new(pipe.clone()));
        let events = samples::events();
        for event in &events {
            json.event(event, &StreamInfo::default()).unwrap();
        }
        json.finish().unwrap();
        let text = String::from_utf8(pipe.0.borrow().0.clone()).unwrap();
        let back: Vec<Event> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(!events.is_empty() && text.ends_with('\n'));
        assert_eq!(back, events);
    }

    /// A closed pipe keeps its error kind.
    #[test]
    fn event_written_to_closed_pipe_is_broken_pipe() {
        let pipe = Pipe::default();
        pipe.0.borrow_mut().1 = true;
        let mut json = JsonLines::new(Box::new(pipe));
        let error = json.event(&samples::events()[0], &StreamInfo::default()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }

    /// Unsafe characters are escaped in keys and values, and the value is equal after reading it back.
    #[test]
    fn json_unsafe_characters_are_escaped() {
        let hostile = "a\u{9b}2J\u{7f}\u{202e}b\u{e0001}\u{1b}\n\u{e4}\u{1f600}\u{2028}";
        let line = json(hostile).unwrap();
        assert_eq!(serde_json::from_str::<String>(&line).unwrap(), hostile);
        let wanted = "\"a\\u009b2J\\u007f\\u202eb\\udb40\\udc01\\u001b\\n\u{e4}\u{1f600}\\u2028\"";
        assert_eq!(line, wanted);
        let value = serde_json::json!({ "a\u{202e}": [hostile, {}], "b": [] });
        let text = pretty_json(&value).unwrap();
        assert!(!text.contains(crate::text::unicode::is_unsafe), "{text:?}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
        let harmless = serde_json::json!({ "a": [1, {}, { "b": null }], "c": [] });
        assert_eq!(pretty_json(&harmless).unwrap(), serde_json::to_string_pretty(&harmless).unwrap());
    }
}
