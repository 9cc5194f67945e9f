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

/// A system that boots as a machine does: an init that is no agent of ours, and what builds its first root.
const SYSTEM: &[&str] = &[
    "systemd",
    "udev",
    "initramfs-tools",
    "util-linux",
    "coreutils",
    "findutils",
    "cpio",
    "gzip",
    "dpkg",
    "libc-bin",
    "mount",
];

/// What people trace module loads with today; benches have them do what we do.
const TRACERS: &[&str] = &["bpftrace", "trace-cmd", "linux-perf"];

/// Which programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Set {
    /// Those that scenarios call.
    Programs,
    /// Those that a whole system boots with.
    System,
    /// Other tracers.
    Tracers,
}

impl Set {
    const fn packages(self) -> &'static [&'static str] {
        match self {
            Self::Programs => PROGRAMS,
            Self::System => SYSTEM,
            Self::Tracers => TRACERS,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Programs => "extras",
            Self::System => "system",
            Self::Tracers => "tracers",
        }
    }

    fn leaves_out(self, path: &str) -> bool {
        let kept = match self {
            Self::Programs => &[][..],
            Self::System => KEPT_OF_A_SYSTEM,
            Self::Tracers => KEPT_OF_TRACERS,
        };
        let is_kept = |kept: &&str| match kept.strip_suffix('*') {
            Some(beginning) => path.starts_with(beginning),
            None => path == *kept || kept.starts_with(&format!("{path}/")),
        };
        is_left_out(path) && !kept.iter().any(is_kept) || self == Self::System && is_bulk(path)
    }
}

/// What a system needs of what is left out elsewhere.
const KEPT_OF_A_SYSTEM: &[&str] =
    &["usr/lib/systemd/system", "lib/systemd/system", "usr/share/initramfs-tools", "usr/share/dbus-1"];

/// The compiler that bpftrace brings along, and the languages that perf is linked with.
const KEPT_OF_TRACERS: &[&str] = &[
    "usr/lib/x86_64-linux-gnu/libLLVM*",
    "usr/lib/x86_64-linux-gnu/libicudata*",
    "usr/lib/x86_64-linux-gnu/libz3*",
    "usr/lib/x86_64-linux-gnu/perl*",
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
pub(crate) fn prepare(root: &Path, suite: &str, set: Set) -> Result<PathBuf> {
    const ARCHIVE: &str = "extras.cpio";
    let programs = Packages::more(root, suite, set.name(), set.packages())?;
    let userland = Packages::userland(root, suite, false)?;
    let inputs = (RECIPE, NOT_PACKED, KEPT_OF_A_SYSTEM, &programs.manifest, &userland.manifest);
    let mut digest = sha256_text(&serde_json::to_string(&inputs).context("cannot name the archive")?)?;
    digest.truncate(16);
    let (images, name) = (root.join("images"), format!("{}-{suite}", set.name()));
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
    tree.host_tree(&unpacked, &|path| set.leaves_out(path))?;
    let file = fs::File::create(staging.join(ARCHIVE)).context("cannot create the archive")?;
    tree.pack(BufWriter::new(file))?;
    remove_dir(&unpacked)?;
    remove_outdated(&images, &name)?;
    fs::rename(&staging, &dir).with_context(|| format!("cannot create {}", dir.display()))?;
    Ok(dir.join(ARCHIVE))
}

/// Parts of `usr/share` beside those that are kept.
fn is_bulk(path: &str) -> bool {
    let Some(below) = path.strip_prefix("usr/share/") else { return false };
    !KEPT_OF_A_SYSTEM
        .iter()
        .filter_map(|kept| kept.strip_prefix("usr/share/"))
        .any(|kept| below == kept || below.strip_prefix(kept).is_some_and(|rest| rest.starts_with('/')))
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
        for path in ["usr/share", "lib/systemd/system", "usr/share/initramfs-tools/hooks/udev"] {
            assert!(!Set::System.leaves_out(path), "{path}");
        }
        assert!(!Set::Tracers.leaves_out("usr/lib/x86_64-linux-gnu/libLLVM-14.so.1"));
        assert!(Set::Tracers.leaves_out("usr/share") && Set::Tracers.leaves_out("usr/include"));
        assert!(Set::System.leaves_out("usr/share/doc") && Set::System.leaves_out("var"));
        for path in ["usr/lib/udev/rules.d", "lib/systemd/systemd-udevd", "usr/bin/stress-ng", "sbin/mkfs.ext4"] {
            assert!(!is_left_out(path), "{path}");
        }
    }
}
