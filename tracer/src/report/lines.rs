//! Bytes to whole lines, in blocks.

use std::io::{self, ErrorKind, Read};

/// Bytes of a block, about.
const BLOCK_BYTES: usize = 1 << 19;

/// The longest line: no event comes near, and a file without line ends must not fill memory.
const LINE_BYTES_LIMIT: usize = 16 << 20;

/// Whole lines.
#[derive(Clone, Debug, Default)]
pub struct Block {
    /// Kept at its length: to clear it anew for each read costs more than to read.
    bytes: Vec<u8>,
    filled: usize,
    lines_end: usize,
}

impl Block {
    /// The lines, with their ends; empty at the end of what there is now.
    #[must_use]
    pub fn lines(&self) -> &[u8] {
        self.bytes.get(..self.lines_end).unwrap_or_default()
    }

    /// What was read of a line whose end was not read yet.
    fn rest(&self) -> &[u8] {
        self.bytes.get(self.lines_end..self.filled).unwrap_or_default()
    }

    fn begin(&mut self, with: &[u8]) {
        (self.filled, self.lines_end) = (0, 0);
        self.make_room(with.len() + BLOCK_BYTES);
        if let Some(front) = self.bytes.get_mut(..with.len()) {
            front.copy_from_slice(with);
            self.filled = with.len();
        }
    }

    fn make_room(&mut self, bytes: usize) {
        if self.bytes.len() < bytes {
            self.bytes.resize(bytes, 0);
        }
    }

    /// Reads once; returns how much.
    fn read(&mut self, reader: &mut impl Read) -> io::Result<usize> {
        let count = reader.read(self.bytes.get_mut(self.filled..).unwrap_or_default())?;
        let read = self.bytes.get(self.filled..self.filled + count).unwrap_or_default();
        if let Some(end) = memchr::memrchr(b'\n', read) {
            self.lines_end = self.filled + end + 1;
        }
        self.filled += count;
        Ok(count)
    }
}

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
    /// When it cannot be read, and for a line longer than any event. What was read before is in the block.
    pub fn next(&mut self, block: &mut Block) -> io::Result<()> {
        block.begin(&self.rest);
        self.rest.clear();
        let mut result = Ok(());
        loop {
            match block.read(&mut self.reader) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => {
                    result = Err(error);
                    break;
                }
            }
            // What comes through a pipe is told as it comes.
            if block.lines_end > 0 {
                break;
            }
            if block.filled > LINE_BYTES_LIMIT {
                return Err(io::Error::new(ErrorKind::InvalidData, "a line is longer than any event"));
            }
            if block.filled == block.bytes.len() {
                block.make_room(2 * block.filled);
            }
        }
        self.rest.extend_from_slice(block.rest());
        result
    }

    /// What is read from.
    pub fn reader(&self) -> &R {
        &self.reader
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

    use super::{Block, Blocks};

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
            let (mut block, mut all) = (Block::default(), Vec::new());
            loop {
                blocks.next(&mut block).unwrap();
                if block.lines().is_empty() {
                    break;
                }
                prop_assert!(block.lines().ends_with(b"\n"));
                all.extend_from_slice(block.lines());
            }
            prop_assert!(!blocks.rest().contains(&b'\n'));
            all.extend_from_slice(blocks.rest());
            prop_assert_eq!(all, text.into_bytes());
        }
    }
}
