//! Frames: one line each, `SEQ LEN CRC JSON`, so that damage and loss on a serial line are detected.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// One message from the guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Frame {
    /// The agent has started.
    Hello {
        /// `uname -r`.
        release: String,
        /// Time since boot.
        boot_ms: u64,
    },
    /// The command wrote to its standard output.
    Stdout {
        /// The bytes.
        data: Chunk,
    },
    /// The command wrote to its standard error.
    Stderr {
        /// The bytes.
        data: Chunk,
    },
    /// The command ended.
    Exit {
        /// Its exit code, 128 + n when signal n ended it.
        code: u8,
    },
    /// A scenario starts.
    TestStart {
        /// Its name.
        name: String,
    },
    /// A scenario ended.
    TestEnd(Outcome),
    /// Part of the kernel log.
    Kmsg {
        /// The text.
        data: Chunk,
    },
    /// The agent itself failed.
    AgentError {
        /// The error.
        message: String,
    },
    /// The agent has executed all orders. This is the last frame.
    End {
        /// Scenarios by status.
        counts: Counts,
    },
}

/// Bytes: as text if they are valid UTF-8, otherwise in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Chunk {
    /// Valid UTF-8.
    Text(String),
    /// Anything else.
    Hex(String),
}

impl Chunk {
    /// Wraps bytes.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Text(text.to_owned()),
            Err(_) => Self::Hex(bytes.iter().map(|byte| format!("{byte:02x}")).collect()),
        }
    }

    /// The original bytes.
    ///
    /// # Errors
    /// When the hex form contains anything but pairs of hex digits.
    pub fn bytes(&self) -> Result<Vec<u8>, FrameError> {
        match self {
            Self::Text(text) => Ok(text.clone().into_bytes()),
            Self::Hex(hex) => {
                let pairs = hex.as_bytes().chunks(2);
                let byte = |pair| std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok());
                if hex.len() % 2 != 0 {
                    return Err(FrameError::Json("odd number of hex digits".to_owned()));
                }
                pairs.map(|pair| byte(pair).ok_or_else(|| FrameError::Json(format!("bad hex in {hex:?}")))).collect()
            }
        }
    }
}

/// How a scenario ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Its name.
    pub name: String,
    /// The status.
    pub status: Status,
    /// The reason, unless it passed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// How long it took.
    pub duration_ms: u64,
    /// The output of the scenario and its children.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub output: String,
}

/// The status of a scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// All checks hold.
    Passed,
    /// A check does not hold.
    Failed,
    /// It does not apply to this kernel.
    Skipped,
}

/// Scenarios by status.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Passed scenarios.
    pub passed: usize,
    /// Failed scenarios.
    pub failed: usize,
    /// Skipped scenarios.
    pub skipped: usize,
}

impl Counts {
    /// Adds one scenario.
    pub fn add(&mut self, status: Status) {
        let counter = match status {
            Status::Passed => &mut self.passed,
            Status::Failed => &mut self.failed,
            Status::Skipped => &mut self.skipped,
        };
        *counter += 1;
    }
}

/// An invalid line.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FrameError {
    /// The line does not have the four parts, or they do not match.
    #[error("not a frame: {0:?}")]
    Shape(String),
    /// The checksum does not match.
    #[error("frame {seq} is damaged: checksum {found:08x}, expected {announced:08x}")]
    Checksum {
        /// The number in the frame.
        seq: u64,
        /// The checksum of the received bytes.
        found: u32,
        /// The checksum in the frame.
        announced: u32,
    },
    /// Frames are missing before this one.
    #[error("frames are missing: found number {found}, expected {wanted}")]
    Gap {
        /// The number found.
        found: u64,
        /// The number expected.
        wanted: u64,
    },
    /// The frame is intact, but its content is not a known message.
    #[error("unknown frame: {0}")]
    Json(String),
}

/// The line for a frame, with its line end.
///
/// # Errors
/// When the frame cannot be written as JSON.
pub fn encode(seq: u64, frame: &Frame) -> Result<String, serde_json::Error> {
    let json = serde_json::to_string(frame)?;
    Ok(format!("{seq} {} {:08x} {json}\n", json.len(), crc32(json.as_bytes())))
}

