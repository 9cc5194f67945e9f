//! Writes lines to a file: plain, or in sealed zstd frames as in `docs/capture-format.md`.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use sha2::{Digest as _, Sha256};
use zstd::bulk::Compressor;
use zstd::zstd_safe::CParameter;

/// Maximum number of events in a frame.
const FRAME_EVENTS: u64 = 64;

/// Size at which a frame is closed, before compression.
const FRAME_BYTES: usize = 256 << 10;

/// A line of a capture.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    pub(super) seq: u64,
    pub(super) boot_ns: u64,
    pub(super) time: &'a str,
    /// Whether it ends a frame.
    pub(super) is_urgent: bool,
    /// The event with its line end.
    pub(super) text: &'a str,
}

/// A capture that is being written.
pub(super) struct Output {
    writer: BufWriter<File>,
    /// `None` for a plain file.
    frame: Option<Frame>,
}

struct Frame {
    compressor: Compressor<'static>,
    text: Vec<u8>,
    events: u64,
    previous: String,
}

impl Output {
    /// Creates a file. It is compressed if its name ends in `.zst`.
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        let is_compressed = path.extension().is_some_and(|extension| extension == "zst");
        let frame = if is_compressed {
            let mut compressor = Compressor::new(3)?;
            compressor.set_parameter(CParameter::ChecksumFlag(true))?;
            Some(Frame { compressor, text: Vec::new(), events: 0, previous: "0".repeat(64) })
        } else {
            None
        };
        Ok(Self { writer: BufWriter::with_capacity(1 << 20, File::create(path)?), frame })
    }

    /// Writes a line. Returns whether a seal followed, which takes the next sequence number.
    pub(super) fn line(&mut self, line: Line<'_>) -> io::Result<bool> {
        let Some(frame) = &mut self.frame else {
            self.writer.write_all(line.text.as_bytes())?;
            return Ok(false);
        };
        frame.text.extend_from_slice(line.text.as_bytes());
        frame.events += 1;
        let is_full = line.is_urgent || frame.events >= FRAME_EVENTS || frame.text.len() >= FRAME_BYTES;
        if is_full {
            frame.close(line, &mut self.writer)?;
        }
        Ok(is_full)
    }

    /// Flushes the file. No frame is open then, because the last line of a stream is urgent.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

impl Frame {
    /// Seals the frame and writes it.
    fn close(&mut self, last: Line<'_>, writer: &mut impl Write) -> io::Result<()> {
        let Line { seq, boot_ns, time, .. } = last;
        let (first, number, previous) = (seq + 1 - self.events, seq + 1, &self.previous);
        write!(
            self.text,
            r#"{{"seq":{number},"time":"{time}","boot_ns":{boot_ns},"type":"seal","first_seq":{first},"last_seq":{seq},"previous":"{previous}""#
        )?;
        let hash: String = Sha256::digest(&self.text).iter().map(|byte| format!("{byte:02x}")).collect();
        writeln!(self.text, r#","sha256":"{hash}"}}"#)?;
        self.previous = hash;
        writer.write_all(&self.compressor.compress(&self.text)?)?;
        self.text.clear();
        self.events = 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Line, Output};

    /// A compressed capture consists of frames of complete lines, each with a seal at the end.
    #[test]
    fn frames_contain_complete_lines() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("capture.jsonl.zst");
        let mut output = Output::create(&path).unwrap();
        let (mut seq, mut seals) = (0, 0);
        for number in 0..200 {
            let text = format!("{{\"seq\":{seq},\"n\":{number}}}\n");
            let line = Line { seq, boot_ns: 7, time: "1970-01-01T00:00:00Z", is_urgent: number == 199, text: &text };
            let is_sealed = output.line(line).unwrap();
            seals += u64::from(is_sealed);
            seq += 1 + u64::from(is_sealed);
        }
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
        assert_eq!((frames.len(), seals), (4, 4));
        for frame in &frames {
            assert!(frame.lines().last().unwrap().contains("\"type\":\"seal\"") && frame.ends_with("\"}\n"));
        }
        let all = frames.concat();
        for (place, line) in all.lines().enumerate() {
            assert!(line.starts_with(&format!("{{\"seq\":{place},")), "{line}");
        }
    }
}
