//! Lines to a file: plain, or in independent zstd frames of whole lines, as the tracer writes them.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use zstd::bulk::Compressor;
use zstd::zstd_safe::CParameter;

/// Lines of a frame, at most.
const FRAME_LINES: usize = 64;

/// Bytes of a frame before compression, about.
const FRAME_BYTES: usize = 256 << 10;

/// A capture that is written.
pub(super) struct Output {
    writer: BufWriter<File>,
    /// Absent for a plain file.
    frame: Option<Frame>,
}

struct Frame {
    compressor: Compressor<'static>,
    bytes: Vec<u8>,
    lines: usize,
}

impl Output {
    /// Creates a file; one whose name ends in `.zst` is compressed.
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        let is_compressed = path.extension().is_some_and(|extension| extension == "zst");
        let frame = if is_compressed {
            let mut compressor = Compressor::new(3)?;
            compressor.set_parameter(CParameter::ChecksumFlag(true))?;
            Some(Frame { compressor, bytes: Vec::new(), lines: 0 })
        } else {
            None
        };
        Ok(Self { writer: BufWriter::with_capacity(1 << 20, File::create(path)?), frame })
    }

    /// Writes a line with its end.
    pub(super) fn line(&mut self, line: &str) -> io::Result<()> {
        let Some(frame) = &mut self.frame else { return self.writer.write_all(line.as_bytes()) };
        frame.bytes.extend_from_slice(line.as_bytes());
        frame.lines += 1;
        if frame.lines >= FRAME_LINES || frame.bytes.len() >= FRAME_BYTES {
            frame.write(&mut self.writer)?;
        }
        Ok(())
    }

    /// Writes what is left.
    pub(super) fn finish(mut self) -> io::Result<()> {
        if let Some(frame) = self.frame.as_mut().filter(|frame| frame.lines > 0) {
            frame.write(&mut self.writer)?;
        }
        self.writer.flush()
    }
}

impl Frame {
    fn write(&mut self, writer: &mut impl Write) -> io::Result<()> {
        writer.write_all(&self.compressor.compress(&self.bytes)?)?;
        self.bytes.clear();
        self.lines = 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Output;

    /// Check that a compressed capture is frames of whole lines that hold what was written.
    #[test]
    fn frames_hold_whole_lines() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("capture.jsonl.zst");
        let mut output = Output::create(&path).unwrap();
        let lines: Vec<String> = (0..200).map(|number| format!("{{\"seq\":{number}}}\n")).collect();
        lines.iter().for_each(|line| output.line(line).unwrap());
        output.finish().unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let mut rest = bytes.as_slice();
        let mut frames = Vec::new();
        while !rest.is_empty() {
            let size = zstd::zstd_safe::find_frame_compressed_size(rest).unwrap();
            let (frame, after) = rest.split_at(size);
            frames.push(String::from_utf8(zstd::bulk::decompress(frame, 1 << 20).unwrap()).unwrap());
            rest = after;
        }
        assert_eq!(frames.len(), 4);
        assert!(frames.iter().all(|frame| frame.ends_with('\n')));
        assert_eq!(frames.concat(), lines.concat());
    }
}