/// Parses frames and checks their order.
#[derive(Debug, Default)]
pub struct Decoder {
    next_seq: u64,
}

impl Decoder {
    /// A decoder for a guest that had already sent this many frames when its state was stored.
    #[must_use]
    pub const fn after(frames: u64) -> Self {
        Self { next_seq: frames }
    }

    /// Parses one line, with or without its line end.
    ///
    /// # Errors
    /// When the line is not a frame, is damaged, or frames are missing before it.
    pub fn line(&mut self, line: &[u8]) -> Result<Frame, FrameError> {
        let shape = || FrameError::Shape(String::from_utf8_lossy(line).chars().take(200).collect());
        let text = std::str::from_utf8(line).map_err(|_| shape())?.trim_end_matches(['\n', '\r']);
        let mut parts = text.splitn(4, ' ');
        let mut part = || parts.next().ok_or_else(shape);
        let seq: u64 = part()?.parse().map_err(|_| shape())?;
        let length: usize = part()?.parse().map_err(|_| shape())?;
        let announced = u32::from_str_radix(part()?, 16).map_err(|_| shape())?;
        let json = part()?;
        if json.len() != length {
            return Err(shape());
        }
        let found = crc32(json.as_bytes());
        if found != announced {
            return Err(FrameError::Checksum { seq, found, announced });
        }
        let wanted = self.next_seq;
        self.next_seq = seq + 1;
        if seq != wanted {
            return Err(FrameError::Gap { found: seq, wanted });
        }
        serde_json::from_str(json).map_err(|error| FrameError::Json(error.to_string()))
    }
}

/// CRC-32 as in Ethernet and zip. Frames have a few kilobytes, so no table is needed.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = !0_u32;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn outcome(reason: &str) -> Frame {
        Frame::TestEnd(Outcome {
            name: "outage".into(),
            status: Status::Failed,
            reason: reason.into(),
            duration_ms: 7,
            output: "line\nline".into(),
        })
    }

    /// The checksum is the standard CRC-32.
    #[test]
    fn crc_is_the_standard_one() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    /// A frame with any content is one line and round-trips.
    #[test]
    fn frame_is_one_line() {
        let line = encode(0, &outcome("a\nb\r \u{0} c")).unwrap();
        assert_eq!(line.matches('\n').count(), 1);
        assert_eq!(Decoder::default().line(line.as_bytes()).unwrap(), outcome("a\nb\r \u{0} c"));
    }

    /// A flipped bit, a truncated line, foreign text and a missing frame are different errors.
    #[test]
    fn damage_is_detected() {
        let line = encode(0, &outcome("x")).unwrap();
        let mut flipped = line.clone().into_bytes();
        let place = flipped.len() - 5;
        flipped[place] ^= 1;
        assert!(matches!(Decoder::default().line(&flipped), Err(FrameError::Checksum { seq: 0, .. })));
        assert!(matches!(Decoder::default().line(&line.as_bytes()[..line.len() - 4]), Err(FrameError::Shape(_))));
        assert!(matches!(Decoder::default().line(b"[    0.1] Linux version"), Err(FrameError::Shape(_))));
        let later = encode(3, &outcome("x")).unwrap();
        assert_eq!(Decoder::default().line(later.as_bytes()), Err(FrameError::Gap { found: 3, wanted: 0 }));
        assert_eq!(Decoder::after(3).line(later.as_bytes()), Ok(outcome("x")));
    }

    proptest! {
        /// Any bytes round-trip through a chunk.
        #[test]
        fn any_bytes_survive_round_trip(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let frame = Frame::Stdout { data: Chunk::new(&bytes) };
            let line = encode(0, &frame).unwrap();
            let Frame::Stdout { data } = Decoder::default().line(line.as_bytes()).unwrap() else { panic!("another frame") };
            prop_assert_eq!(data.bytes().unwrap(), bytes);
        }

        /// No line makes the decoder panic.
        #[test]
        fn any_line_is_handled(line in prop::collection::vec(any::<u8>(), 0..80)) {
            prop_assert!(Decoder::default().line(&line).is_err());
        }
    }
}
