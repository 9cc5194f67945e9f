//! The files of one or several captures, in order.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// What captures' names end with.
pub const EXTENSION: &str = ".jsonl.zst";

/// Why files cannot be listed.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// A file or directory cannot be looked at.
    #[error("cannot read {}", path.display())]
    Read {
        /// It.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A directory without captures.
    #[error("there is no capture in {}: captures end with {EXTENSION} or .jsonl", path.display())]
    Empty {
        /// It.
        path: PathBuf,
    },
}

/// The files that are meant: each file itself, and of a directory all captures by name, which is by time.
///
/// # Errors
/// When one cannot be looked at, or a directory holds none.
pub fn list(paths: &[PathBuf]) -> Result<Vec<PathBuf>, FilesError> {
    let mut files = Vec::new();
    for path in paths {
        let fail = |source| FilesError::Read { path: path.clone(), source };
        if !fs::metadata(path).map_err(fail)?.is_dir() {
            files.push(path.clone());
            continue;
        }
        let mut found = Vec::new();
        for entry in fs::read_dir(path).map_err(fail)? {
            let entry = entry.map_err(fail)?.path();
            if is_capture(&entry) {
                found.push(entry);
            }
        }
        if found.is_empty() {
            return Err(FilesError::Empty { path: path.clone() });
        }
        found.sort();
        files.extend(found);
    }
    Ok(files)
}

/// Whether a name is a capture's.
#[must_use]
pub fn is_capture(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    !name.starts_with('.') && (name.ends_with(EXTENSION) || name.ends_with(".jsonl"))
}

#[cfg(test)]
mod tests {
    use super::{FilesError, list};

    /// Check that a directory gives its captures in order, and that one without is told.
    #[test]
    fn captures_are_found() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        assert!(matches!(list(&[root.path().to_owned()]), Err(FilesError::Empty { .. })));
        for name in ["b.jsonl.zst", "a.jsonl", "notes.txt", ".hidden.jsonl"] {
            std::fs::write(path(name), "").unwrap();
        }
        assert_eq!(list(&[root.path().to_owned()]).unwrap(), [path("a.jsonl"), path("b.jsonl.zst")]);
        assert_eq!(list(&[path("notes.txt")]).unwrap(), [path("notes.txt")]);
        assert!(matches!(list(&[path("none")]), Err(FilesError::Read { .. })));
    }
}
