//! Whether a program can be changed by root only.

use std::{
    ffi::OsString,
    fs::Metadata,
    io,
    os::unix::fs::MetadataExt as _,
    path::{Component, Path, PathBuf},
};

/// Maximum number of symbolic links, as in the kernel (`MAXSYMLINKS`, include/linux/namei.h).
const LINKS_LIMIT: usize = 40;

/// Write permission of the group and of others. A sticky directory is no exception: files can be added to it, and its owner
/// can replace all of them.
const WRITABLE: u32 = 0o022;

/// Why a program is not run: users other than root may be able to change it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Distrust {
    /// The program, or a directory on its path, does not belong to root.
    #[error("{} is owned by uid {uid}, not by root", path.display())]
    Owner {
        /// The program or directory.
        path: PathBuf,
        /// Its owner.
        uid: u32,
    },
    /// The program can be written by other users.
    #[error("{} can be written by other users (mode {mode:o})", path.display())]
    Program {
        /// The program.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A directory on its path can be written by other users, who can replace what is in it.
    #[error("it is in {}, a directory that other users can write (mode {mode:o})", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Who can change it is unknown.
    #[error("cannot determine who can change it: {}", path.display())]
    Unknown {
        /// The file that cannot be examined.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
}

/// Checks that a program, every directory on its path and every directory of the symbolic links on it belong to `owner` and can
/// be written by no other user. `root` is the root directory of the path.
///
/// # Errors
/// The first reason why that is not so.
pub(crate) fn check_trust(root: &Path, program: &Path, owner: u32) -> Result<(), Distrust> {
    let unknown = |path: &Path, source| Distrust::Unknown { path: path.to_owned(), source };
    let mut at = root.to_owned();
    let metadata = std::fs::symlink_metadata(root).map_err(|error| unknown(root, error))?;
    check(root, &metadata, owner)?;
    let mut rest = reversed(program);
    let mut links = 0;
    while let Some(next) = rest.pop() {
        if next == ".." {
            if at != root {
                at.pop();
            }
            continue;
        }
        let path = at.join(next);
        let metadata = std::fs::symlink_metadata(&path).map_err(|error| unknown(&path, error))?;
        if !metadata.is_symlink() {
            check(&path, &metadata, owner)?;
            at = path;
            continue;
        }
        links += 1;
        if links > LINKS_LIMIT {
            return Err(unknown(&path, io::Error::other("too many symbolic links")));
        }
        let target = std::fs::read_link(&path).map_err(|error| unknown(&path, error))?;
        if target.is_absolute() {
            root.clone_into(&mut at);
        }
        rest.extend(reversed(&target));
    }
    Ok(())
}

/// The names of a path, the last one first.
fn reversed(path: &Path) -> Vec<OsString> {
    let names = path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    });
    let mut names: Vec<OsString> = names.collect();
    names.reverse();
    names
}

fn check(path: &Path, metadata: &Metadata, owner: u32) -> Result<(), Distrust> {
    let (path, mode) = (path.to_owned(), metadata.mode() & 0o7777);
    if metadata.uid() != owner {
        return Err(Distrust::Owner { path, uid: metadata.uid() });
    }
    match mode & WRITABLE {
        0 => Ok(()),
        _ if metadata.is_dir() => Err(Distrust::Directory { path, mode }),
        _ => Err(Distrust::Program { path, mode }),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, Permissions},
        os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
        path::Path,
    };

    use super::{Distrust, check_trust};

    /// A tree with a program at `usr/sbin/modprobe`, and links like those of a merged /usr.
    fn tree() -> (tempfile::TempDir, u32) {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("usr/sbin")).unwrap();
        fs::create_dir_all(root.path().join("usr/bin")).unwrap();
        fs::write(root.path().join("usr/bin/kmod"), "").unwrap();
        symlink("../bin/kmod", root.path().join("usr/sbin/modprobe")).unwrap();
        symlink("/usr/sbin", root.path().join("sbin")).unwrap();
        for path in ["usr", "usr/sbin", "usr/bin", "usr/bin/kmod"] {
            set(root.path(), path, 0o755);
        }
        let owner = fs::metadata(root.path()).unwrap().uid();
        (root, owner)
    }

    fn set(root: &Path, path: &str, mode: u32) {
        fs::set_permissions(root.join(path), Permissions::from_mode(mode)).unwrap();
    }

    fn program() -> &'static Path {
        Path::new("/sbin/modprobe")
    }

    /// A program that only its owner can change is trusted, through all links.
    #[test]
    fn program_of_the_owner_alone_is_trusted() {
        let (root, owner) = tree();
        check_trust(root.path(), program(), owner).unwrap();
        check_trust(root.path(), Path::new("sbin/../sbin/modprobe"), owner).unwrap();
    }

    /// Each file and directory on the path counts, also those behind and around links; a sticky directory does not help.
    #[test]
    fn program_that_others_can_change_is_not_trusted() {
        for (path, mode) in
            [("usr/bin/kmod", 0o775), ("usr/bin", 0o757), ("usr/sbin", 0o1777), ("usr", 0o775), ("", 0o1777)]
        {
            let (root, owner) = tree();
            set(root.path(), path, mode);
            let error = check_trust(root.path(), program(), owner).unwrap_err();
            let expected = root.path().join(path);
            match error {
                Distrust::Program { path: found, mode: bits } | Distrust::Directory { path: found, mode: bits } => {
                    assert_eq!((found.join(""), bits), (expected.join(""), mode));
                }
                other => panic!("{path}: {other}"),
            }
        }
        let (root, owner) = tree();
        let error = check_trust(root.path(), program(), owner + 1).unwrap_err();
        assert!(matches!(error, Distrust::Owner { uid, .. } if uid == owner), "{error}");
    }

    /// What cannot be examined is not trusted: missing files, and links in a circle.
    #[test]
    fn program_that_cannot_be_examined_is_not_trusted() {
        let (root, owner) = tree();
        symlink("loop", root.path().join("loop")).unwrap();
        for path in ["/nowhere/modprobe", "/loop", "/usr/bin/kmod/x"] {
            let error = check_trust(root.path(), Path::new(path), owner).unwrap_err();
            assert!(matches!(error, Distrust::Unknown { .. }), "{path}: {error}");
        }
    }

    /// The usual modprobe of this machine belongs to root alone; a copy in /tmp does not.
    #[test]
    fn system_programs_are_trusted_and_those_in_tmp_are_not() {
        check_trust(Path::new("/"), Path::new("/bin/true"), super::super::ROOT_UID).unwrap();
        let directory = tempfile::tempdir_in("/tmp").unwrap();
        let copy = directory.path().join("modprobe");
        fs::copy("/bin/true", &copy).unwrap();
        let error = check_trust(Path::new("/"), &copy, super::super::ROOT_UID).unwrap_err();
        assert!(matches!(&error, Distrust::Directory { path, .. } if path == Path::new("/tmp")), "{error}");
    }
}
