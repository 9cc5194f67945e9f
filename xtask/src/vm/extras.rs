//! More of the distribution's programs, for the scenarios that need them: an archive behind the base image.
//!
//! It is large, and an emulated guest unpacks slowly: other scenarios do without.

use std::fs;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::image::remove_outdated;
use super::packages::{Packages, partial, remove_dir, sha256_text};
use super::tree::Tree;

/// udev, a program that makes trouble of every kind, and every program that makes a file system for Linux. What they
/// need comes along; a suite may lack some.
const PROGRAMS: &[&str] = &[
    "udev",
    "stress-ng",
    "util-linux",
    "mount",
    "e2fsprogs",
    "xfsprogs",
    "btrfs-progs",
    "dosfstools",
    "exfatprogs",
    "f2fs-tools",
    "ntfs-3g",
    "nilfs-tools",
    "reiserfsprogs",
    "jfsutils",
    "udftools",
    "squashfs-tools",
    "erofs-utils",
    "genisoimage",
];

/// Raise when this file changes what an archive holds.
const RECIPE: u32 = 1;

/// Directories, and the beginnings of libraries' names, that none of the programs above needs to run.
const NOT_PACKED: &[&str] = &[
    "etc/init.d",
    "usr/include",
    "usr/lib/systemd/system",
    "usr/lib/udev/hwdb.d",
    "usr/lib/x86_64-linux-gnu/dri",
    "usr/lib/x86_64-linux-gnu/gconv",
    "usr/lib/x86_64-linux-gnu/libLLVM*",
    "usr/lib/x86_64-linux-gnu/libgallium*",
    "usr/lib/x86_64-linux-gnu/libicudata*",
    "usr/lib/x86_64-linux-gnu/libz3*",
    "usr/lib/x86_64-linux-gnu/perl",
    "usr/lib/x86_64-linux-gnu/perl-base",
    "usr/share",
    "var",
];

/// The archive of a suite: from the cache, or packed now.
pub(crate) fn prepare(root: &Path, suite: &str) -> Result<PathBuf> {
    const ARCHIVE: &str = "extras.cpio";
    let programs = Packages::more(root, suite, PROGRAMS)?;
    let userland = Packages::userland(root, suite, false)?;
    let inputs = (RECIPE, NOT_PACKED, &programs.manifest, &userland.manifest);
    let mut digest = sha256_text(&serde_json::to_string(&inputs).context("cannot name the archive")?)?;
    digest.truncate(16);
    let (images, name) = (root.join("images"), format!("extras-{suite}"));
    let dir = images.join(format!("{name}-{digest}"));
    if dir.join(ARCHIVE).exists() {
        return Ok(dir.join(ARCHIVE));
    }
    let staging = partial(&dir);
    remove_dir(&staging)?;
    let unpacked = staging.join("unpacked");
    fs::create_dir_all(&unpacked).with_context(|| format!("cannot create {}", unpacked.display()))?;
    eprintln!("vm: packing more programs of {suite}");
    programs.unpack_all_but(&userland, &unpacked)?;
    let mut tree = Tree::merged()?;
    tree.host_tree(&unpacked, &|path| is_left_out(path))?;
    let file = fs::File::create(staging.join(ARCHIVE)).context("cannot create the archive")?;
    tree.pack(BufWriter::new(file))?;
    remove_dir(&unpacked)?;
    remove_outdated(&images, &name)?;
    fs::rename(&staging, &dir).with_context(|| format!("cannot create {}", dir.display()))?;
    Ok(dir.join(ARCHIVE))
}

/// Packages of older suites have some files beside `usr`.
fn is_left_out(path: &str) -> bool {
    let below_usr = NOT_PACKED.iter().filter_map(|left_out| left_out.strip_prefix("usr/"));
    NOT_PACKED.iter().copied().chain(below_usr).any(|left_out| {
        left_out.strip_suffix('*').map_or_else(|| path == left_out, |beginning| path.starts_with(beginning))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is left out is left out at its old place as well, and nothing that is run is.
    #[test]
    fn leaves_out_what_is_not_run() {
        for path in ["usr/share", "lib/udev/hwdb.d", "lib/systemd/system", "usr/lib/x86_64-linux-gnu/libLLVM.so.19.1"] {
            assert!(is_left_out(path), "{path}");
        }
        for path in ["usr/lib/udev/rules.d", "lib/systemd/systemd-udevd", "usr/bin/stress-ng", "sbin/mkfs.ext4"] {
            assert!(!is_left_out(path), "{path}");
        }
    }
}
