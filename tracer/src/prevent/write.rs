//! Putting a file in place, whole or not at all, with a copy of what was there.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// Why a file is not in place.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what} {}", path.display())]
pub struct WriteError {
    what: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// The file is new.
    New,
    /// It was there word for word.
    Same,
    /// Another was there, and is kept under this name, which modprobe does not read.
    Replaced {
        /// The copy.
        backup: PathBuf,
    },
}

/// Writes `text` to `path`.
///
/// # Errors
/// When the directory cannot be written; then nothing has changed.
pub fn write(path: &Path, text: &str) -> Result<Written, WriteError> {
    let fail = |what, path: &Path| {
        let path = path.to_owned();
        move |source| WriteError { what, path, source }
    };
    let old = match fs::read(path) {
        Ok(old) if old == text.as_bytes() => return Ok(Written::Same),
        Ok(old) => Some(old),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(fail("read", path)(error)),
    };
    let written = match old {
        None => Written::New,
        Some(old) => {
            let backup = save(path, &old)?;
            Written::Replaced { backup }
        }
    };
    let new = with_end(path, ".new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o644)
        .open(&new)
        .map_err(fail("write", &new))?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(fail("write", &new))?;
    fs::rename(&new, path).map_err(fail("put in place", path))?;
    let directory = path.parent().unwrap_or(Path::new("/"));
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(fail("sync", directory))?;
    Ok(written)
}

fn with_end(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}

/// A copy under the first free name.
fn save(path: &Path, old: &[u8]) -> Result<PathBuf, WriteError> {
    let mut number = 1;
    loop {
        let backup = with_end(path, &format!(".bak{number}"));
        match OpenOptions::new().write(true).create_new(true).mode(0o644).open(&backup) {
            Ok(mut file) => {
                let done = file.write_all(old).and_then(|()| file.sync_all());
                return match done {
                    Ok(()) => Ok(backup),
                    Err(source) => Err(WriteError { what: "write", path: backup, source }),
                };
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            Err(source) => return Err(WriteError { what: "write", path: backup, source }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Written, write};

    /// Check that what was there is kept, each time under a name of its own, and that the same text changes nothing.
    #[test]
    fn nothing_is_lost() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("00-x.conf");
        assert_eq!(write(&path, "one\n").unwrap(), Written::New);
        assert_eq!(write(&path, "one\n").unwrap(), Written::Same);
        for (text, old) in [("two\n", "one\n"), ("three\n", "two\n")] {
            let Written::Replaced { backup } = write(&path, text).unwrap() else { panic!("it was another text") };
            assert_eq!(std::fs::read_to_string(&backup).unwrap(), old);
            assert!(backup.extension().is_none_or(|end| end != "conf"), "modprobe would read {}", backup.display());
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
        assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 3);
    }

    /// Check that a directory that is not there is named.
    #[test]
    fn says_what_is_wrong() {
        let error = write(std::path::Path::new("/nonexistent/x.conf"), "x").unwrap_err();
        assert_eq!(error.to_string(), "cannot write /nonexistent/x.conf.new");
    }
}
