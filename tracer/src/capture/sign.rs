//! Keys for signing seals: Ed25519, in files of 64 hexadecimal digits.
//!
//! Without the feature `sign`, [`Key`] and [`PublicKey`] are uninhabited types, so readers and writers of captures need
//! no conditional compilation.

#[cfg(feature = "sign")]
mod ed25519;

use std::{io, path::PathBuf};

#[cfg(feature = "sign")]
pub use ed25519::{Key, PublicKey};

#[cfg(not(feature = "sign"))]
use super::hash::Hash;

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Its file cannot be read.
    #[error("cannot read the key {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// Its file is not a key.
    #[error(
        "invalid key {}: expected 64 hexadecimal digits, e.g. from `head -c 32 /dev/urandom | xxd -p -c 32`",
        path.display()
    )]
    Format {
        /// The file.
        path: PathBuf,
    },
    /// Other users can read it.
    #[error("cannot use the key {}: other users can read it; run `chmod 600 {}`", path.display(), path.display())]
    Open {
        /// The file.
        path: PathBuf,
    },
    /// The public half cannot be written.
    #[error("cannot write the public key {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// A signing key. Uninhabited without the feature `sign`.
#[cfg(not(feature = "sign"))]
#[derive(Debug)]
#[non_exhaustive]
pub enum Key {}

#[cfg(not(feature = "sign"))]
impl Key {
    /// The signature of a seal's hash, in hexadecimal.
    #[must_use]
    pub const fn sign(&self, _: &Hash) -> String {
        match *self {}
    }
}

/// A public key, which verifies signatures. Uninhabited without the feature `sign`.
#[cfg(not(feature = "sign"))]
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum PublicKey {}

#[cfg(not(feature = "sign"))]
impl PublicKey {
    /// Returns whether a signature is valid for this hash and key.
    #[must_use]
    pub const fn has_signed(&self, _: &Hash, _: &str) -> bool {
        match *self {}
    }
}
