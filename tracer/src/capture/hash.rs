//! Hashes of seals, and their hexadecimal form.

use sha2::{Digest, Sha256};

/// A SHA-256 hash.
pub type Hash = [u8; 32];

/// The previous hash of the first seal.
pub const NO_HASH: Hash = [0; 32];

/// The hash of a text.
#[must_use]
pub fn hash(text: &[u8]) -> Hash {
    Sha256::digest(text).into()
}

/// Incremental hash of a text.
#[derive(Clone, Debug, Default)]
pub struct Hasher(Sha256);

impl Hasher {
    /// Adds a piece.
    pub fn update(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    /// The hash of all pieces and one more.
    #[must_use]
    pub fn with(mut self, piece: &[u8]) -> Hash {
        self.update(piece);
        self.take()
    }

    /// Returns the hash of all pieces and resets the state.
    pub fn take(&mut self) -> Hash {
        self.0.finalize_reset().into()
    }
}

impl PartialEq for Hasher {
    fn eq(&self, other: &Self) -> bool {
        self.clone().take() == other.clone().take()
    }
}

impl Eq for Hasher {}

/// Lower-case hexadecimal digits.
#[must_use]
pub fn to_hex(bytes: &[u8]) -> String {
    use std::fmt::Write;

    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        // Writing to a string cannot fail.
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// Decodes hexadecimal digits; `None` unless they are exactly `N` bytes.
#[must_use]
pub fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != N * 2 {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
        let text = std::str::from_utf8(pair).ok().filter(|pair| pair.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
        *byte = u8::from_str_radix(text, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::{from_hex, hash, to_hex};

    /// The hash of the published vector is correct, and hexadecimal digits are decoded to the same bytes.
    #[test]
    fn hash_matches_published_vector() {
        let empty = to_hex(&hash(b""));
        assert_eq!(empty, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_eq!(from_hex::<32>(&empty), Some(hash(b"")));
        for bad in ["", "e3", "zz", "+1", "e3b"] {
            assert_eq!(from_hex::<1>(bad).is_some(), bad == "e3", "{bad}");
        }
    }
}
