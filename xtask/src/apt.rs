//! The machine's own apt: what it offers, and installing from it.

use std::collections::BTreeSet;
use std::process::Command;

use anyhow::{Result, bail};

use crate::shell;
use crate::toolchain::probe;

/// Whether this package is installed.
pub(crate) fn is_installed(package: &str) -> bool {
    let status = probe::query(Command::new("dpkg-query").args(["-W", "-f=${db:Status-Status}\\n", package]));
    status.is_ok_and(|text| text.lines().any(|line| line == "installed"))
}

/// Whether apt could install this package.
pub(crate) fn is_offered(package: &str) -> bool {
    probe::query(Command::new("apt-cache").args(["policy", package]).env("LC_ALL", "C"))
        .is_ok_and(|text| has_candidate(&text))
}

/// The major version of the one LLVM that a package of a compiler stands on.
pub(crate) fn llvm_behind(package: &str) -> Option<u32> {
    let only_depends = ["recommends", "suggests", "conflicts", "breaks", "replaces", "enhances"];
    let mut command = Command::new("apt-cache");
    command.args(["depends", "--recurse"]).args(only_depends.map(|kind| format!("--no-{kind}"))).arg(package);
    probe::query(command.env("LC_ALL", "C")).ok().and_then(|text| only_llvm(&text))
}

/// Fetches the package lists.
pub(crate) fn update() -> Command {
    apt_get(&["update"])
}

/// Installs packages. Where that would remove others, those are upgraded with them; where that is not possible either, only
/// other parts of the same software may go, and it is said: two versions of one program cannot share a machine.
pub(crate) fn install(packages: &[String]) -> Result<Command> {
    let removed = removed_by(packages)?;
    let mut command = if removed.is_empty() {
        install_command(packages)
    } else {
        let together: Vec<_> = packages.iter().chain(&removed).cloned().collect();
        if removed_by(&together).is_ok_and(|removed| removed.is_empty()) {
            install_command(&together)
        } else {
            return give_way(packages, &removed);
        }
    };
    command.arg("--no-remove");
    Ok(command)
}

/// Installs packages although others must go, if they are parts of the same software.
fn give_way(packages: &[String], removed: &[String]) -> Result<Command> {
    let command = install_command(packages);
    let sources: BTreeSet<String> = packages.iter().filter_map(|package| source_of(package)).collect();
    let strangers: Vec<_> =
        removed.iter().filter(|package| source_of(package).is_none_or(|source| !sources.contains(&source))).collect();
    if !strangers.is_empty() {
        bail!(
            "{} cannot be installed without removing {}; that is for you to decide: {}",
            packages.join(" "),
            removed.join(" "),
            shell::show(&command)
        );
    }
    eprintln!(
        "xtask: {} must go: another version of the same software is installed, and apt has no other",
        removed.join(" ")
    );
    Ok(command)
}

/// The source package that a package is built from.
fn source_of(package: &str) -> Option<String> {
    let text = probe::query(Command::new("apt-cache").args(["show", "--no-all-versions", package])).ok()?;
    Some(read_source(&text).unwrap_or(package).to_owned())
}

/// The plain command that installs packages, without looking at what it would do.
pub(crate) fn install_command(packages: &[String]) -> Command {
    let mut command = apt_get(&["install", "--yes", "--no-install-recommends"]);
    command.args(packages);
    command
}

fn removed_by(packages: &[String]) -> Result<Vec<String>> {
    let mut command = apt_get(&["install", "--simulate", "--no-install-recommends"]);
    probe::query(command.args(packages).env("LC_ALL", "C")).map(|text| removals(&text))
}

fn apt_get(arguments: &[&str]) -> Command {
    let mut command = Command::new("apt-get");
    // Another apt may be at work, as after boot.
    command.args(["-q", "-o", "DPkg::Lock::Timeout=120", "-o", "Dpkg::Use-Pty=0"]).args(arguments);
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command
}

/// Reads `apt-cache policy`.
fn has_candidate(policy: &str) -> bool {
    let candidate = policy.lines().find_map(|line| line.trim().strip_prefix("Candidate:"));
    candidate.is_some_and(|version| version.trim() != "(none)")
}

/// Reads the names of packages that a simulated installation removes.
fn removals(simulation: &str) -> Vec<String> {
    let lines = simulation.lines().filter_map(|line| line.strip_prefix("Remv "));
    lines.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

/// Reads the source package from `apt-cache show`; absent when it has the package's own name.
fn read_source(show: &str) -> Option<&str> {
    show.lines().find_map(|line| line.strip_prefix("Source: "))?.split_whitespace().next()
}

/// Reads LLVM's major version from a recursive list of dependencies, when there is exactly one.
fn only_llvm(depends: &str) -> Option<u32> {
    let words = depends.split_whitespace().filter_map(|word| word.strip_prefix("libllvm"));
    let majors: BTreeSet<u32> = words.filter_map(|rest| rest.split(':').next()?.parse().ok()).collect();
    let mut majors = majors.into_iter();
    majors.next().filter(|_| majors.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_candidate_is_told_from_none() {
        assert!(has_candidate("rustc-web:\n  Installed: (none)\n  Candidate: 1.96.0+dfsg1-1~deb12u2\n"));
        assert!(!has_candidate("rust-src:\n  Installed: (none)\n  Candidate: (none)\n"));
        assert!(!has_candidate(""));
    }

    #[test]
    fn removals_are_read_from_a_simulation() {
        let text = "Inst seabios (1.16.2)\nRemv qemu-utils [1:7.2+dfsg-7+deb12u12]\nConf seabios (1.16.2)\n";
        assert_eq!(removals(text), ["qemu-utils"]);
        assert!(removals("Inst kmod (30)\n").is_empty());
    }

    #[test]
    fn parts_of_one_software_share_its_source() {
        assert_eq!(read_source("Package: qemu-utils\nSource: qemu (1:7.2)\n"), Some("qemu"));
        assert_eq!(read_source("Package: kmod\nVersion: 30\n"), None);
    }

    #[test]
    fn llvm_is_told_only_when_there_is_one() {
        assert_eq!(only_llvm("libstd-rust-web-1.96\n  Depends: libllvm22\nlibllvm22\n  Depends: libc6\n"), Some(22));
        assert_eq!(only_llvm("Depends: libllvm19:amd64\n"), Some(19));
        assert_eq!(only_llvm("Depends: libllvm19\nDepends: libllvm22\n"), None);
        assert_eq!(only_llvm("Depends: libc6\n"), None);
    }
}
