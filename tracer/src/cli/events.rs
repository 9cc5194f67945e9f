//! Captures in: the events of files, one after another, plain or compressed.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use anyhow::Context;

use crate::{
    capture::{
        files::list,
        lines::LineError,
        reader::{ReadError, Reader},
    },
    chain::Item,
    event::Event,
    logging::say,
    policy::Stream,
    report::Recordings,
};

/// Who takes the events of captures.
pub(super) trait Taker {
    /// Whether an event goes on where the last capture stopped, as in one that was cut into several files.
    fn continues(&self, event: &Event) -> bool;

    /// Another capture begins.
    fn begin(&mut self, name: &str);

    /// The next event of the capture.
    fn event(&mut self, event: Event);

    /// Something of the capture cannot be known.
    fn doubt(&mut self, doubt: String);
}

/// Hands over every event of the captures, once each; `-` is standard input.
pub(super) fn read(captures: &[PathBuf], taker: &mut dyn Taker) -> anyhow::Result<()> {
    let mut recordings = Recordings::default();
    for path in captures {
        if path == Path::new("-") {
            each(io::stdin(), "standard input", &mut recordings, taker)?;
            continue;
        }
        // A directory stands for its captures.
        for file in list(std::slice::from_ref(path))? {
            let name = file.display().to_string();
            let file = File::open(&file).with_context(|| format!("cannot read {name}"))?;
            each(file, &name, &mut recordings, taker)?;
        }
    }
    recordings.sentences().for_each(|sentence| say(&sentence));
    Ok(())
}

fn each(reader: impl Read, name: &str, recordings: &mut Recordings, taker: &mut dyn Taker) -> anyhow::Result<()> {
    recordings.begin();
    let mut reader = Reader::new(reader).with_context(|| format!("cannot read {name}"))?;
    let (mut has_begun, mut is_repeated, mut is_torn) = (false, false, false);
    loop {
        match reader.next_event() {
            Ok(Some(event)) if recordings.has_read(&event, name) => is_repeated = true,
            Ok(Some(event)) => {
                if !has_begun && !taker.continues(&event) {
                    taker.begin(name);
                }
                has_begun = true;
                taker.event(event);
            }
            Ok(None) => break,
            Err(ReadError::Line(LineError::Torn { .. })) => {
                is_torn = true;
                break;
            }
            Err(ReadError::Line(LineError::NotACapture)) => return Err(not_a_capture(name)),
            Err(error) => return Err(error).with_context(|| format!("cannot use {name}")),
        }
    }
    if !has_begun && is_repeated {
        // All of it was read from another file: what is wrong with this one does not matter.
        return Ok(());
    }
    if !has_begun {
        taker.begin(name);
    }
    if is_torn {
        taker.doubt("it is cut off: what came last is missing".to_owned());
    }
    if reader.unknown() > 0 {
        taker.doubt(format!("{} of its lines are of types that this kmodtrace does not know", reader.unknown()));
    }
    Ok(())
}

/// What is said of a file that begins as no capture does.
pub(super) fn not_a_capture(name: &str) -> anyhow::Error {
    anyhow::anyhow!(
        "{name} is not a capture: neither zstd nor JSON Lines; unpack what is packed otherwise (gunzip, xz -d), and give what \
         record, run --json or watch --json wrote"
    )
}

/// Takes captures as streams, and hands on their items.
pub(super) struct Items<'a> {
    stream: Option<Stream>,
    doubts: Vec<String>,
    take: &'a mut dyn FnMut(Item),
}

impl<'a> Items<'a> {
    /// Hands items to `take`.
    pub(super) fn new(take: &'a mut dyn FnMut(Item)) -> Self {
        Self { stream: None, doubts: Vec::new(), take }
    }

    /// Ends the last stream: what was not seen of all of them.
    pub(super) fn finish(mut self) -> Vec<String> {
        self.end();
        self.doubts
    }

    fn end(&mut self) {
        if let Some(mut stream) = self.stream.take() {
            stream.end().into_iter().for_each(&mut *self.take);
            self.doubts.extend(stream.doubts());
        }
    }
}

impl Taker for Items<'_> {
    fn continues(&self, event: &Event) -> bool {
        self.stream.as_ref().is_some_and(|stream| stream.continues(event))
    }

    fn begin(&mut self, name: &str) {
        self.end();
        self.stream = Some(Stream::new(name));
    }

    fn event(&mut self, event: Event) {
        if let Some(stream) = &mut self.stream {
            stream.event(event).into_iter().for_each(&mut *self.take);
        }
    }

    fn doubt(&mut self, doubt: String) {
        if let Some(stream) = &mut self.stream {
            stream.doubt(doubt);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Items, Recordings, Taker, each};
    use crate::{chain::Item, event::Event};

    const LOSS: &str =
        r#"{"seq":0,"time":"2026-03-01T00:00:00Z","boot_ns":1,"type":"loss","stage":"probe","cause":"x","count":1}"#;

    /// Counts what it is given.
    #[derive(Debug, Default, PartialEq)]
    struct Count(usize, usize, Vec<String>);

    impl Taker for Count {
        fn continues(&self, _: &Event) -> bool {
            false
        }

        fn begin(&mut self, _: &str) {
            self.0 += 1;
        }

        fn event(&mut self, _: Event) {
            self.1 += 1;
        }

        fn doubt(&mut self, doubt: String) {
            self.2.push(doubt);
        }
    }

    fn read(bytes: &[u8]) -> Result<(usize, usize, usize), String> {
        let mut count = Count::default();
        let done = each(bytes, "f", &mut Recordings::default(), &mut count);
        done.map(|()| (count.0, count.1, count.2.len())).map_err(|error| error.to_string())
    }

    /// Check that whole, cut, foreign and newer files are told apart, compressed ones too.
    #[test]
    fn lines_are_events() {
        let two = format!("{LOSS}\n{LOSS}\n");
        let packed = zstd::bulk::compress(two.as_bytes(), 1).unwrap();
        for (bytes, wanted) in [
            (&b""[..], Ok((1, 0, 0))),
            (two.as_bytes(), Ok((1, 2, 0))),
            (two.trim_end().as_bytes(), Ok((1, 1, 1))),
            (&two.as_bytes()[..two.len() - 30], Ok((1, 1, 1))),
            (&packed, Ok((1, 2, 0))),
            (&packed[..packed.len() - 2], Ok((1, 0, 1))),
            (two.replace("loss", "news").as_bytes(), Ok((1, 0, 1))),
            (format!("{LOSS}\nhello\n").as_bytes(), Err("cannot use f".to_owned())),
        ] {
            assert_eq!(read(bytes), wanted, "{}", bytes.escape_ascii());
        }
    }

    /// Check that a capture cut into files is one stream, and that another beginning is another.
    #[test]
    fn files_go_on_where_the_last_stopped() {
        let next = LOSS.replace("\"seq\":0", "\"seq\":1");
        for (second, missing) in [(next.as_str(), 0), (LOSS, 1)] {
            let mut seen = 0;
            let mut count = |_: Item| seen += 1;
            let mut items = Items::new(&mut count);
            let mut recordings = Recordings::default();
            each(format!("{LOSS}\n").as_bytes(), "a", &mut recordings, &mut items).unwrap();
            each(format!("{second}\n").as_bytes(), "b", &mut recordings, &mut items).unwrap();
            let doubts = items.finish();
            assert_eq!(doubts.iter().filter(|doubt| doubt.starts_with("b: ")).count() > 0, missing > 0, "{doubts:?}");
            assert_eq!(seen, 2);
        }
    }
}
