//! The machine's own apt: what it offers, and installing from it.

use std::collections::BTreeSet;
use std::process::Command;

use anyhow::{Result, bail};

use crate::shell;
use crate::toolchain::probe;

use super::parse;

/// Whether this package is installed.
pub(crate) fn is_installed(package: &str) -> bool {
    let status = probe::query(Command::new("dpkg-query").args(["-W", "-f=${db:Status-Status}\\n", package]));
    status.is_ok_and(|text| text.lines().any(|line| line == "installed"))
}

/// Whether apt could install this package.
pub(crate) fn is_offered(package: &str) -> bool {
    probe::query(Command::new("apt-cache").args(["policy", package]).env("LC_ALL", "C"))
        .is_ok_and(|text| parse::has_candidate(&text))
}

/// The major version of the one LLVM that a package of a compiler stands on.
pub(crate) fn llvm_behind(package: &str) -> Option<u32> {
    let only_depends = ["recommends", "suggests", "conflicts", "breaks", "replaces", "enhances"];
    let mut command = Command::new("apt-cache");
    command.args(["depends", "--recurse"]).args(only_depends.map(|kind| format!("--no-{kind}"))).arg(package);
    probe::query(command.env("LC_ALL", "C")).ok().and_then(|text| parse::only_llvm(&text))
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
    Some(parse::source(&text).unwrap_or(package).to_owned())
}

/// The plain command that installs packages, without looking at what it would do.
pub(crate) fn install_command(packages: &[String]) -> Command {
    let mut command = apt_get(&["install", "--yes", "--no-install-recommends"]);
    command.args(packages);
    command
}

fn removed_by(packages: &[String]) -> Result<Vec<String>> {
    let mut command = apt_get(&["install", "--simulate", "--no-install-recommends"]);
    probe::query(command.args(packages).env("LC_ALL", "C")).map(|text| parse::removals(&text))
}

fn apt_get(arguments: &[&str]) -> Command {
    let mut command = Command::new("apt-get");
    // Another apt may be at work, as after boot.
    command.args(["-q", "-o", "DPkg::Lock::Timeout=120", "-o", "Dpkg::Use-Pty=0"]).args(arguments);
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command
}
