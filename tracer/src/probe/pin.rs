//! Where the flight recorder lives: a directory of the BPF file system, which keeps programs attached and records
//! waiting while no process of ours runs.
//!
//! ```text
//! /sys/fs/bpf/kmodtrace/         0700, root's; locked by the recorder that uses it
//!   v<ABI>/                      complete, or not there: it is made as `new` and then renamed
//!     <MAP>                      every map
//!     <program>                  every attached program, to be asked what the kernel skipped
//!     <program>_link             what keeps it attached; removing it detaches
//! ```

use std::{
    fs::{self, File},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock, statfs};
use tracer_ebpf::wire::ABI_VERSION;

/// The directory.
pub const PIN_DIRECTORY: &str = "/sys/fs/bpf/kmodtrace";

/// `BPF_FS_MAGIC`, include/uapi/linux/magic.h.
const BPF_FS_MAGIC: u64 = 0xcafe_4a11;

/// Under this name the pins are made; a dot is not allowed there.
const STAGING: &str = "new";

/// Why nothing can be pinned, or what is pinned cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PinError {
    /// The BPF file system is not mounted.
    #[error(
        "{} is not in a BPF file system, where alone programs can be pinned: mount -t bpf bpf /sys/fs/bpf",
        path.display()
    )]
    NotBpf {
        /// Where it should be.
        path: PathBuf,
    },
    /// The directory cannot be used.
    #[error("cannot use {}", path.display())]
    Directory {
        /// It.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The directory may have been made by somebody else.
    #[error("{} is not root's alone (it must be a directory of mode 0700): look who made it, then remove it", path.display())]
    Untrusted {
        /// It.
        path: PathBuf,
    },
    /// Another recorder.
    #[error("another kmodtrace records with --pin: it holds {}", path.display())]
    InUse {
        /// It.
        path: PathBuf,
    },
    /// Something is pinned that is not as this build wants it.
    #[error("what is pinned in {} is not as this kmodtrace left it ({why}): kmodtrace record --unpin removes it", path.display())]
    Layout {
        /// The directory.
        path: PathBuf,
        /// What differs.
        why: String,
    },
    /// The kernel refuses to pin.
    #[error("cannot pin {what}: {why}")]
    Refused {
        /// Which object.
        what: String,
        /// Why.
        why: String,
    },
}

/// The directory, locked.
pub(super) struct Pins {
    root: PathBuf,
    /// The lock lives as long as this is open.
    _lock: File,
    /// What was begun and not published is removed again.
    unpublished: bool,
}

impl Pins {
    /// Makes the directory where it is missing, checks that it is nobody else's, and locks it.
    pub(super) fn open(root: &Path) -> Result<Self, PinError> {
        let fail = |source: io::Error| PinError::Directory { path: root.to_owned(), source };
        let above = root.parent().unwrap_or(root);
        let not_bpf = || PinError::NotBpf { path: root.to_owned() };
        let kind = statfs(above).map_err(|_| not_bpf())?.f_type;
        if u64::try_from(kind) != Ok(BPF_FS_MAGIC) {
            return Err(not_bpf());
        }
        match fs::DirBuilder::new().mode(0o700).create(root) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(fail(error)),
            _ => {}
        }
        let found = fs::symlink_metadata(root).map_err(fail)?;
        let own = rustix::process::geteuid().as_raw();
        if !found.is_dir() || found.mode() & 0o077 != 0 || found.uid() != own {
            return Err(PinError::Untrusted { path: root.to_owned() });
        }
        let lock = File::open(root).map_err(fail)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { root: root.to_owned(), _lock: lock, unpublished: false }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(PinError::InUse { path: root.to_owned() }),
            Err(error) => Err(fail(error.into())),
        }
    }

    /// Where this version's pins are, when there are any.
    pub(super) fn published(&self) -> Option<PathBuf> {
        Some(self.current()).filter(|path| path.is_dir())
    }

    fn current(&self) -> PathBuf {
        self.root.join(format!("v{ABI_VERSION}"))
    }

    /// What other versions have left.
    pub(super) fn foreign(&self) -> Result<Vec<PathBuf>, PinError> {
        let fail = |source| PinError::Directory { path: self.root.clone(), source };
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.root).map_err(fail)? {
            let path = entry.map_err(fail)?.path();
            if path != self.current() && path != self.root.join(STAGING) {
                found.push(path);
            }
        }
        Ok(found)
    }

    /// Begins a new set of pins, in a directory of its own.
    pub(super) fn begin(&mut self) -> Result<PathBuf, PinError> {
        let path = self.root.join(STAGING);
        if path.is_dir() {
            remove(&path)?;
        }
        let fail = |source| PinError::Directory { path: path.clone(), source };
        fs::DirBuilder::new().mode(0o700).create(&path).map_err(fail)?;
        self.unpublished = true;
        Ok(path)
    }

    /// Lets the new set be found by the next recorder.
    pub(super) fn publish(&mut self) -> Result<(), PinError> {
        if !self.unpublished {
            return Ok(());
        }
        let path = self.current();
        fs::rename(self.root.join(STAGING), &path).map_err(|source| PinError::Directory { path, source })?;
        self.unpublished = false;
        Ok(())
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        if self.unpublished
            && let Err(error) = remove(&self.root.join(STAGING))
        {
            log::warn!("{error}");
        }
    }
}

/// Removes a set of pins, which detaches its programs.
pub(super) fn remove(path: &Path) -> Result<(), PinError> {
    fs::remove_dir_all(path).map_err(|source| PinError::Directory { path: path.to_owned(), source })
}

/// Removes everything that is pinned, unless a recorder uses it; true when there was something.
///
/// # Errors
/// See [`PinError`].
pub fn unpin() -> Result<bool, PinError> {
    let root = Path::new(PIN_DIRECTORY);
    if !root.exists() {
        return Ok(false);
    }
    let pins = Pins::open(root)?;
    let had = pins.published().is_some() || !pins.foreign()?.is_empty();
    remove(&pins.root)?;
    Ok(had)
}

#[cfg(test)]
mod tests {
    use super::{PinError, Pins};

    /// Check that a directory outside a BPF file system is refused with the way to mount one.
    #[test]
    fn only_a_bpf_file_system_will_do() {
        let root = tempfile::tempdir().unwrap();
        let Err(error) = Pins::open(&root.path().join("kmodtrace")) else { panic!("taken") };
        assert!(matches!(error, PinError::NotBpf { .. }));
        assert!(error.to_string().contains("mount -t bpf"), "{error}");
        assert!(!root.path().join("kmodtrace").exists());
    }
}
