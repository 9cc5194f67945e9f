//! Instructions for manual installation, if set-up must not or cannot install.

use std::path::Path;

use super::plan::Plan;
use crate::requirements::Requirement;
use crate::system::{Family, System};
use crate::toolchain::Survey;
use crate::toolchain::probe::{self, OBJECT_ENV, TOOLCHAIN_ENV};

/// The complete message: the reason, the missing requirements, and the commands.
pub(super) fn text(workspace: &Path, system: &System, survey: &Survey, missing: &[&Requirement]) -> String {
    let plan = Plan::make(system, survey, missing);
    let reason = match &plan {
        Some(_) => "packages are missing, and only root can install them".to_owned(),
        None if system.family == Family::Debian => {
            format!("apt of this machine ({}) offers no suitable compiler and LLVM, or has no network", system.name)
        }
        None => format!("set-up does not support this machine ({})", system.name),
    };
    let commands = match plan {
        Some(plan) => plan.commands(workspace, system.is_root),
        None => by_hand(system, survey, missing),
    };
    format!(
        "{reason}; nothing was changed\nmissing:\n{}\ninstall with:\n{}\n\
         or set {TOOLCHAIN_ENV} to another rustup toolchain, or {OBJECT_ENV} to a prebuilt eBPF object",
        findings(survey, missing),
        indent(&commands)
    )
}

/// The missing requirements, one line each.
pub(super) fn findings(survey: &Survey, missing: &[&Requirement]) -> String {
    let mut lines = if survey.chosen().is_some() { Vec::new() } else { survey.complaints() };
    lines.extend(missing.iter().map(|one| format!("{}, which {}", one.name(), one.reason)));
    indent(&lines)
}

/// Commands for a machine that set-up does not support.
pub(crate) fn by_hand(system: &System, survey: &Survey, missing: &[&Requirement]) -> Vec<String> {
    let mut commands: Vec<_> = install(system, missing).into_iter().collect();
    if survey.chosen().is_some() {
        return commands;
    }
    if probe::find_program("rustup").is_none() {
        commands.push("rustup, from https://rustup.rs".to_owned());
    }
    let compiler = survey.candidates.iter().find_map(|candidate| candidate.compiler.as_ref().ok());
    match compiler {
        Some(compiler) => commands.push(format!(
            "cargo install bpf-linker --locked --no-default-features --features llvm-{}",
            compiler.llvm_major
        )),
        None => {
            commands.push("rustup toolchain install nightly --component rust-src".to_owned());
            commands.push("cargo install bpf-linker".to_owned());
        }
    }
    commands
}

/// The distribution's command for the missing requirements, if any.
pub(crate) fn install(system: &System, missing: &[&Requirement]) -> Option<String> {
    let packages: Vec<_> = missing.iter().map(|one| one.package(system.family)).collect();
    let packages = Some(packages.join(" ")).filter(|packages| !packages.is_empty())?;
    let sudo = if system.is_root { "" } else { "sudo " };
    Some(match system.family {
        Family::Debian => format!("{sudo}apt-get install --no-install-recommends {packages}"),
        Family::Fedora => format!("{sudo}dnf install {packages}"),
        Family::Arch => format!("{sudo}pacman -S --needed {packages}"),
        Family::Other => format!("(your package manager's names for Debian's packages) {packages}"),
    })
}

/// Indents lines.
pub(super) fn indent(lines: &[String]) -> String {
    lines.iter().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::requirements::REQUIREMENTS;

    fn empty() -> Survey {
        Survey { given: None, is_named: false, candidates: Vec::new() }
    }

    #[test]
    fn each_distribution_has_its_own_command() {
        let missing: Vec<_> = REQUIREMENTS.iter().filter(|one| one.name() == "qemu-system-x86_64").collect();
        for (family, command) in [
            (Family::Debian, "sudo apt-get install --no-install-recommends qemu-system-x86"),
            (Family::Fedora, "sudo dnf install qemu-system-x86-core"),
            (Family::Arch, "sudo pacman -S --needed qemu-system-x86"),
        ] {
            let system = System { family, name: "a test".to_owned(), is_root: false };
            let commands = by_hand(&system, &empty(), &missing);
            assert_eq!(commands[0], command);
            assert!(commands.iter().any(|line| line == "rustup toolchain install nightly --component rust-src"));
        }
    }

    #[test]
    fn message_states_that_nothing_was_changed() {
        let system = System { family: Family::Other, name: "NixOS".to_owned(), is_root: true };
        let text = text(Path::new("/project"), &system, &empty(), &[]);
        assert!(text.starts_with("set-up does not support this machine (NixOS); nothing was changed"), "{text}");
    }
}
