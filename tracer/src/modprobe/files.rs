//! Files of modprobe's configuration that this process cannot read: modprobe skips them silently too, if it is run by the same
//! user, while the kernel's helper is root and reads them.

use std::{
    collections::HashSet,
    ffi::OsString,
    fs::{self, OpenOptions},
    io,
    os::unix::{ffi::OsStrExt as _, fs::OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use rustix::fs::OFlags;

/// Files and directories of the configuration that exist and cannot be read, sorted. A file with the same name as one in an
/// earlier directory is masked, so its content does not matter.
pub(super) fn unreadable(directories: &[PathBuf]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut seen: HashSet<OsString> = HashSet::new();
    for directory in directories {
        let entries = match fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(error) => {
                found.extend(is_denied(&error).then(|| directory.clone()));
                continue;
            }
        };
        for entry in entries.flatten() {
            let (name, path) = (entry.file_name(), entry.path());
            if is_config(&path) && seen.insert(name) && is_unreadable(&path) {
                found.push(path);
            }
        }
    }
    found.sort_unstable();
    found
}

/// Whether kmod reads a file with this name: `conf_files_filter_out()`, libkmod/libkmod-config.c.
pub(super) fn is_config(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().as_bytes();
    !name.starts_with(b".") && (name.ends_with(b".conf") || name.ends_with(b".alias"))
}

fn is_denied(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied
}

fn is_unreadable(path: &Path) -> bool {
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    // Without O_NONBLOCK, opening a FIFO would wait.
    OpenOptions::new().read(true).custom_flags(flags).open(path).is_err_and(|error| is_denied(&error))
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

    use super::{is_config, unreadable};

    /// Only names that kmod reads count.
    #[test]
    fn files_that_kmod_reads_are_recognized() {
        for (name, expected) in [
            ("a.conf", true),
            ("a.alias", true),
            (".a.conf", false),
            ("a.conf~", false),
            ("a.confx", false),
            ("blacklist", false),
        ] {
            assert_eq!(is_config(Path::new("/etc/modprobe.d").join(name).as_path()), expected, "{name}");
        }
    }

    /// Missing directories, readable files and dangling links are not reported; a masked file is not either.
    #[test]
    fn readable_configuration_has_no_findings() {
        let root = tempfile::tempdir().unwrap();
        let (etc, lib) = (root.path().join("etc"), root.path().join("lib"));
        fs::create_dir(&etc).unwrap();
        fs::write(etc.join("a.conf"), "").unwrap();
        fs::create_dir(etc.join("d.conf")).unwrap();
        std::os::unix::fs::symlink("/nonexistent", etc.join("dangling.conf")).unwrap();
        assert!(unreadable(&[etc, lib, root.path().join("nowhere")]).is_empty());
    }

    /// Without the rights to read them, files and directories are reported. Root can read everything.
    #[test]
    fn unreadable_configuration_is_reported_by_path() {
        let root = tempfile::tempdir().unwrap();
        let (etc, lib) = (root.path().join("etc"), root.path().join("lib"));
        for directory in [&etc, &lib] {
            fs::create_dir(directory).unwrap();
        }
        for file in [etc.join("secret.conf"), lib.join("masked.conf"), etc.join("masked.conf")] {
            fs::write(&file, "").unwrap();
            let mode = if file.ends_with("etc/masked.conf") { 0o644 } else { 0o000 };
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        }
        let closed = root.path().join("closed");
        fs::create_dir(&closed).unwrap();
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
        let found = unreadable(&[etc.clone(), lib, closed.clone()]);
        let expected =
            if rustix::process::geteuid().is_root() { vec![] } else { vec![closed, etc.join("secret.conf")] };
        assert_eq!(found, expected);
    }
}
