//! Pid 1: sets up the system, starts the agent, reaps orphaned processes, and powers off.

use std::convert::Infallible;
use std::ffi::CStr;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};
use rustix::mount::{MountFlags, mount};
use rustix::process::{Pid, WaitOptions, wait};
use rustix::system::{RebootCommand, reboot};

use super::system::System;
use crate::protocol::GUEST_PATH;

/// Type, mount point and options of the file systems, in mount order.
const MOUNTS: &[(&str, &str, Option<&CStr>)] = &[
    ("proc", "/proc", None),
    ("sysfs", "/sys", None),
    ("devtmpfs", "/dev", None),
    ("tmpfs", "/run", Some(c"mode=0755")),
    ("tmpfs", "/tmp", Some(c"mode=1777")),
    ("devpts", "/dev/pts", None),
    ("tmpfs", "/dev/shm", Some(c"mode=1777")),
    ("debugfs", "/sys/kernel/debug", None),
    ("tracefs", "/sys/kernel/tracing", None),
    ("securityfs", "/sys/kernel/security", None),
    ("bpf", "/sys/fs/bpf", None),
    ("cgroup2", "/sys/fs/cgroup", None),
];

/// Runs the guest from start to power-off.
pub(super) fn run() -> Result<ExitCode> {
    if !rustix::process::getpid().is_init() {
        bail!("cannot run as init: this process is not pid 1; give an argument");
    }
    // The machine must power off even after an error, because the host waits for it.
    if let Err(error) = live() {
        eprintln!("kmodtrace-guest: {error:#}");
    }
    rustix::fs::sync();
    match power_off() {
        Err(error) => Err(error),
    }
}

fn live() -> Result<()> {
    // The kernel lets all users write to the root of an initramfs, unlike real systems: kmodtrace would run no program.
    fs::set_permissions("/", fs::Permissions::from_mode(0o755)).context("cannot set the mode of /")?;
    if let Some(system) = System::wanted()? {
        // systemd becomes pid 1. It starts the agent and powers off.
        return match system.hand_over() {
            Err(error) => Err(error),
        };
    }
    prepare()?;
    let agent = Command::new(GUEST_PATH).arg("agent").spawn().context("cannot start the agent")?;
    let agent = Pid::from_child(&agent);
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid == agent => {
                return match status.exit_status() {
                    Some(0) => Ok(()),
                    _ => bail!("the agent ended badly: {status:?}"),
                };
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).context("cannot wait for the agent"),
        }
    }
}

fn power_off() -> Result<Infallible> {
    reboot(RebootCommand::PowerOff).context("cannot power off")?;
    bail!("the kernel came back from powering off")
}

fn prepare() -> Result<()> {
    for (kind, place, options) in MOUNTS {
        fs::create_dir_all(place).with_context(|| format!("cannot create {place}"))?;
        match mount(*kind, *place, *kind, MountFlags::empty(), *options) {
            // debugfs mounts tracefs itself, and the kernel may already have mounted /dev.
            Ok(()) | Err(rustix::io::Errno::BUSY) => {}
            Err(error) => return Err(error).with_context(|| format!("cannot mount {kind} on {place}")),
        }
    }
    for (link, target) in [
        ("/dev/fd", "/proc/self/fd"),
        ("/dev/stdin", "/proc/self/fd/0"),
        ("/dev/stdout", "/proc/self/fd/1"),
        ("/dev/stderr", "/proc/self/fd/2"),
    ] {
        if !Path::new(link).exists() {
            std::os::unix::fs::symlink(target, link).with_context(|| format!("cannot link {link}"))?;
        }
    }
    let home = Path::new("/home/alice");
    std::os::unix::fs::chown(home, Some(1000), Some(1000)).context("cannot change the owner of /home/alice")?;
    rustix::system::sethostname(b"kmodtrace-guest").context("cannot set the host name")?;
    let loopback = Command::new("/sbin/ip").args(["link", "set", "lo", "up"]).status().context("cannot run ip")?;
    if !loopback.success() {
        bail!("cannot bring the loopback device up ({loopback})");
    }
    Ok(())
}
