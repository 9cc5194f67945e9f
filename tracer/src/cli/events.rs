//! Captures in: the events of a file, one after another.

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    path::Path,
};

use anyhow::Context;

use crate::event::Event;

/// How a capture ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// After a whole line.
    Whole,
    /// Within a line: its writer was cut off.
    Torn,
}

/// A capture's name in messages.
pub(super) fn name(path: &Path) -> String {
    if is_stdin(path) { "standard input".to_owned() } else { path.display().to_string() }
}

fn is_stdin(path: &Path) -> bool {
    path == Path::new("-")
}

/// Hands over every event of a capture; `-` is standard input.
pub(super) fn each(path: &Path, take: &mut dyn FnMut(Event)) -> anyhow::Result<Ended> {
    let reader: Box<dyn BufRead> = if is_stdin(path) {
        Box::new(BufReader::new(io::stdin()))
    } else {
        let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
        Box::new(BufReader::new(file))
    };
    each_line(reader, &name(path), take)
}

fn each_line(mut reader: impl BufRead, name: &str, take: &mut dyn FnMut(Event)) -> anyhow::Result<Ended> {
    let mut line = Vec::new();
    for number in 1_u64.. {
        line.clear();
        if reader.read_until(b'\n', &mut line).with_context(|| format!("cannot read {name}"))? == 0 {
            break;
        }
        match serde_json::from_slice(&line) {
            Ok(event) => take(event),
            // Only the last line has no end.
            Err(_) if !line.ends_with(b"\n") => return Ok(Ended::Torn),
            Err(error) => {
                return Err(error).with_context(|| format!("{name}:{number}: this is no event of kmodtrace"));
            }
        }
    }
    Ok(Ended::Whole)
}

#[cfg(test)]
mod tests {
    use super::{Ended, each_line};

    const LOSS: &str =
        r#"{"seq":0,"time":"2026-03-01T00:00:00Z","boot_ns":1,"type":"loss","stage":"probe","cause":"x","count":1}"#;

    fn read(text: &str) -> Result<(usize, Ended), String> {
        let mut count = 0;
        let ended = each_line(text.as_bytes(), "f", &mut |_| count += 1);
        ended.map(|ended| (count, ended)).map_err(|error| error.to_string())
    }

    /// Check that whole, torn and foreign files are told apart, the latter with their line.
    #[test]
    fn lines_are_events() {
        assert_eq!(read(""), Ok((0, Ended::Whole)));
        assert_eq!(read(&format!("{LOSS}\n{LOSS}\n")), Ok((2, Ended::Whole)));
        assert_eq!(read(&format!("{LOSS}\n{LOSS}")), Ok((2, Ended::Whole)));
        assert_eq!(read(&format!("{LOSS}\n{}", &LOSS[..40])), Ok((1, Ended::Torn)));
        assert_eq!(read(&format!("{LOSS}\nhello\n")), Err("f:2: this is no event of kmodtrace".to_owned()));
    }
}
