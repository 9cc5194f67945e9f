//! The files that the kernel's helper sees.
//!
//! The kernel starts modprobe as a child of a kernel thread, in the initial mount namespace and with the root directory of init
//! (kernel/umh.c; kernel threads and init share their `fs_struct`). In a container, in another mount namespace or after chroot(2),
//! this process sees another configuration and other modules under the same names.

use std::{
    fs::{self, File, Metadata},
    io,
    os::{fd::AsFd, unix::fs::MetadataExt as _},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

/// Why the files of the helper cannot be read.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ViewError {
    /// The initial mount namespace cannot be found.
    #[error("{0}")]
    Hidden(Hidden),
    /// The initial mount namespace cannot be entered.
    #[error(
        "the kernel runs modprobe with other files than this process sees, and their mount namespace cannot be entered; run \
         kmodtrace with CAP_SYS_ADMIN and CAP_SYS_CHROOT, or on the host"
    )]
    Enter(#[source] Arc<io::Error>),
}

/// Why the initial mount namespace cannot be found. The text is for the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Hidden {
    /// A pid namespace has no kernel threads.
    #[error(
        "the kernel runs modprobe with other files than this process sees, and they cannot be found in this pid namespace; \
         run the container with --pid=host, or kmodtrace on the host"
    )]
    ByPidNamespace,
    /// A process in a container, or without the same files, may not look at kernel threads.
    #[error(
        "this process seems to run in a container and may not see which files the kernel runs modprobe with; run kmodtrace with \
         CAP_SYS_PTRACE, or on the host"
    )]
    ByPrivileges,
}

/// Which files the kernel's helper sees.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum HelperView {
    /// The same as this process.
    #[default]
    Own,
    /// Those of another mount namespace.
    Other(Arc<File>),
    /// Unknown ones.
    Hidden(Hidden),
}

impl HelperView {
    /// Finds out by the files at some absolute paths, and those in `directories`. Without the privilege to look, they are taken to be
    /// the same outside of containers: an unprivileged process there is the usual case.
    #[must_use]
    pub fn find(root: &Path, paths: &[PathBuf], directories: &[PathBuf]) -> Self {
        let kthreadd = root.join("proc/2");
        if !is_kthread(&kthreadd) {
            // A pid namespace of its own hides kernel threads. Without /proc, nothing shows that there is one.
            let has_proc = root.join("proc/self").exists();
            return if has_proc { Self::Hidden(Hidden::ByPidNamespace) } else { Self::Own };
        }
        let namespace = kthreadd.join("ns/mnt");
        let (Ok(own), Ok(of_helper)) = (fs::read_link(root.join("proc/self/ns/mnt")), fs::read_link(&namespace)) else {
            return if is_in_container(root) { Self::Hidden(Hidden::ByPrivileges) } else { Self::Own };
        };
        let helper_root = kthreadd.join("root");
        if own == of_helper && is_same(root, &helper_root) {
            return Self::Own;
        }
        // A service with a mount namespace of its own usually sees the same files there.
        let both = |path: &Path| [root, helper_root.as_path()].map(|root| below(root, path));
        let same = |path: &PathBuf| {
            let [own, of_helper] = both(path);
            is_same(&own, &of_helper)
        };
        let same_entries = |path: &PathBuf| {
            let [own, of_helper] = both(path);
            let entries = fs::read_dir(&own).into_iter().flatten().flatten();
            entries.map(|entry| entry.file_name()).all(|name| is_same(&own.join(&name), &of_helper.join(&name)))
        };
        if paths.iter().chain(directories).all(same) && directories.iter().all(same_entries) {
            return Self::Own;
        }
        File::open(namespace).map_or(Self::Hidden(Hidden::ByPrivileges), |namespace| Self::Other(Arc::new(namespace)))
    }

    /// Whether the files are those of this process.
    #[must_use]
    pub const fn is_own(&self) -> bool {
        matches!(self, Self::Own)
    }

    /// Does something with the files of the helper at their usual paths: in a thread of its own, if they are in another mount
    /// namespace. Programs that it starts see the same files.
    ///
    /// # Errors
    /// If they cannot be reached.
    pub fn with<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, ViewError> {
        match self {
            Self::Own => Ok(work()),
            Self::Hidden(why) => Err(ViewError::Hidden(*why)),
            Self::Other(namespace) => thread::scope(|scope| {
                let worker = thread::Builder::new().spawn_scoped(scope, || enter(namespace).map(|()| work()));
                let result =
                    worker.and_then(|worker| worker.join().map_err(|_| io::Error::other("a thread panicked"))?);
                result.map_err(|error| ViewError::Enter(Arc::new(error)))
            }),
        }
    }
}

/// Moves this thread to a mount namespace, and to its root directory.
fn enter(namespace: &File) -> io::Result<()> {
    // SAFETY: only this thread's own copy of root and working directory changes; no descriptor is affected.
    unsafe { unshare_unsafe(UnshareFlags::FS) }?;
    Ok(move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Mount))?)
}

/// Whether this process is in a namespace that container engines create. The initial one of each kind has a fixed number
/// (include/linux/proc_ns.h, unchanged 5.10 to 7.3), except mount namespaces, which services have as well.
fn is_in_container(root: &Path) -> bool {
    let initial = [("uts", 0xefff_fffe_u32), ("ipc", 0xefff_ffff), ("user", 0xefff_fffd), ("cgroup", 0xefff_fffb)];
    initial.into_iter().any(|(kind, number)| {
        // A kernel without this kind of namespace has no such link.
        let own = fs::read_link(root.join("proc/self/ns").join(kind));
        own.is_ok_and(|own| own.as_os_str() != format!("{kind}:[{number}]").as_str())
    })
}

