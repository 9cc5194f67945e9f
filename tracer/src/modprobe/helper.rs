//! Which modprobe is asked in place of the kernel's helper, and what that leaves in doubt.

use std::{
    io::ErrorKind,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use crate::{
    kernel::sysinfo::SystemInfo,
    program::{self, Distrust},
};

/// The modprobe that is asked if the kernel's helper cannot be.
pub(super) const USUAL: &str = "/sbin/modprobe";

/// The program to ask, and why its answers may not be those of the kernel's helper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub program: PathBuf,
    pub doubt: Option<String>,
}

/// The program of `kernel.modprobe` if root alone can change it, otherwise the usual one.
pub(super) fn asked(sysinfo: &SystemInfo) -> Asked {
    let usual = |doubt| Asked { program: PathBuf::from(USUAL), doubt };
    let Ok(configured) = sysinfo.modprobe() else { return usual(None) };
    // The kernel starts helpers in the root directory.
    let program = Path::new("/").join(configured);
    match untrusted(Path::new("/"), &program) {
        // A helper that is switched off or missing loads nothing at all: this is the configuration of the time when it is there.
        None if !program.is_file() => usual(None),
        Some(Distrust::Unknown { source, .. }) if matches!(source.kind(), ErrorKind::NotFound) => usual(None),
        None => Asked { program, doubt: None },
        Some(why) => usual(Some(format!(
            "kernel.modprobe is {}, which is not run here because {why}; this is the configuration of {USUAL}",
            program.display()
        ))),
    }
}

/// Why the kernel's helper now may be another program than the one that was asked before.
pub(super) fn doubt_of(sysinfo: &SystemInfo, before: &Path) -> Option<String> {
    let now = asked(sysinfo);
    let is_same = now.program == before || is_same_file(&now.program, before);
    let is_another = || {
        format!("kernel.modprobe is {} now; this is the configuration of {}", now.program.display(), before.display())
    };
    now.doubt.clone().or_else(|| (!is_same).then(is_another))
}

pub(super) fn is_same_file(one: &Path, other: &Path) -> bool {
    let id = |path: &Path| std::fs::metadata(path).map(|metadata| (metadata.dev(), metadata.ino())).ok();
    id(one).is_some_and(|found| id(other) == Some(found))
}

/// Why a program of `kernel.modprobe` must not be run; `None` if root alone can change it.
pub(crate) fn untrusted(root: &Path, program: &Path) -> Option<Distrust> {
    program::check_trust(root, program, program::ROOT_UID).err()
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::{Asked, USUAL, asked, doubt_of};
    use crate::kernel::sysinfo::SystemInfo;

    fn system_with(modprobe: &str) -> (tempfile::TempDir, SystemInfo) {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("proc/sys/kernel")).unwrap();
        fs::write(root.path().join("proc/sys/kernel/modprobe"), format!("{modprobe}\n")).unwrap();
        let sysinfo = SystemInfo::new(root.path());
        (root, sysinfo)
    }

    fn asked_with(modprobe: &str) -> Asked {
        asked(&system_with(modprobe).1)
    }

    /// Another helper than the one that was asked is a doubt; another path of the same file is not.
    #[test]
    fn helper_that_was_exchanged_is_a_doubt() {
        let doubt = |now: &str, before: &str| doubt_of(&system_with(now).1, Path::new(before));
        assert_eq!(doubt("/bin/true", "/bin/true"), None);
        assert_eq!(doubt("/usr/bin/true", "/bin/true"), None, "/bin is a link on a merged system");
        let expected = "kernel.modprobe is /bin/false now; this is the configuration of /bin/true";
        assert_eq!(doubt("/bin/false", "/bin/true").as_deref(), Some(expected));
    }

    /// A helper that others can change is never asked: the usual one is, and the doubt names the helper and the reason.
    #[test]
    fn helper_that_others_can_change_is_not_asked() {
        let directory = tempfile::tempdir_in("/tmp").unwrap();
        let helper = directory.path().join("modprobe");
        fs::copy("/bin/true", &helper).unwrap();
        let found = asked_with(helper.to_str().unwrap());
        assert_eq!(found.program, Path::new(USUAL));
        let doubt = found.doubt.unwrap();
        assert!(doubt.contains(helper.to_str().unwrap()) && doubt.contains("in /tmp, a directory"), "{doubt}");
    }

    /// A helper of root alone is asked; for one that is missing or empty, the usual one is.
    #[test]
    fn helper_of_root_is_asked() {
        assert_eq!(asked_with("/bin/true"), Asked { program: "/bin/true".into(), doubt: None });
        for missing in ["", "/nowhere/modprobe"] {
            assert_eq!(asked_with(missing), Asked { program: USUAL.into(), doubt: None });
        }
    }
}
