//! Ed25519 keys.

use std::{
    fs,
    io::Write,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};

use super::KeyError;
use crate::capture::hash::{Hash, from_hex, to_hex};

/// A signing key.
pub struct Key(SigningKey);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key")
    }
}

impl Key {
    /// Reads a key, which only its owner may be able to read, and writes the public key next to it as `<file>.pub`.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        let fail = |source| KeyError::Read { path: path.to_owned(), source };
        if fs::metadata(path).map_err(fail)?.mode() & 0o077 != 0 {
            return Err(KeyError::Open { path: path.to_owned() });
        }
        let text = fs::read_to_string(path).map_err(fail)?;
        let secret = from_hex::<32>(text.trim()).ok_or_else(|| KeyError::Format { path: path.to_owned() })?;
        let key = Self(SigningKey::from_bytes(&secret));
        let mut public = path.as_os_str().to_owned();
        public.push(".pub");
        let public = PathBuf::from(public);
        let line = format!("{}\n", to_hex(key.0.verifying_key().as_bytes()));
        if !fs::read_to_string(&public).is_ok_and(|there| there == line) {
            let file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(&public);
            let written = file.and_then(|mut file| file.write_all(line.as_bytes()));
            written.map_err(|source| KeyError::Write { path: public, source })?;
        }
        Ok(key)
    }

    /// The signature of a seal's hash, in hexadecimal.
    #[must_use]
    pub fn sign(&self, hash: &Hash) -> String {
        to_hex(&self.0.sign(hash).to_bytes())
    }
}

/// A public key, which verifies signatures.
#[derive(Clone, Debug)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// Reads a public key.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        let text = fs::read_to_string(path).map_err(|source| KeyError::Read { path: path.to_owned(), source })?;
        let format = || KeyError::Format { path: path.to_owned() };
        let bytes = from_hex::<32>(text.trim()).ok_or_else(format)?;
        VerifyingKey::from_bytes(&bytes).map(Self).map_err(|_| format())
    }

    /// Returns whether a signature is valid for this hash and key.
    #[must_use]
    pub fn has_signed(&self, hash: &Hash, signature: &str) -> bool {
        let Some(bytes) = from_hex::<64>(signature) else { return false };
        self.0.verify_strict(hash, &Signature::from_bytes(&bytes)).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::{Key, KeyError, PublicKey};

    /// A signature is valid only for its hash and key.
    #[test]
    fn signature_is_valid_only_for_its_hash_and_key() {
        let root = tempfile::tempdir().unwrap();
        let [one, other] = ["one", "other"].map(|name| {
            let path = root.path().join(name);
            fs::write(&path, if name == "one" { "11".repeat(32) } else { "22".repeat(32) }).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            path
        });
        let key = Key::load(&one).unwrap();
        Key::load(&other).unwrap();
        let public = |path: &std::path::Path| PublicKey::load(&path.with_extension("pub")).unwrap();
        let signature = key.sign(&[7; 32]);
        assert!(public(&one).has_signed(&[7; 32], &signature));
        assert!(!public(&one).has_signed(&[8; 32], &signature));
        assert!(!public(&other).has_signed(&[7; 32], &signature));
        assert!(!public(&one).has_signed(&[7; 32], "00"));
    }

    /// A key that other users can read and an invalid key are errors.
    #[test]
    fn readable_or_invalid_key_is_error() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("key");
        assert!(matches!(Key::load(&path), Err(KeyError::Read { .. })));
        fs::write(&path, "11".repeat(32)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(Key::load(&path), Err(KeyError::Open { .. })));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "secret").unwrap();
        assert!(matches!(Key::load(&path), Err(KeyError::Format { .. })));
    }
}