/// Whether a process is a kernel thread. All of them are in the initial pid namespace.
fn is_kthread(process: &Path) -> bool {
    /// `PF_KTHREAD`, include/linux/sched.h (unchanged 5.10 to 7.3).
    const PF_KTHREAD: u64 = 0x0020_0000;
    let stat = fs::read_to_string(process.join("stat")).unwrap_or_default();
    // The name may contain parentheses; the flags are the seventh field behind it (proc_pid_stat(5)).
    let flags = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_ascii_whitespace().nth(6)?.parse::<u64>().ok());
    flags.is_some_and(|flags| flags & PF_KTHREAD != 0)
}

fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

/// Whether two paths lead to one file, or to none.
fn is_same(one: &Path, other: &Path) -> bool {
    let file = |metadata: Metadata| (metadata.dev(), metadata.ino());
    match (fs::metadata(one).map(file), fs::metadata(other).map(file)) {
        (Ok(one), Ok(other)) => one == other,
        (Err(one), Err(other)) => one.kind() == other.kind(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::symlink,
        path::{Path, PathBuf},
    };

    use super::{HelperView, Hidden, ViewError};

    const KTHREADD: &str = "2 (kthreadd) S 0 0 0 0 -1 2129984 0 0 0 0 0 0 0 0 20 0 1 0 1 0 0";

    /// A system whose process 2 has this `stat`, namespace and root directory.
    fn system(root: &Path, stat: &str, namespace: &str, helper_root: &Path) {
        fs::create_dir_all(root.join("proc/self/ns")).unwrap();
        fs::create_dir_all(root.join("proc/2/ns")).unwrap();
        symlink("mnt:[4026531841]", root.join("proc/self/ns/mnt")).unwrap();
        symlink(namespace, root.join("proc/2/ns/mnt")).unwrap();
        fs::write(root.join("proc/2/stat"), stat).unwrap();
        symlink(helper_root, root.join("proc/2/root")).unwrap();
        fs::create_dir_all(root.join("etc/modprobe.d")).unwrap();
        fs::write(root.join("etc/modprobe.d/a.conf"), "").unwrap();
    }

    fn find(root: &Path) -> HelperView {
        HelperView::find(root, &[PathBuf::from("/sbin/modprobe")], &[PathBuf::from("/etc/modprobe.d")])
    }

    /// The view is the own one in the same namespace and root directory, and in another namespace with the same files.
    #[test]
    fn same_files_are_the_own_view() {
        for namespace in ["mnt:[4026531841]", "mnt:[4026532001]"] {
            let root = tempfile::tempdir().unwrap();
            system(root.path(), KTHREADD, namespace, root.path());
            assert!(find(root.path()).is_own(), "{namespace}");
        }
    }

    /// Another root directory with other files, or another file in a directory, is not the own view, in the same namespace too.
    #[test]
    fn other_files_are_not_the_own_view() {
        let (root, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        system(root.path(), KTHREADD, "mnt:[4026531841]", other.path());
        // The link of the namespace leads nowhere here, so it cannot be opened.
        assert!(matches!(find(root.path()), HelperView::Hidden(Hidden::ByPrivileges)));
        assert!(matches!(find(root.path()).with(|| ()), Err(ViewError::Hidden(Hidden::ByPrivileges))));
        fs::create_dir_all(other.path().join("etc")).unwrap();
        symlink(root.path().join("etc/modprobe.d"), other.path().join("etc/modprobe.d")).unwrap();
        assert!(find(root.path()).is_own());
        fs::write(root.path().join("sbin"), "").unwrap();
        assert!(!find(root.path()).is_own(), "one has another kind of error");
    }

    /// A process with the id 2 that is no kernel thread belongs to a pid namespace, whatever its name is.
    #[test]
    fn view_from_a_pid_namespace_is_hidden() {
        let root = tempfile::tempdir().unwrap();
        system(root.path(), "2 (kthreadd) ) S 1 2 2 0 -1 4194560 0 0", "mnt:[4026531841]", root.path());
        assert!(matches!(find(root.path()), HelperView::Hidden(Hidden::ByPidNamespace)));
        let without_proc = tempfile::tempdir().unwrap();
        assert!(find(without_proc.path()).is_own());
    }

    /// A process that may not look at kernel threads is taken to see the same files, unless it is in a container.
    #[test]
    fn view_that_may_not_be_seen_is_the_own_one_outside_of_containers() {
        let root = tempfile::tempdir().unwrap();
        system(root.path(), KTHREADD, "mnt:[4026531841]", root.path());
        fs::remove_file(root.path().join("proc/2/ns/mnt")).unwrap();
        assert!(find(root.path()).is_own());
        for (kind, number, is_own) in [("uts", 4_026_531_838_u32, true), ("cgroup", 4_026_532_001, false)] {
            symlink(format!("{kind}:[{number}]"), root.path().join("proc/self/ns").join(kind)).unwrap();
            let view = find(root.path());
            assert!(view.is_own() == is_own && is_own != matches!(view, HelperView::Hidden(Hidden::ByPrivileges)));
        }
    }
}
