//! More programs of the distribution, for the scenarios that need them: an archive that follows the base image.
//!
//! It is large, and an emulated guest unpacks slowly, so other scenarios boot without it.

use std::fs;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::image::remove_outdated;
use super::packages::{Packages, partial, remove_dir, sha256_text};
use super::tree::Tree;

/// udev, stress-ng, and every program that creates a Linux file system. Their dependencies are included. A suite may lack
/// some.
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

/// A system that boots as a real machine does: systemd, the tools that build its initramfs, and a container engine.
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
    "podman",
    "crun",
    "netavark",
    "iptables",
    "nftables",
];

/// Devices of a complete system, for which udev loads modules, as arguments of QEMU.
const DEVICES: &[&str] = &[
    "virtio-balloon-pci",
    "virtio-net-pci,romfile=",
    "virtio-rng-pci",
    "virtio-serial-pci",
    "i6300esb",
    "vmgenid",
    "ipmi-bmc-sim,id=bmc",
    "isa-ipmi-kcs,bmc=bmc",
];

/// Other tracers of module loads, for comparison.
const TRACERS: &[&str] = &["bpftrace", "trace-cmd", "linux-perf"];

/// A set of programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Set {
    /// Programs that scenarios call.
    Programs,
    /// Programs of a complete system.
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

    /// The devices of its guests, besides the usual ones.
    pub(super) const fn devices(self) -> &'static [&'static str] {
        match self {
            Self::Programs | Self::Tracers => &[],
            Self::System => DEVICES,
        }
    }

    fn omits(self, path: &str) -> bool {
        let kept = match self {
            Self::Programs => &[][..],
            Self::System => KEPT_FOR_SYSTEM,
            Self::Tracers => KEPT_FOR_TRACERS,
        };
        let is_kept = |kept: &&str| match kept.strip_suffix('*') {
            Some(beginning) => path.starts_with(beginning),
            None => path == *kept || kept.starts_with(&format!("{path}/")),
        };
        is_omitted(path) && !kept.iter().any(is_kept) || self == Self::System && is_bulk(path)
    }
}

/// Paths that a complete system needs, although other sets omit them.
const KEPT_FOR_SYSTEM: &[&str] = &[
    "usr/lib/systemd/system",
    "lib/systemd/system",
    "usr/share/initramfs-tools",
    "usr/share/dbus-1",
    "usr/share/containers",
];

/// The libraries of bpftrace's compiler, and of the languages that perf is linked with.
const KEPT_FOR_TRACERS: &[&str] = &[
    "usr/lib/x86_64-linux-gnu/libLLVM*",
    "usr/lib/x86_64-linux-gnu/libicudata*",
    "usr/lib/x86_64-linux-gnu/libz3*",
    "usr/lib/x86_64-linux-gnu/perl*",
];

/// Increment this when a change of this file changes the content of archives.
const RECIPE: u32 = 2;

/// Directories, and prefixes of library names, that none of the programs above needs at run time.
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

/// The archive of a suite, from the cache or newly packed.
pub(crate) fn prepare(root: &Path, suite: &str, set: Set) -> Result<PathBuf> {
    const ARCHIVE: &str = "extras.cpio";
    let programs = Packages::more(root, suite, set.name(), set.packages())?;
    let userland = Packages::userland(root, suite, false)?;
    let inputs = (RECIPE, NOT_PACKED, KEPT_FOR_SYSTEM, &programs.manifest, &userland.manifest);
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
    tree.host_tree(&unpacked, &|path| set.omits(path))?;
    let file = fs::File::create(staging.join(ARCHIVE)).context("cannot create the archive")?;
    tree.pack(BufWriter::new(file))?;
    remove_dir(&unpacked)?;
    remove_outdated(&images, &name)?;
    fs::rename(&staging, &dir).with_context(|| format!("cannot create {}", dir.display()))?;
    Ok(dir.join(ARCHIVE))
}

/// Whether a path is in `usr/share`, except for the parts that are kept.
fn is_bulk(path: &str) -> bool {
    let Some(below) = path.strip_prefix("usr/share/") else { return false };
    !KEPT_FOR_SYSTEM
        .iter()
        .filter_map(|kept| kept.strip_prefix("usr/share/"))
        .any(|kept| below == kept || below.strip_prefix(kept).is_some_and(|rest| rest.starts_with('/')))
}

/// Whether a path is omitted. Packages of older suites have some files outside `usr`.
fn is_omitted(path: &str) -> bool {
    let below_usr = NOT_PACKED.iter().filter_map(|omitted| omitted.strip_prefix("usr/"));
    NOT_PACKED.iter().copied().chain(below_usr).any(|omitted| {
        omitted.strip_suffix('*').map_or_else(|| path == omitted, |beginning| path.starts_with(beginning))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Omitted paths are omitted at their old location too, and programs are kept.
    #[test]
    fn unneeded_paths_are_omitted() {
        for path in ["usr/share", "lib/udev/hwdb.d", "lib/systemd/system", "usr/lib/x86_64-linux-gnu/libLLVM.so.19.1"] {
            assert!(is_omitted(path), "{path}");
        }
        for path in ["usr/share", "lib/systemd/system", "usr/share/initramfs-tools/hooks/udev"] {
            assert!(!Set::System.omits(path), "{path}");
        }
        assert!(!Set::Tracers.omits("usr/lib/x86_64-linux-gnu/libLLVM-14.so.1"));
        assert!(Set::Tracers.omits("usr/share") && Set::Tracers.omits("usr/include"));
        assert!(Set::System.omits("usr/share/doc") && Set::System.omits("var"));
        for path in ["usr/lib/udev/rules.d", "lib/systemd/systemd-udevd", "usr/bin/stress-ng", "sbin/mkfs.ext4"] {
            assert!(!is_omitted(path), "{path}");
        }
    }
}
