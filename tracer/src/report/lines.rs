//! Bytes to whole lines, in blocks.

use std::io::{self, ErrorKind, Read};

/// Bytes read at a time.
const BLOCK_BYTES: usize = 1 << 20;

/// The longest line: no event comes near, and a file without line ends must not fill memory.
const LINE_BYTES_LIMIT: usize = 16 << 20;

/// Reads blocks of whole lines.
pub struct Blocks<R> {
    reader: R,
    /// The beginning of a line whose end was not read yet.
    rest: Vec<u8>,
}

impl<R: Read> Blocks<R> {
    /// Reads from `reader`.
    pub fn new(reader: R) -> Self {
        Self { reader, rest: Vec::new() }
    }

    /// Fills `block` with whole lines, or leaves it empty at the end of what there is now.
    ///
    /// # Errors
    /// When it cannot be read, and for a line longer than any event.
    pub fn next(&mut self, block: &mut Vec<u8>) -> io::Result<()> {
        block.clear();
        block.append(&mut self.rest);
        loop {
            let from = block.len();
            block.resize(from + BLOCK_BYTES, 0);
            let count = match self.reader.read(block.get_mut(from..).unwrap_or_default()) {
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {
                    block.truncate(from);
                    continue;
                }
                Err(error) => return Err(error),
            };
            block.truncate(from + count);
            let read = block.get(from..).unwrap_or_default();
            if let Some(end) = memchr::memrchr(b'\n', read) {
                self.rest = block.split_off(from + end + 1);
                return Ok(());
            }
            if count == 0 {
                std::mem::swap(block, &mut self.rest);
                block.clear();
                return Ok(());
            }
            if block.len() > LINE_BYTES_LIMIT {
                return Err(io::Error::new(ErrorKind::InvalidData, "a line is longer than any event"));
            }
        }
    }

    /// The beginning of a line that has no end: what a writer left that was killed.
    #[must_use]
    pub fn rest(&self) -> &[u8] {
        &self.rest
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Read};

    use proptest::prelude::*;

    use super::Blocks;

    /// Gives a few bytes at a time, as pipes may.
    struct Trickle<'a>(&'a [u8], usize);

    impl Read for Trickle<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let count = self.1.min(self.0.len()).min(into.len());
            let (now, later) = self.0.split_at(count);
            into[..count].copy_from_slice(now);
            self.0 = later;
            Ok(count)
        }
    }

    proptest! {
        /// Check that blocks are whole lines, and that nothing is lost, added or reordered.
        #[test]
        fn blocks_are_whole_lines(text in "[a\\n]{0,60}", step in 1_usize..9) {
            let mut blocks = Blocks::new(Trickle(text.as_bytes(), step));
            let (mut block, mut all) = (Vec::new(), Vec::new());
            loop {
                blocks.next(&mut block).unwrap();
                if block.is_empty() {
                    break;
                }
                prop_assert!(block.ends_with(b"\n"));
                all.extend_from_slice(&block);
            }
            prop_assert!(!blocks.rest().contains(&b'\n'));
            all.extend_from_slice(blocks.rest());
            prop_assert_eq!(all, text.into_bytes());
        }
    }
}
