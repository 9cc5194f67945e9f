//! A cgroup for a traced command: all its descendants stay in it, also after a double fork.

use std::{
    fs::{self, File, OpenOptions},
    hash::{BuildHasher, RandomState},
    io,
    os::unix::{fs::MetadataExt, process::CommandExt},
    path::{Path, PathBuf},
    process::Command,
};

use crate::event::Text;

/// Why a cgroup cannot be created.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CgroupError {
    /// No cgroup v2 hierarchy.
    #[error("cannot find a cgroup v2 hierarchy: none is mounted at /sys/fs/cgroup")]
    NoHierarchy,
    /// The kernel refuses.
    #[error("cannot create the cgroup {path}")]
    Make {
        /// The directory.
        path: PathBuf,
        /// The reason.
        #[source]
        source: io::Error,
    },
}

/// Attempts to find a free name.
const NAMES_MAX: usize = 4;

/// Whether this process sees paths of cgroups from the root: it is in the initial cgroup namespace
/// (`PROC_CGROUP_INIT_INO`, include/linux/proc_ns.h).
#[must_use]
pub fn has_global_paths() -> bool {
    // Without the file, the kernel has no cgroup namespaces.
    fs::read_link("/proc/self/ns/cgroup").map_or(true, |namespace| namespace.as_os_str() == "cgroup:[4026531835]")
}

/// A cgroup below the one of this process. Dropping it removes it if it is empty.
#[derive(Debug)]
pub struct OwnCgroup {
    directory: PathBuf,
    name: String,
    path: String,
    procs: File,
}

impl OwnCgroup {
    /// Creates a cgroup.
    ///
    /// # Errors
    /// If cgroup v2 is not mounted or not writable.
    pub fn create() -> Result<Self, CgroupError> {
        let root = Path::new("/sys/fs/cgroup");
        if !root.join("cgroup.procs").exists() {
            return Err(CgroupError::NoHierarchy);
        }
        let own = fs::read_to_string("/proc/self/cgroup").map_err(|_| CgroupError::NoHierarchy)?;
        let parent = own.lines().find_map(|line| line.strip_prefix("0::")).ok_or(CgroupError::NoHierarchy)?;
        let parent = parent.trim_end_matches('/');
        let mut taken = None;
        for _ in 0..NAMES_MAX {
            // Random, because process ids of other pid namespaces are equal, and an earlier cgroup may remain.
            let name = format!("kmodtrace-{:016x}", RandomState::new().hash_one(std::process::id()));
            let path = format!("{parent}/{name}");
            let directory = root.join(path.trim_start_matches('/'));
            let fail = |source| CgroupError::Make { path: directory.clone(), source };
            match fs::create_dir(&directory) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    taken = Some(fail(error));
                    continue;
                }
                Err(error) => return Err(fail(error)),
            }
            let procs = match OpenOptions::new().write(true).open(directory.join("cgroup.procs")) {
                Ok(procs) => procs,
                Err(error) => {
                    // It is empty; if it cannot be removed either, the error below says where it is.
                    let _ = fs::remove_dir(&directory);
                    return Err(fail(error));
                }
            };
            return Ok(Self { directory, name, path, procs });
        }
        Err(taken.unwrap_or(CgroupError::NoHierarchy))
    }

    /// Its name, which no other cgroup has.
    #[must_use]
    pub fn name(&self) -> Text {
        Text::from(self.name.as_str())
    }

    /// Its path from the root of the hierarchy; `None` if that is unknown in this cgroup namespace.
    #[must_use]
    pub fn path(&self) -> Option<Text> {
        has_global_paths().then(|| Text::from(self.path.as_str()))
    }

    /// Its id, as in the records of its tasks.
    #[must_use]
    pub fn id(&self) -> Option<u64> {
        fs::metadata(&self.directory).ok().map(|metadata| metadata.ino())
    }

    /// The processes in it.
    ///
    /// # Errors
    /// If its list of processes cannot be read.
    pub fn processes(&self) -> io::Result<Vec<u32>> {
        let list = fs::read_to_string(self.directory.join("cgroup.procs"))?;
        Ok(list.lines().filter_map(|pid| pid.parse().ok()).collect())
    }

    /// Moves the command's process to this cgroup, between fork and exec. If that fails and `is_required`, the command does not
    /// run.
    ///
    /// # Errors
    /// If the descriptor cannot be duplicated.
    pub fn join_before_exec(&self, command: &mut Command, is_required: bool) -> io::Result<()> {
        let procs = self.procs.try_clone()?;
        // SAFETY: between fork and exec only write(2) on an open descriptor runs, which is async-signal-safe.
        unsafe {
            command.pre_exec(move || {
                // "0" is the writing process itself.
                match rustix::io::write(&procs, b"0") {
                    Err(error) if is_required => Err(error.into()),
                    _ => Ok(()),
                }
            });
        }
        Ok(())
    }
}

impl Drop for OwnCgroup {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir(&self.directory) {
            // A descendant of the command still runs in it.
            log::info!("cannot remove the cgroup {}: {error}", self.directory.display());
        }
    }
}
