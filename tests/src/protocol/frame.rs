//! Frames: one line each, `SEQ LEN CRC JSON`, so that damage and loss on a serial line are seen and never guessed away.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// One message from the guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Frame {
    /// The agent runs.
    Hello {
        /// `uname -r`.
        release: String,
        /// Time since boot.
        boot_ms: u64,
    },
    /// The command wrote to its standard output.
    Stdout {
        /// What it wrote.
        data: Chunk,
    },
    /// The command wrote to its standard error.
    Stderr {
        /// What it wrote.
        data: Chunk,
    },
    /// The command ended.
    Exit {
        /// Its exit code, 128 + n when signal n ended it.
        code: u8,
    },
    /// A scenario begins.
    TestStart {
        /// Its name.
        name: String,
    },
    /// A scenario ended.
    TestEnd(Outcome),
    /// Part of the kernel log.
    Kmsg {
        /// What it says.
        data: Chunk,
    },
    /// The agent itself failed.
    Trouble {
        /// What happened.
        message: String,
    },
    /// The agent has done all it was ordered to do. Nothing follows.
    End {
        /// Scenarios by status.
        counts: Counts,
    },
}

/// Bytes as text where they are text, in hex where they are not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Chunk {
    /// Valid UTF-8.
    Text(String),
    /// Anything else.
    Hex(String),
}

impl Chunk {
    /// Wraps some bytes.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Text(text.to_owned()),
            Err(_) => Self::Hex(bytes.iter().map(|byte| format!("{byte:02x}")).collect()),
        }
    }

    /// The bytes again.
    ///
    /// # Errors
    /// When the hex form holds anything but pairs of hex digits.
    pub fn bytes(&self) -> Result<Vec<u8>, Damage> {
        match self {
            Self::Text(text) => Ok(text.clone().into_bytes()),
            Self::Hex(hex) => {
                let pairs = hex.as_bytes().chunks(2);
                let byte = |pair| std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok());
                if hex.len() % 2 != 0 {
                    return Err(Damage::Json("odd number of hex digits".to_owned()));
                }
                pairs.map(|pair| byte(pair).ok_or_else(|| Damage::Json(format!("bad hex in {hex:?}")))).collect()
            }
        }
    }
}

/// How a scenario ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Its name.
    pub name: String,
    /// The verdict.
    pub status: Status,
    /// Why, for anything but a pass.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// How long it took.
    pub duration_ms: u64,
    /// What it and its children printed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub output: String,
}

/// The verdict on a scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// All it states was seen.
    Passed,
    /// Something it states was not so.
    Failed,
    /// It does not apply to this kernel.
    Skipped,
}

/// Scenarios by status.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// How many passed.
    pub passed: usize,
    /// How many failed.
    pub failed: usize,
    /// How many were skipped.
    pub skipped: usize,
}

impl Counts {
    /// Counts one more.
    pub fn add(&mut self, status: Status) {
        let counter = match status {
            Status::Passed => &mut self.passed,
            Status::Failed => &mut self.failed,
            Status::Skipped => &mut self.skipped,
        };
        *counter += 1;
    }
}

/// What can be wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Damage {
    /// It has not the four parts, or they do not fit.
    #[error("not a frame: {0:?}")]
    Shape(String),
    /// Its bytes changed on the way.
    #[error("frame {seq} is damaged: checksum {found:08x}, announced {announced:08x}")]
    Checksum {
        /// Which frame it claims to be.
        seq: u64,
        /// The checksum of what arrived.
        found: u32,
        /// The checksum it came with.
        announced: u32,
    },
    /// Frames are missing before it.
    #[error("frame {found} came where {wanted} was due")]
    Gap {
        /// The number that came.
        found: u64,
        /// The number that was due.
        wanted: u64,
    },
    /// It is whole, and yet no message of ours.
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

/// Reads frames and watches their order.
#[derive(Debug, Default)]
pub struct Decoder {
    next_seq: u64,
}

impl Decoder {
    /// Reads one line, with or without its line end.
    ///
    /// # Errors
    /// When the line is no frame, is damaged, or others are missing before it.
    pub fn line(&mut self, line: &[u8]) -> Result<Frame, Damage> {
        let shape = || Damage::Shape(String::from_utf8_lossy(line).chars().take(200).collect());
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
            return Err(Damage::Checksum { seq, found, announced });
        }
        let wanted = self.next_seq;
        self.next_seq = seq + 1;
        if seq != wanted {
            return Err(Damage::Gap { found: seq, wanted });
        }
        serde_json::from_str(json).map_err(|error| Damage::Json(error.to_string()))
    }
}

/// CRC-32 as in Ethernet and zip. A few kilobytes a frame: no table needed.
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

    /// The checksum is the one everyone knows.
    #[test]
    fn crc_is_the_standard_one() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    /// A frame is one line whatever it carries, and reads back equal.
    #[test]
    fn a_frame_is_one_line() {
        let line = encode(0, &outcome("a\nb\r \u{0} c")).unwrap();
        assert_eq!(line.matches('\n').count(), 1);
        assert_eq!(Decoder::default().line(line.as_bytes()).unwrap(), outcome("a\nb\r \u{0} c"));
    }

    /// A flipped bit, a cut line, foreign text and a missing frame are each told apart.
    #[test]
    fn damage_is_noticed() {
        let line = encode(0, &outcome("x")).unwrap();
        let mut flipped = line.clone().into_bytes();
        let place = flipped.len() - 5;
        flipped[place] ^= 1;
        assert!(matches!(Decoder::default().line(&flipped), Err(Damage::Checksum { seq: 0, .. })));
        assert!(matches!(Decoder::default().line(&line.as_bytes()[..line.len() - 4]), Err(Damage::Shape(_))));
        assert!(matches!(Decoder::default().line(b"[    0.1] Linux version"), Err(Damage::Shape(_))));
        let later = encode(3, &outcome("x")).unwrap();
        assert_eq!(Decoder::default().line(later.as_bytes()), Err(Damage::Gap { found: 3, wanted: 0 }));
    }

    proptest! {
        /// Any bytes survive a chunk.
        #[test]
        fn any_bytes_survive(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let frame = Frame::Stdout { data: Chunk::new(&bytes) };
            let line = encode(0, &frame).unwrap();
            let Frame::Stdout { data } = Decoder::default().line(line.as_bytes()).unwrap() else { panic!("another frame") };
            prop_assert_eq!(data.bytes().unwrap(), bytes);
        }

        /// No line makes the decoder panic.
        #[test]
        fn any_line_is_survived(line in prop::collection::vec(any::<u8>(), 0..80)) {
            prop_assert!(Decoder::default().line(&line).is_err());
        }
    }
}
