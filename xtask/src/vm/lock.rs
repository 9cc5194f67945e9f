//! The lock of the cache: one process at a time changes it.

use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context as _, Result};
use rustix::fs::{FlockOperation, flock};

/// The lock of the cache. The kernel releases it if its holder dies.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
}

impl Lock {
    /// Takes the lock of a cache directory. Prints a message if it has to wait.
    pub(crate) fn take(dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        let path = dir.join("lock");
        let file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                eprintln!("vm: waiting for another cargo xtask that prepares images");
                flock(&file, FlockOperation::LockExclusive)
                    .with_context(|| format!("cannot lock {}", path.display()))?;
            }
            Err(error) => return Err(error).with_context(|| format!("cannot lock {}", path.display())),
        }
        Ok(Self { file })
    }

    /// Releases the lock.
    pub(crate) fn release(self) -> Result<()> {
        flock(&self.file, FlockOperation::Unlock).context("cannot unlock the cache")
    }
}
