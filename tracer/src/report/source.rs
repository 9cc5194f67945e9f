//! Bytes of a capture as lines: plain, or in zstd frames; also while it is being written.

use std::io::{self, Read};

use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation, OutBuffer};

/// What a zstd frame begins with.
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Compressed bytes read at a time.
const INPUT_BYTES: usize = 1 << 17;

/// The largest window that is decoded, as a power of two: 32 MiB. The tracer's frames need a hundredth; a file made to
/// exhaust memory is refused.
const WINDOW_LOG_MAX: u32 = 25;

/// Reads a capture. At the end of what there is now it gives nothing; later there may be more.
pub struct Source<R> {
    reader: R,
    form: Form,
}

enum Form {
    /// Fewer bytes than tell what it is.
    Unknown(Vec<u8>),
    /// Bytes that were read to see what it is come first.
    Plain(Vec<u8>),
    Zstd(Box<Frames>),
}

struct Frames {
    decoder: Decoder<'static>,
    input: Vec<u8>,
    at: usize,
    is_in_frame: bool,
}

impl<R: Read> Source<R> {
    /// Reads from `reader`.
    pub fn new(reader: R) -> Self {
        Self { reader, form: Form::Unknown(Vec::new()) }
    }

    /// Whether what was read last is a part of a frame whose end is missing.
    #[must_use]
    pub fn is_in_frame(&self) -> bool {
        matches!(&self.form, Form::Zstd(frames) if frames.is_in_frame)
    }

    /// Looks at the first bytes. False while there are too few.
    fn tells(&mut self) -> io::Result<bool> {
        let Form::Unknown(begin) = &mut self.form else { return Ok(true) };
        let missing = ZSTD_MAGIC.len().saturating_sub(begin.len());
        let count = u64::try_from(missing).unwrap_or(u64::MAX);
        self.reader.by_ref().take(count).read_to_end(begin)?;
        let begin = std::mem::take(begin);
        self.form = if begin == ZSTD_MAGIC {
            let mut decoder = Decoder::new()?;
            decoder.set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX))?;
            Form::Zstd(Box::new(Frames { decoder, input: begin, at: 0, is_in_frame: false }))
        } else if ZSTD_MAGIC.starts_with(&begin) {
            Form::Unknown(begin)
        } else {
            Form::Plain(begin)
        };
        Ok(!matches!(self.form, Form::Unknown(_)))
    }
}

impl<R: Read> Read for Source<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() || !self.tells()? {
            return Ok(0);
        }
        match &mut self.form {
            Form::Unknown(_) => Ok(0),
            Form::Plain(begin) if begin.is_empty() => self.reader.read(out),
            Form::Plain(begin) => {
                let count = begin.as_slice().read(out)?;
                begin.drain(..count);
                Ok(count)
            }
            Form::Zstd(frames) => frames.read(&mut self.reader, out),
        }
    }
}

impl Frames {
    fn read(&mut self, reader: &mut impl Read, out: &mut [u8]) -> io::Result<usize> {
        loop {
            // What was decoded may not have had room the last time.
            if self.is_in_frame || self.at < self.input.len() {
                let mut from = InBuffer::around(self.input.get(self.at..).unwrap_or_default());
                let mut to = OutBuffer::around(&mut *out);
                self.is_in_frame = self.decoder.run(&mut from, &mut to)? != 0;
                self.at += from.pos();
                if to.pos() > 0 {
                    return Ok(to.pos());
                }
                if self.at < self.input.len() {
                    continue;
                }
            }
            self.input.resize(INPUT_BYTES, 0);
            let read = reader.read(&mut self.input);
            self.input.truncate(*read.as_ref().unwrap_or(&0));
            self.at = 0;
            if read? == 0 {
                return Ok(0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        cell::RefCell,
        io::{self, Read},
        rc::Rc,
    };

    use proptest::prelude::*;

    use super::Source;

    /// A file that grows.
    #[derive(Clone, Default)]
    struct Growing(Rc<RefCell<(Vec<u8>, usize)>>);

    impl Read for Growing {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let (bytes, at) = &mut *self.0.borrow_mut();
            let count = (&bytes[*at..]).read(into)?;
            *at += count;
            Ok(count)
        }
    }

    fn frames(texts: &[String]) -> Vec<u8> {
        texts.iter().flat_map(|text| zstd::bulk::compress(text.as_bytes(), 1).unwrap()).collect()
    }

    proptest! {
        /// Check that whatever comes in pieces, plain or compressed, is read as it was written, and that a frame
        /// without an end is known as one.
        #[test]
        fn a_growing_file_is_read(
            texts in proptest::collection::vec("[ab\n]{0,40}", 1..5),
            steps in proptest::collection::vec(1_usize..30, 1..20),
            compressed in any::<bool>(),
        ) {
            let plain = format!("{{{}", texts.concat());
            let whole = if compressed { frames(&[vec![plain.clone()], texts.clone()].concat()) } else { plain.clone().into_bytes() };
            let wanted = if compressed { plain + &texts.concat() } else { plain };
            let file = Growing::default();
            let mut source = Source::new(file.clone());
            let (mut rest, mut out) = (whole.as_slice(), Vec::new());
            for step in steps.iter().cycle() {
                let (now, later) = rest.split_at((*step).min(rest.len()));
                file.0.borrow_mut().0.extend_from_slice(now);
                source.read_to_end(&mut out).unwrap();
                if later.is_empty() {
                    break;
                }
                rest = later;
            }
            prop_assert_eq!(out, wanted.as_bytes());
            prop_assert!(!source.is_in_frame());
            if compressed {
                let mut cut = Source::new(&whole[..whole.len() - 1]);
                cut.read_to_end(&mut Vec::new()).unwrap();
                prop_assert!(cut.is_in_frame());
            }
        }
    }

    /// Check that a frame that asks for much memory is refused, and that broken bytes are an error.
    #[test]
    fn bombs_and_damage_are_errors() {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(27).unwrap();
        io::copy(&mut io::repeat(b'\n').take(1 << 20), &mut encoder).unwrap();
        let bomb = encoder.finish().unwrap();
        assert!(Source::new(bomb.as_slice()).read_to_end(&mut Vec::new()).is_err());
        let mut broken = frames(&["abc".repeat(99)]);
        broken[6] ^= 0xff;
        assert!(Source::new(broken.as_slice()).read_to_end(&mut Vec::new()).is_err());
    }
}
