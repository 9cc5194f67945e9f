//! Systems that boot as real machines do: with systemd, and with an initramfs of initramfs-tools.
//!
//! Our pid 1 only installs our files where packages and administrators put them, and executes the system's init.

use std::convert::Infallible;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use rustix::mount::{MountFlags, mount};

use super::initramfs;

/// Where Debian has systemd.
const SYSTEMD: &str = "/lib/systemd/systemd";

/// A system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum System {
    /// systemd with the units of kmodtrace.
    Systemd,
    /// The same, started from an initramfs that initramfs-tools built with the hook of kmodtrace.
    Initramfs,
}

/// Path, mode and content of the files in the guest.
const FILES: &[(&str, u32, &str)] = &[
    ("/etc/systemd/system/kmodtrace.service", 0o644, include_str!("../../../packaging/systemd/kmodtrace.service")),
    (
        "/etc/systemd/system/kmodtrace-early.service",
        0o644,
        include_str!("../../../packaging/systemd/kmodtrace-early.service"),
    ),
    ("/etc/initramfs-tools/hooks/kmodtrace", 0o755, include_str!("../../../packaging/initramfs-tools/hooks/kmodtrace")),
    (
        "/etc/initramfs-tools/scripts/init-top/kmodtrace",
        0o755,
        include_str!("../../../packaging/initramfs-tools/scripts/init-top/kmodtrace"),
    ),
    ("/etc/systemd/system/kmodtrace-guest.service", 0o644, include_str!("system/kmodtrace-guest.service")),
    ("/etc/systemd/system/kmodtrace-guest.target", 0o644, include_str!("system/kmodtrace-guest.target")),
    ("/etc/systemd/system/kmodtrace-container.service", 0o644, include_str!("system/kmodtrace-container.service")),
    ("/etc/containers/guest.conf", 0o644, include_str!("system/containers.conf")),
    // Without it, systemd would start its interactive set-up.
    ("/etc/machine-id", 0o444, "6b6d6f6474726163652d67756573740a\n"),
    // The recorder keeps 256 MiB of disk space free.
    ("/etc/fstab", 0o644, "tmpfs /var/log tmpfs size=512m,mode=0755 0 0\n"),
];

/// The links that `systemctl enable` creates.
const LINKS: &[(&str, &str)] = &[
    ("/etc/systemd/system/sysinit.target.wants/kmodtrace.service", "../kmodtrace.service"),
    ("/etc/systemd/system/sysinit.target.wants/kmodtrace-early.service", "../kmodtrace-early.service"),
    ("/etc/systemd/system/kmodtrace-guest.target.wants/kmodtrace-container.service", "../kmodtrace-container.service"),
    ("/etc/systemd/system/default.target", "kmodtrace-guest.target"),
    // In Debian, this link is in the package systemd-sysv.
    ("/usr/sbin/init", "/lib/systemd/systemd"),
];

impl System {
    /// The argument on the kernel's command line that selects it.
    #[must_use]
    pub const fn argument(self) -> &'static str {
        match self {
            Self::Systemd => "kmodtrace_guest.system=systemd",
            Self::Initramfs => "kmodtrace_guest.system=initramfs",
        }
    }

    /// The system that the kernel's command line selects, if any.
    pub(super) fn wanted() -> Result<Option<Self>> {
        fs::create_dir_all("/proc").context("cannot create /proc")?;
        mount("proc", "/proc", "proc", MountFlags::empty(), None).context("cannot mount /proc")?;
        let line = fs::read_to_string("/proc/cmdline").context("cannot read the kernel's command line")?;
        rustix::mount::unmount("/proc", rustix::mount::UnmountFlags::empty()).context("cannot unmount /proc")?;
        let is_named = |system: &Self| line.split_whitespace().any(|word| word == system.argument());
        Ok([Self::Systemd, Self::Initramfs].into_iter().find(is_named))
    }

    /// Whether pid 1 is systemd.
    pub(super) fn is_up(self) -> bool {
        fs::read_to_string("/proc/1/comm").is_ok_and(|comm| comm.trim() == "systemd")
    }

    /// Installs the files of the system and becomes its pid 1.
    pub(super) fn hand_over(self) -> Result<Infallible> {
        for (path, mode, text) in FILES {
            make_parent(path)?;
            fs::write(path, text).with_context(|| format!("cannot write {path}"))?;
            fs::set_permissions(path, fs::Permissions::from_mode(*mode))
                .with_context(|| format!("cannot set the mode of {path}"))?;
        }
        for (link, target) in LINKS {
            make_parent(link)?;
            symlink(target, link).with_context(|| format!("cannot link {link}"))?;
        }
        std::os::unix::fs::chown("/home/alice", Some(1000), Some(1000))
            .context("cannot change the owner of /home/alice")?;
        match self {
            Self::Systemd => Err(Command::new(SYSTEMD).exec()).with_context(|| format!("cannot execute {SYSTEMD}")),
            Self::Initramfs => initramfs::enter(),
        }
    }
}

fn make_parent(path: &str) -> Result<()> {
    let parent = Path::new(path).parent().with_context(|| format!("{path} has no parent"))?;
    fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))
}
