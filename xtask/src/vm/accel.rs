//! Finds the accelerator that works here. Guests may hang although `/dev/kvm` can be opened, so KVM is tested by booting.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::ValueEnum;

use super::packages::remove_dir;
use super::qemu::{self, Accelerator, Console, Machine, Start};

/// The accelerator option.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Choice {
    /// KVM if a guest boots with it, otherwise emulation; tested once and cached.
    #[default]
    Auto,
    /// KVM, without a test.
    Kvm,
    /// Emulation.
    Tcg,
}

/// Time limit for the first line of the kernel.
const FIRST_LINE_LIMIT: Duration = Duration::from_secs(8);

/// Resolves the option, and tests KVM with `vmlinuz` if no result is cached for this QEMU.
pub(crate) fn resolve(root: &Path, choice: Choice, vmlinuz: &Path) -> Result<Accelerator> {
    match choice {
        Choice::Kvm => return Ok(Accelerator::Kvm),
        Choice::Tcg => return Ok(Accelerator::Tcg),
        Choice::Auto => {}
    }
    if !opens() {
        return Ok(Accelerator::Tcg);
    }
    let cache = root.join("accel");
    let version = qemu::version()?;
    if let Ok(text) = fs::read_to_string(&cache)
        && let Some(accelerator) = parse_cached(&text, &version)
    {
        return Ok(accelerator);
    }
    eprintln!("vm: testing KVM (at most {} s, once)", FIRST_LINE_LIMIT.as_secs());
    let accelerator = if boots(root, vmlinuz)? { Accelerator::Kvm } else { Accelerator::Tcg };
    eprintln!("vm: guests run with {}", name(accelerator));
    fs::write(&cache, format!("{}\n{version}\n", name(accelerator)))
        .with_context(|| format!("cannot write {}", cache.display()))?;
    Ok(accelerator)
}

fn name(accelerator: Accelerator) -> &'static str {
    match accelerator {
        Accelerator::Kvm => "kvm",
        Accelerator::Tcg => "tcg",
    }
}

/// Parses a cached result. A result of another QEMU version is ignored.
fn parse_cached(text: &str, version: &str) -> Option<Accelerator> {
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

/// Whether a kernel prints its first line.
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
        devices: &[],
        start: Start::Boot,
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

/// Whether the console has a line of the kernel. Hanging guests also print lines of the firmware and the decompressor.
fn has_kernel_line(console: &[u8]) -> bool {
    const BANNER: &[u8] = b"Linux version ";
    console.windows(BANNER.len()).any(|window| window == BANNER)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A cached result is valid for the same QEMU version only; an invalid file has no result.
    #[test]
    fn cached_result_is_for_the_same_qemu() {
        assert_eq!(parse_cached("tcg\nQEMU 7.2\n", "QEMU 7.2"), Some(Accelerator::Tcg));
        assert_eq!(parse_cached("kvm\nQEMU 7.2\n", "QEMU 7.2"), Some(Accelerator::Kvm));
        assert_eq!(parse_cached("kvm\nQEMU 7.2\n", "QEMU 8.0"), None);
        assert_eq!(parse_cached("", "QEMU 7.2"), None);
    }

    /// A guest that only decompressed its kernel has not booted.
    #[test]
    fn decompressing_is_not_booting() {
        assert!(!has_kernel_line(b"early console in extract_kernel\nBooting the kernel.\n"));
        assert!(has_kernel_line(b"[    0.000000] Linux version 6.1.0-56-amd64\n"));
    }
}
