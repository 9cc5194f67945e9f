//! Reading the small text files of `/proc` and `/sys`, with errors that name the fix.

use std::path::{Path, PathBuf};

/// Why a fact about the kernel is not known.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FactError {
    /// The file cannot be read.
    #[error("cannot read {}: {fix}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: std::io::Error,
        /// The fix.
        fix: &'static str,
    },
    /// Its content has an unexpected form.
    #[error("{} is not understood: {content:?}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// Its content.
        content: String,
    },
}

impl FactError {
    /// Whether the file does not exist: the kernel or system is without it.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Read { source, .. } if source.kind() == std::io::ErrorKind::NotFound)
    }
}

/// Reads a file under `root`; `fix` is what to do when that fails. Bytes that are not UTF-8 become U+FFFD.
pub(crate) fn read(root: &Path, path: &str, fix: &'static str) -> Result<String, FactError> {
    let path = root.join(path);
    match std::fs::read(&path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(source) => Err(FactError::Read { path, source, fix }),
    }
}

/// The same without its last newline.
pub(super) fn read_line(root: &Path, path: &str, fix: &'static str) -> Result<String, FactError> {
    read(root, path, fix).map(|text| text.strip_suffix('\n').unwrap_or(&text).to_owned())
}

/// The same as a number.
pub(super) fn read_number(root: &Path, path: &str, fix: &'static str) -> Result<i64, FactError> {
    let text = read_line(root, path, fix)?;
    text.trim().parse().map_err(|_| content(root, path, &text))
}

/// An error about the content of a file.
pub(super) fn content(root: &Path, path: &str, text: &str) -> FactError {
    FactError::Content { path: root.join(path), content: text.to_owned() }
}
