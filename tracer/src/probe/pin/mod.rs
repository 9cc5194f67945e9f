//! The pin directory of the flight recorder in the BPF file system: it keeps programs attached and records in the ring while
//! no recorder runs.
//!
//! ```text
//! /sys/fs/bpf/kmodtrace/         mode 0700, owned by root; locked by the running recorder
//!   v<ABI>/                      always complete: created as `new` and then renamed
//!     <MAP>                      every map
//!     <program>                  every attached program, for its counter of missed runs
//!     <program>_link             its link; removing it detaches the program
//! ```

pub(super) mod resume;

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

/// Name of an incomplete pin directory; bpffs allows no dots in names.
const STAGING: &str = "new";

/// Why programs cannot be pinned, or pinned programs cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PinError {
    /// The BPF file system is not mounted.
    #[error(
        "cannot pin programs: {} is not on a BPF file system; run `mount -t bpf bpf /sys/fs/bpf`",
        path.display()
    )]
    NotBpf {
        /// The directory for pins.
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
    /// The directory may have been created by another user.
    #[error(
        "cannot use {}: it must be a directory owned by root with mode 0700; check its origin, then remove it",
        path.display()
    )]
    Untrusted {
        /// It.
        path: PathBuf,
    },
    /// Another recorder uses the directory.
    #[error("cannot use {}: another kmodtrace record --pin uses it", path.display())]
    InUse {
        /// It.
        path: PathBuf,
    },
    /// The pins have another layout than this build creates.
    #[error(
        "cannot use the pins in {}: unexpected layout ({why}); remove them with `kmodtrace record --unpin`",
        path.display()
    )]
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

/// The locked pin directory.
pub(super) struct Pins {
    root: PathBuf,
    /// Holds the lock while open.
    _lock: File,
    /// The staging directory exists and must be removed on drop.
    unpublished: bool,
}

impl Pins {
    /// Creates the directory if it is missing, checks its owner and mode, and locks it.
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

    /// The pins of this version, if there are any.
    pub(super) fn published(&self) -> Option<PathBuf> {
        Some(self.current()).filter(|path| path.is_dir())
    }

    fn current(&self) -> PathBuf {
        self.root.join(format!("v{ABI_VERSION}"))
    }

    /// The pins of other versions.
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

    /// Creates a staging directory for a new set of pins.
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

    /// Renames the staging directory: the next recorder finds the complete set.
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

/// Removes all pins, unless a recorder uses them; returns whether there were any.
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

    /// A directory outside a BPF file system is refused; the error has the mount command.
    #[test]
    fn other_file_system_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let Err(error) = Pins::open(&root.path().join("kmodtrace")) else { panic!("taken") };
        assert!(matches!(error, PinError::NotBpf { .. }));
        assert!(error.to_string().contains("mount -t bpf"), "{error}");
        assert!(!root.path().join("kmodtrace").exists());
    }
}
