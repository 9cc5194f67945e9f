//! Writes a file atomically and keeps a copy of the previous one.
//!
//! The directory may be writable by others: symbolic links are not followed, a predictable name is only opened for writing
//! by the call that creates it, and anything other than a regular file is refused before it can block.

use std::{
    fs::{self, File, Metadata, OpenOptions, Permissions},
    io::{self, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use rustix::fs::{Gid, OFlags, Uid, fchown};
use tempfile::Builder;

/// Why a file was not written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// An operation failed.
    #[error("cannot {what} {}", path.display())]
    Failed {
        /// The operation.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// The path is not a regular file.
    #[error("cannot write {}: it is {kind}, not a regular file; remove it or use another directory", path.display())]
    NotRegular {
        /// The path.
        path: PathBuf,
        /// The type of the file.
        kind: &'static str,
    },
}

/// The result of writing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Written {
    /// The file is new.
    New,
    /// The file has this content already.
    Same,
    /// A previous file was kept under this name, which modprobe does not read.
    Replaced {
        /// The copy.
        backup: PathBuf,
    },
}

/// Mode of a new file: the configuration of modprobe is readable by all users.
const NEW_MODE: u32 = 0o644;

/// Writes `text` to `path`. The new file and the copy get the mode and owner of a previous file.
///
/// # Errors
/// If the directory cannot be written, or the path is not a regular file (for example a symbolic link or a pipe);
/// then nothing has changed.
pub fn write(path: &Path, text: &str) -> Result<Written, WriteError> {
    let old = read(path)?;
    let written = match &old {
        None => Written::New,
        Some((old, _)) if old == text.as_bytes() => return Ok(Written::Same),
        Some((old, metadata)) => Written::Replaced { backup: save(path, old, metadata)? },
    };
    let directory = directory(path);
    let mut new = Builder::new()
        // modprobe does not read files with this name.
        .prefix(".kmodtrace.")
        .tempfile_in(directory)
        .map_err(fail("create a file in", directory))?;
    let metadata = old.as_ref().map(|(_, metadata)| metadata);
    fill(new.as_file_mut(), text.as_bytes(), metadata).map_err(fail("write", path))?;
    new.persist(path).map_err(|error| fail("rename the new file to", path)(error.error))?;
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(fail("sync", directory))?;
    Ok(written)
}

fn fail(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> WriteError {
    let path = path.to_owned();
    move |source| WriteError::Failed { what, path, source }
}

fn directory(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Reads the previous file without following a symbolic link, and without blocking on a pipe.
fn read(path: &Path) -> Result<Option<(Vec<u8>, Metadata)>, WriteError> {
    let refuse = |metadata: &Metadata| WriteError::NotRegular { path: path.to_owned(), kind: kind(metadata) };
    match fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.is_file() => return Err(refuse(&metadata)),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(fail("read", path)(error)),
    }
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let mut file = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)
        .map_err(fail("read", path))?;
    // It may have been replaced since the check.
    let metadata = file.metadata().map_err(fail("read", path))?;
    if !metadata.is_file() {
        return Err(refuse(&metadata));
    }
    let mut old = Vec::new();
    file.read_to_end(&mut old).map_err(fail("read", path))?;
    Ok(Some((old, metadata)))
}

fn kind(metadata: &Metadata) -> &'static str {
    use std::os::unix::fs::FileTypeExt;
    let of = metadata.file_type();
    if of.is_symlink() {
        "a symbolic link"
    } else if of.is_dir() {
        "a directory"
    } else if of.is_fifo() {
        "a pipe"
    } else if of.is_socket() {
        "a socket"
    } else {
        "a device"
    }
}

/// Writes a new file while only root can read it, then gives it the owner and mode of the previous file.
fn fill(file: &mut File, text: &[u8], like: Option<&Metadata>) -> io::Result<()> {
    file.write_all(text)?;
    let own = file.metadata()?;
    if let Some(like) = like.filter(|like| (like.uid(), like.gid()) != (own.uid(), own.gid())) {
        fchown(&*file, Some(Uid::from_raw(like.uid())), Some(Gid::from_raw(like.gid())))?;
    }
    let mode = like.map_or(NEW_MODE, |like| like.permissions().mode() & 0o7777);
    file.set_permissions(Permissions::from_mode(mode))?;
    file.sync_all()
}

