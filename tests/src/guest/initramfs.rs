//! An initramfs built by initramfs-tools with the hook of kmodtrace, and entered as the kernel would.
//!
//! The kernel unpacks an initramfs and executes its `/init` as pid 1. Here our pid 1 does both, so that one boot is enough.
//! Everything after that is done by initramfs-tools: its scripts, its udev, and the switch to the real root.

use std::convert::Infallible;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind, mount_move, unmount};

use super::ENVIRONMENT;

/// Where the initramfs is unpacked.
const ROOT: &str = "/initial";

/// The configuration of initramfs-tools: few modules, and the location of the real root.
const FILES: &[(&str, u32, &str)] = &[
    ("/etc/initramfs-tools/conf.d/guest", 0o644, "MODULES=list\nCOMPRESS=gzip\nBOOT=guest\n"),
    ("/etc/initramfs-tools/hooks/guest", 0o755, include_str!("initramfs/hook.sh")),
    ("/etc/initramfs-tools/scripts/guest", 0o755, include_str!("initramfs/boot.sh")),
];

/// File systems that programs need while the initramfs is built.
const MOUNTS: [(&str, &str); 3] = [("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev")];

/// Builds the initramfs and becomes its pid 1.
pub(super) fn enter() -> Result<Infallible> {
    for (path, mode, text) in FILES {
        fs::write(path, text).with_context(|| format!("cannot write {path}"))?;
        fs::set_permissions(path, fs::Permissions::from_mode(*mode))
            .with_context(|| format!("cannot set the mode of {path}"))?;
    }
    for (kind, place) in MOUNTS {
        match mount(kind, place, kind, MountFlags::empty(), None) {
            Ok(()) | Err(rustix::io::Errno::BUSY) => {}
            Err(error) => return Err(error).with_context(|| format!("cannot mount {kind}")),
        }
    }
    fs::create_dir_all("/var/tmp").context("cannot create /var/tmp")?;
    fs::create_dir_all(ROOT).with_context(|| format!("cannot create {ROOT}"))?;
    mount("tmpfs", ROOT, "tmpfs", MountFlags::empty(), None).with_context(|| format!("cannot mount {ROOT}"))?;
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    // Newer versions build several archives: an uncompressed one with files that are compressed already, and the main one.
    let make = format!(
        "mkinitramfs -o /tmp/initrd.img {release} && unmkinitramfs /tmp/initrd.img /tmp/parts && \
         if test -d /tmp/parts/main; then cp -a /tmp/parts/*/. {ROOT}; else cp -a /tmp/parts/. {ROOT}; fi && \
         test -x {ROOT}/init && test -x {ROOT}/usr/bin/kmodtrace && rm -r /tmp/initrd.img /tmp/parts"
    );
    let made = Command::new("/bin/sh").args(["-ec", &make]).env_clear().envs(ENVIRONMENT.iter().copied()).status();
    let made = made.context("cannot run mkinitramfs")?;
    if !made.success() {
        bail!("cannot build the initramfs: {made}");
    }
    for (_, place) in MOUNTS.iter().rev() {
        unmount(*place, UnmountFlags::DETACH).with_context(|| format!("cannot unmount {place}"))?;
    }
    let real = format!("{ROOT}/system");
    fs::create_dir_all(&real).with_context(|| format!("cannot create {real}"))?;
    mount_bind("/", &real).context("cannot keep the real root")?;
    std::env::set_current_dir(ROOT).context("cannot enter the initramfs")?;
    mount_move(".", "/").context("cannot move the initramfs")?;
    std::os::unix::fs::chroot(".").context("cannot enter the initramfs")?;
    std::env::set_current_dir("/").context("cannot enter the initramfs")?;
    Err(Command::new("/init").env_clear().env("TERM", "linux").env("HOME", "/").exec()).context("cannot execute /init")
}
