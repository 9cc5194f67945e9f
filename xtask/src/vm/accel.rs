//! Which accelerator works here. `/dev/kvm` can open and yet every guest hang, so the answer is found by booting.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::ValueEnum;

use super::packages::remove_dir;
use super::qemu::{self, Accelerator, Console, Machine};

/// What the person asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Choice {
    /// KVM where a guest boots with it, emulation elsewhere; found out once and remembered.
    #[default]
    Auto,
    /// KVM, unprobed.
    Kvm,
    /// Emulation.
    Tcg,
}

/// A kernel prints its first line well within this time, if it runs at all.
const FIRST_LINE_LIMIT: Duration = Duration::from_secs(8);

/// Settles the choice, probing with `vmlinuz` where nothing is remembered for this QEMU.
pub(crate) fn settle(root: &Path, choice: Choice, vmlinuz: &Path) -> Result<Accelerator> {
    match choice {
        Choice::Kvm => return Ok(Accelerator::Kvm),
        Choice::Tcg => return Ok(Accelerator::Tcg),
        Choice::Auto => {}
    }
    if !opens() {
        return Ok(Accelerator::Tcg);
    }
    let memory = root.join("accel");
    let version = qemu::version()?;
    if let Ok(text) = fs::read_to_string(&memory)
        && let Some(accelerator) = recall(&text, &version)
    {
        return Ok(accelerator);
    }
    eprintln!("vm: probing KVM (at most {} s, once)", FIRST_LINE_LIMIT.as_secs());
    let accelerator = if boots(root, vmlinuz)? { Accelerator::Kvm } else { Accelerator::Tcg };
    eprintln!("vm: guests run with {}", name(accelerator));
    fs::write(&memory, format!("{}\n{version}\n", name(accelerator)))
        .with_context(|| format!("cannot write {}", memory.display()))?;
    Ok(accelerator)
}

fn name(accelerator: Accelerator) -> &'static str {
    match accelerator {
        Accelerator::Kvm => "kvm",
        Accelerator::Tcg => "tcg",
    }
}

/// Reads a remembered answer; one for another QEMU does not count.
fn recall(text: &str, version: &str) -> Option<Accelerator> {
    let (accelerator, of_version) = text.split_once('\n')?;
    match accelerator {
        _ if of_version.trim_end() != version => None,
        "kvm" => Some(Accelerator::Kvm),
        "tcg" => Some(Accelerator::Tcg),
        _ => None,
    }
}

fn opens() -> bool {
    fs::OpenOptions::new().read(true).write(true).open("/dev/kvm").is_ok()
}

/// Whether a kernel gets as far as its first console line.
fn boots(root: &Path, vmlinuz: &Path) -> Result<bool> {
    let dir = root.join("runs/accel-probe");
    remove_dir(&dir)?;
    fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let machine = Machine {
        accelerator: Accelerator::Kvm,
        vmlinuz,
        initrd: None,
        dir: &dir,
        console: Console::Log,
        kernel_arguments: "earlyprintk=serial loglevel=7",
    };
    let console = dir.join("console.log");
    let mut seen = false;
    machine.start()?.wait_until(FIRST_LINE_LIMIT, || {
        seen = fs::read(&console).is_ok_and(|text| has_kernel_line(&text));
        seen
    })?;
    seen |= fs::read(&console).is_ok_and(|text| has_kernel_line(&text));
    remove_dir(&dir)?;
    Ok(seen)
}

/// The firmware's and the decompressor's own lines do not count: hanging guests print those too.
fn has_kernel_line(console: &[u8]) -> bool {
    const BANNER: &[u8] = b"Linux version ";
    console.windows(BANNER.len()).any(|window| window == BANNER)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A remembered answer holds for the QEMU that gave it only; nonsense is no answer.
    #[test]
    fn recalls_for_the_same_qemu() {
        assert_eq!(recall("tcg\nQEMU 7.2\n", "QEMU 7.2"), Some(Accelerator::Tcg));
        assert_eq!(recall("kvm\nQEMU 7.2\n", "QEMU 7.2"), Some(Accelerator::Kvm));
        assert_eq!(recall("kvm\nQEMU 7.2\n", "QEMU 8.0"), None);
        assert_eq!(recall("", "QEMU 7.2"), None);
    }

    /// A guest that only decompressed its kernel has not booted.
    #[test]
    fn decompressing_is_not_booting() {
        assert!(!has_kernel_line(b"early console in extract_kernel\nBooting the kernel.\n"));
        assert!(has_kernel_line(b"[    0.000000] Linux version 6.1.0-56-amd64\n"));
    }
}
