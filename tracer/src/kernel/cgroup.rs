//! The cgroup hierarchy that places processes on this machine, and a cgroup for a traced command: all its descendants stay in it,
//! also after a double fork.

use std::{
    fs::{self, File, OpenOptions},
    hash::{BuildHasher, RandomState},
    io,
    os::{
        fd::OwnedFd,
        unix::{fs::MetadataExt, process::CommandExt},
    },
    path::{Path, PathBuf},
    process::Command,
};

use rustix::pipe::{PipeFlags, pipe_with};
use tracer_ebpf::wire::CgroupHierarchy;

use crate::event::Text;

/// Why a cgroup cannot be created.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CgroupError {
    /// The hierarchy is not mounted.
    #[error("cannot find a cgroup hierarchy of {0}: none is mounted")]
    NoHierarchy(&'static str),
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

/// The hierarchy by which systemd and container engines place processes on this machine: that of the v1 controllers where they are
/// mounted (cgroup v1 and hybrid), else cgroup v2. The file lists the mounted hierarchies of the machine, also in a container.
#[must_use]
pub fn hierarchy() -> CgroupHierarchy {
    hierarchy_of(Path::new("/"))
}

/// Like [`hierarchy`], of the system at `root`.
#[must_use]
pub fn hierarchy_of(root: &Path) -> CgroupHierarchy {
    hierarchy_in(&fs::read_to_string(root.join(OWN)).unwrap_or_default())
}

/// Memberships of this process: `ID:CONTROLLERS:PATH`, for cgroup v2 `0::PATH` (cgroups(7)).
const OWN: &str = "proc/self/cgroup";

fn hierarchy_in(own: &str) -> CgroupHierarchy {
    let v1 = || memberships(own).filter(|(controllers, _)| !controllers.is_empty());
    let of = |wanted: CgroupHierarchy| v1().any(|(controllers, _)| is_of(controllers, wanted));
    let is_v2 = memberships(own).any(|(controllers, _)| controllers.is_empty());
    if let Some(found) = [CgroupHierarchy::Pids, CgroupHierarchy::Memory].into_iter().find(|wanted| of(*wanted)) {
        found
    } else if is_v2 || v1().next().is_none() {
        // Other controllers alone place no processes: `net_cls` is mounted by VPN software on machines with cgroup v2.
        CgroupHierarchy::V2
    } else {
        CgroupHierarchy::Unknown
    }
}

/// The controllers and the path of each hierarchy.
fn memberships(own: &str) -> impl Iterator<Item = (&str, &str)> {
    own.lines().filter_map(|line| line.split_once(':')?.1.split_once(':'))
}

/// Whether the controllers are those of a hierarchy; cgroup v2 has none in this list.
fn is_of(controllers: &str, hierarchy: CgroupHierarchy) -> bool {
    match hierarchy.controller() {
        Some(wanted) => controllers.split(',').any(|controller| controller == wanted),
        None => controllers.is_empty(),
    }
}

/// The directory of a cgroup, by the list of mounts. The last mount at a place hides earlier ones.
fn directory_of(mountinfo: &str, hierarchy: CgroupHierarchy, path: &str) -> Option<PathBuf> {
    // `ID PARENT DEVICE ROOT MOUNTPOINT OPTIONS... - TYPE SOURCE SUPEROPTIONS` (proc_pid_mountinfo(5)).
    mountinfo.lines().rev().find_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        let mut kind = kind.split(' ');
        let is_wanted = match hierarchy.controller() {
            Some(_) => kind.next() == Some("cgroup") && is_of(kind.nth(1)?, hierarchy),
            None => kind.next() == Some("cgroup2"),
        };
        let mut fields = mount.split(' ').skip(3);
        let (root, place) = (fields.next()?, fields.next()?);
        let below =
            path.strip_prefix(root.trim_end_matches('/')).filter(|rest| rest.is_empty() || rest.starts_with('/'));
        // Octal escapes of unusual names are not decoded: such a place is not found.
        below.filter(|_| is_wanted).map(|rest| Path::new(place).join(rest.trim_start_matches('/')))
    })
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
    /// If the hierarchy of the records is not mounted or not writable.
    pub fn create() -> Result<Self, CgroupError> {
        let hierarchy = hierarchy();
        let missing = || CgroupError::NoHierarchy(hierarchy.controller().unwrap_or("version 2"));
        let own = fs::read_to_string(Path::new("/").join(OWN)).map_err(|_| missing())?;
        let parent = memberships(&own).find(|(controllers, _)| is_of(controllers, hierarchy)).ok_or_else(missing)?.1;
        let parent = parent.trim_end_matches('/');
        let mountinfo = fs::read_to_string("/proc/self/mountinfo").map_err(|_| missing())?;
        let parent_directory = directory_of(&mountinfo, hierarchy, parent).ok_or_else(missing)?;
        let mut taken = None;
        for _ in 0..NAMES_MAX {
            // Random, because process ids of other pid namespaces are equal, and an earlier cgroup may remain.
            let name = format!("kmodtrace-{:016x}", RandomState::new().hash_one(std::process::id()));
            let path = format!("{parent}/{name}");
            let directory = parent_directory.join(&name);
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
        Err(taken.unwrap_or_else(missing))
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

    /// Moves the command's process to this cgroup, between fork and exec. If the kernel refuses, the command runs outside of it, and
    /// [`Joining::refused`] returns the reason.
    ///
    /// # Errors
    /// If descriptors cannot be created.
    pub fn join_before_exec(&self, command: &mut Command) -> io::Result<Joining> {
        let procs = self.procs.try_clone()?;
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // SAFETY: between fork and exec only write(2) on open descriptors runs, which is async-signal-safe.
        unsafe {
            command.pre_exec(move || {
                // "0" is the writing process itself.
                if let Err(error) = rustix::io::write(&procs, b"0") {
                    rustix::io::write(&writer, &error.raw_os_error().to_ne_bytes())?;
                }
                Ok(())
            });
        }
        Ok(Joining(reader))
    }
}

/// The result of joining a cgroup.
#[derive(Debug)]
pub struct Joining(OwnedFd);

impl Joining {
    /// Why the kernel refused; to be called when the command runs.
    #[must_use]
    pub fn refused(self) -> Option<io::Error> {
        let mut error = [0; 4];
        let size = rustix::io::read(&self.0, &mut error).unwrap_or(0);
        (size == error.len()).then(|| io::Error::from_raw_os_error(i32::from_ne_bytes(error)))
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

#[cfg(test)]
mod tests {
    use std::{fs::File, path::Path, process::Command};

    use tracer_ebpf::wire::CgroupHierarchy;

    use super::{OwnCgroup, directory_of, hierarchy_in};

    const HYBRID: &str = "11:pids:/system.slice/ssh.service\n10:memory:/system.slice/ssh.service\n\
        3:cpu,cpuacct:/system.slice\n1:name=systemd:/system.slice/ssh.service\n0::/system.slice/ssh.service\n";

    /// The hierarchy of the v1 controllers is used where they are mounted; a controller that places no processes does not count.
    #[test]
    fn v1_controllers_have_precedence() {
        for (own, hierarchy) in [
            (HYBRID, CgroupHierarchy::Pids),
            ("10:cpuset,memory:/\n1:name=systemd:/\n", CgroupHierarchy::Memory),
            ("0::/\n", CgroupHierarchy::V2),
            ("4:net_cls:/\n1:name=systemd:/\n0::/init.scope\n", CgroupHierarchy::V2),
            ("2:freezer:/\n1:name=systemd:/\n", CgroupHierarchy::Unknown),
            ("", CgroupHierarchy::V2),
            // A name is no controller, and a path is not either.
            ("1:name=pids:/memory:pids\n0::/pids\n", CgroupHierarchy::V2),
        ] {
            assert_eq!(hierarchy_in(own), hierarchy, "{own}");
        }
    }

    const MOUNTS: &str = "26 22 0:23 / /sys/fs/cgroup ro,nosuid - tmpfs tmpfs ro,mode=755\n\
        27 26 0:24 / /sys/fs/cgroup/unified rw shared:5 - cgroup2 cgroup2 rw,nsdelegate\n\
        28 26 0:25 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n\
        29 26 0:26 /docker/x /sys/fs/cgroup/pids rw master:9 - cgroup cgroup rw,pids\n\
        30 26 0:27 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n";

    /// A cgroup is found in the mount of its hierarchy, which may show only a part of it.
    #[test]
    fn cgroup_is_found_below_its_mount() {
        let find = |hierarchy, path| directory_of(MOUNTS, hierarchy, path);
        let is = |hierarchy, path, directory| assert_eq!(find(hierarchy, path).as_deref(), Some(Path::new(directory)));
        is(CgroupHierarchy::V2, "/init.scope", "/sys/fs/cgroup/unified/init.scope");
        is(CgroupHierarchy::V2, "", "/sys/fs/cgroup/unified");
        is(CgroupHierarchy::Pids, "/docker/x/y", "/sys/fs/cgroup/pids/y");
        is(CgroupHierarchy::Pids, "/docker/x", "/sys/fs/cgroup/pids");
        assert_eq!(find(CgroupHierarchy::Pids, "/docker/xy"), None);
        assert_eq!(find(CgroupHierarchy::Memory, "/"), None);
    }

    /// A command that cannot join its cgroup runs nevertheless, and the reason is known.
    #[test]
    fn refused_move_is_told() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("cgroup.procs");
        let writable = File::create(&path).unwrap();
        let read_only = File::open(&path).unwrap();
        for (procs, code) in [(writable, None), (read_only, Some(libc::EBADF))] {
            let directory = place.path().join("unused");
            let own = OwnCgroup { directory, name: "own".to_owned(), path: "/own".to_owned(), procs };
            let mut command = Command::new("true");
            let joining = own.join_before_exec(&mut command).unwrap();
            assert!(command.status().unwrap().success());
            assert_eq!(joining.refused().and_then(|error| error.raw_os_error()), code);
        }
        assert_eq!(std::fs::read(path).unwrap(), b"0");
    }
}
