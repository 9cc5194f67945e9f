//! Reading the small text files of `/proc` and `/sys`, with errors that name the fix, and the beginning of any other file.

use std::{
    fs::{Metadata, OpenOptions},
    io::Read as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use rustix::fs::OFlags;

/// Why information about the system is unavailable.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The file cannot be read.
    #[error("cannot read {}: {reason}; {fix}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: std::io::Error,
        /// The fix.
        fix: &'static str,
    },
    /// Its content has an unexpected form.
    #[error("cannot parse {}: unexpected content {content:?}; please report it", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// Its content.
        content: String,
    },
}

impl ReadError {
    /// Whether the file does not exist.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Read { reason, .. } if reason.kind() == std::io::ErrorKind::NotFound)
    }
}

/// Reads a file under `root`; `fix` is the advice in the error. Bytes that are not UTF-8 become U+FFFD.
pub(crate) fn read(root: &Path, path: &str, fix: &'static str) -> Result<String, ReadError> {
    let path = root.join(path);
    match std::fs::read(&path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(reason) => Err(ReadError::Read { path, reason, fix }),
    }
}

/// Like [`read`], without the final newline.
pub(super) fn read_line(root: &Path, path: &str, fix: &'static str) -> Result<String, ReadError> {
    read(root, path, fix).map(|text| text.strip_suffix('\n').unwrap_or(&text).to_owned())
}

/// Like [`read`], for a file with a number.
pub(super) fn read_number(root: &Path, path: &str, fix: &'static str) -> Result<i64, ReadError> {
    let text = read_line(root, path, fix)?;
    text.trim().parse().map_err(|_| content(root, path, &text))
}

/// Reads a regular file, at most `limit_bytes` from its beginning; `None` if it cannot be read, or is none. A pipe does not block.
pub(crate) fn read_regular(path: &Path, limit_bytes: u64) -> Option<(Vec<u8>, Metadata)> {
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).ok()?;
    let metadata = file.metadata().ok().filter(Metadata::is_file)?;
    let mut content = Vec::new();
    file.take(limit_bytes).read_to_end(&mut content).ok()?;
    Some((content, metadata))
}

/// An error about the content of a file.
pub(super) fn content(root: &Path, path: &str, text: &str) -> ReadError {
    ReadError::Content { path: root.join(path), content: text.to_owned() }
}