fn with_end(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}

/// Writes a copy under the first free name.
fn save(path: &Path, old: &[u8], like: &Metadata) -> Result<PathBuf, WriteError> {
    let mut number = 1;
    loop {
        let backup = with_end(path, &format!(".bak{number}"));
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&backup) {
            Ok(mut file) => {
                fill(&mut file, old, Some(like)).map_err(fail("write", &backup))?;
                return Ok(backup);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            Err(source) => return Err(fail("write", &backup)(source)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, Permissions},
        os::unix::fs::{PermissionsExt, symlink},
        path::Path,
    };

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::{Written, write};

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
    }

    /// Each previous content is kept under its own name, and identical content changes nothing.
    #[test]
    fn write_over_a_file_keeps_its_content() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("00-x.conf");
        assert_eq!(write(&path, "one\n").unwrap(), Written::New);
        assert_eq!(mode(&path), 0o644);
        assert_eq!(write(&path, "one\n").unwrap(), Written::Same);
        for (text, old) in [("two\n", "one\n"), ("three\n", "two\n")] {
            let Written::Replaced { backup } = write(&path, text).unwrap() else { panic!("the content differs") };
            assert_eq!(fs::read_to_string(&backup).unwrap(), old);
            assert!(backup.extension().is_none_or(|end| end != "conf"), "modprobe would read {}", backup.display());
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 3);
    }

    /// Neither the file nor its copy is readable by more users than before.
    #[test]
    fn write_over_a_file_keeps_its_mode() {
        for kept in [0o600, 0o640, 0o444, 0o664] {
            let root = tempfile::tempdir().unwrap();
            let path = root.path().join("00-x.conf");
            fs::write(&path, "old\n").unwrap();
            fs::set_permissions(&path, Permissions::from_mode(kept)).unwrap();
            let Written::Replaced { backup } = write(&path, "new\n").unwrap() else { panic!("the content differs") };
            assert_eq!((mode(&path), mode(&backup)), (kept, kept), "{kept:o}");
        }
    }

    /// No symbolic link is followed, and its target does not change.
    #[test]
    fn write_to_a_link_is_refused() {
        for end in ["", ".new", ".bak1"] {
            let root = tempfile::tempdir().unwrap();
            let (path, victim) = (root.path().join("00-x.conf"), root.path().join("victim"));
            fs::write(&victim, "victim\n").unwrap();
            if !end.is_empty() {
                fs::write(&path, "old\n").unwrap();
            }
            let link = super::with_end(&path, end);
            symlink(&victim, &link).unwrap();
            let written = write(&path, "new\n");
            assert_eq!(fs::read_to_string(&victim).unwrap(), "victim\n", "{end}");
            assert!(fs::symlink_metadata(&link).unwrap().is_symlink(), "{end}");
            if end.is_empty() {
                assert!(written.unwrap_err().to_string().contains("it is a symbolic link"));
            } else {
                assert_eq!(fs::read_to_string(&path).unwrap(), "new\n", "{end}");
            }
        }
        let root = tempfile::tempdir().unwrap();
        let dangling = root.path().join("00-y.conf");
        symlink(root.path().join("nowhere"), &dangling).unwrap();
        write(&dangling, "new\n").unwrap_err();
        assert!(!root.path().join("nowhere").exists());
    }

    /// A path that is not a regular file is refused without blocking on a pipe.
    #[test]
    fn write_to_a_pipe_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let pipe = root.path().join("pipe");
        mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let directory = root.path().join("directory");
        fs::create_dir(&directory).unwrap();
        let socket = root.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        for (path, kind) in [(pipe, "a pipe"), (directory, "a directory"), (socket, "a socket")] {
            let error = write(&path, "x").unwrap_err().to_string();
            assert!(error.contains(&format!("it is {kind}, not a regular file")), "{error}");
        }
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 3);
    }

    /// The error for a missing directory names it.
    #[test]
    fn write_to_a_missing_directory_names_it() {
        let error = write(Path::new("/nonexistent/x.conf"), "x").unwrap_err();
        assert_eq!(error.to_string(), "cannot create a file in /nonexistent");
    }
}
