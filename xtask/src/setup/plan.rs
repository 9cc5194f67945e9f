//! The plan of an installation, made before anything is changed.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::apt::host as apt;
use crate::requirements::Requirement;
use crate::shell;
use crate::system::{Family, System};
use crate::toolchain::Survey;
use crate::toolchain::linker;
use crate::toolchain::probe::{LINKED_TOOLCHAIN, find_program, tools_dir};

/// Packages with a compiler, its cargo and the source of `core`, best first. Debian has a recent compiler for its web browsers
/// in the `-web` packages.
const COMPILER_PACKAGES: [[&str; 3]; 2] = [["rustc-web", "cargo-web", "rust-web-src"], ["rustc", "cargo", "rust-src"]];

/// One change to the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Install packages.
    Packages,
    /// Make the distribution's compiler a rustup toolchain.
    Link,
    /// Build a bpf-linker with this LLVM.
    Linker(u32),
}

/// An installation plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    packages: Vec<String>,
    link: bool,
    linker: Option<u32>,
}

impl Plan {
    /// Plans the installation of missing requirements. `None` if set-up does not support this machine.
    pub(crate) fn make(system: &System, survey: &Survey, missing: &[&Requirement]) -> Option<Self> {
        let mut plan = match linker_without_packages(survey) {
            _ if survey.chosen().is_some() => Self::default(),
            Some(llvm_major) => Self { linker: Some(llvm_major), ..Self::default() },
            None if system.family == Family::Debian => Self::for_installed_compiler(survey)
                .or_else(|| (!survey.is_named).then(Self::for_compiler_of_debian).flatten())?,
            None => return None,
        };
        if !missing.is_empty() && system.family != Family::Debian {
            return None;
        }
        for requirement in missing {
            plan.add(requirement.package(system.family));
        }
        Some(plan)
    }

    /// A linker for an installed compiler, with LLVM from apt.
    fn for_installed_compiler(survey: &Survey) -> Option<Self> {
        let llvm_major = compilers_llvm(survey).find(|major| apt::is_offered(&linker::debian_package(*major)))?;
        Some(Self { packages: vec![linker::debian_package(llvm_major)], linker: Some(llvm_major), link: false })
    }

    /// Debian's compiler, and a linker for it.
    fn for_compiler_of_debian() -> Option<Self> {
        COMPILER_PACKAGES.iter().find_map(|packages| {
            let offered = packages.iter().all(|package| apt::is_offered(package));
            let llvm_major = packages.first().filter(|_| offered).and_then(|package| apt::llvm_of_compiler(package))?;
            let library = linker::debian_package(llvm_major);
            if !linker::LLVM_MAJORS.contains(&llvm_major) || !apt::is_offered(&library) {
                return None;
            }
            let mut plan = Self { link: find_program("rustup").is_some(), linker: Some(llvm_major), ..Self::default() };
            for package in packages {
                plan.add(package);
            }
            plan.add(&library);
            Some(plan)
        })
    }

    fn add(&mut self, package: &str) {
        if !apt::is_installed(package) && !self.packages.iter().any(|known| known == package) {
            self.packages.push(package.to_owned());
        }
    }

    /// Whether the plan installs packages, which needs root.
    pub(crate) fn needs_root(&self) -> bool {
        !self.packages.is_empty()
    }

    /// The steps, in order.
    pub(crate) fn steps(&self) -> Vec<Step> {
        let packages = self.needs_root().then_some(Step::Packages);
        let link = self.link.then_some(Step::Link);
        packages.into_iter().chain(link).chain(self.linker.map(Step::Linker)).collect()
    }

    /// The command of a step.
    pub(crate) fn command(&self, workspace: &Path, step: Step) -> Result<Command> {
        match step {
            Step::Packages => apt::install(&self.packages, &tools_dir(workspace)),
            Step::Link => Ok(link()),
            Step::Linker(llvm_major) => Ok(linker::install(workspace, llvm_major)),
        }
    }

    /// The commands for manual execution.
    pub(crate) fn commands(&self, workspace: &Path, is_root: bool) -> Vec<String> {
        let show = |step: &Step| match step {
            Step::Packages => {
                let sudo = if is_root { "" } else { "sudo " };
                format!("{sudo}apt-get install --no-install-recommends {}", self.packages.join(" "))
            }
            Step::Link => shell::show(&link()),
            Step::Linker(llvm_major) => shell::show(&linker::install(workspace, *llvm_major)),
        };
        self.steps().iter().map(show).collect()
    }
}

/// The LLVM of the best installed compiler whose linker can be built without more packages.
pub(crate) fn linker_without_packages(survey: &Survey) -> Option<u32> {
    compilers_llvm(survey).find(|major| linker::has_library(*major))
}

/// The LLVM versions of installed compilers that bpf-linker supports, best first.
fn compilers_llvm(survey: &Survey) -> impl Iterator<Item = u32> {
    let compilers = survey.candidates.iter().filter_map(|candidate| candidate.compiler.as_ref().ok());
    compilers.map(|compiler| compiler.llvm_major).filter(|major| linker::LLVM_MAJORS.contains(major))
}

/// Makes `/usr` a rustup toolchain.
fn link() -> Command {
    let mut command = Command::new("rustup");
    command.args(["toolchain", "link", LINKED_TOOLCHAIN, "/usr"]);
    command
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;
    use crate::toolchain::Candidate;
    use crate::toolchain::probe::{Compiler, Linker, Via};

    fn system(family: Family) -> System {
        System { family, name: "a test".to_owned(), is_root: true }
    }

    fn survey(llvm_major: u32, linker: Option<u32>) -> Survey {
        let via = Via::Path;
        let compiler =
            Compiler { via: via.clone(), rustc: "/usr/bin/rustc".into(), release: "1.96.0".to_owned(), llvm_major };
        let linker = match linker {
            Some(llvm_major) => Ok(Linker { path: "/usr/bin/bpf-linker".into(), llvm_major }),
            None => Err(anyhow!("no bpf-linker")),
        };
        let candidate = Candidate { via, compiler: Ok(compiler), linker: Some(linker) };
        Survey { given: None, is_named: false, candidates: vec![candidate] }
    }

    #[test]
    fn plan_is_empty_if_nothing_is_missing() {
        let plan = Plan::make(&system(Family::Other), &survey(22, Some(22)), &[]).unwrap();
        assert_eq!(plan, Plan::default());
        assert!(!plan.needs_root());
        assert!(plan.steps().is_empty());
    }

    #[test]
    fn unsupported_machine_has_no_plan() {
        let nothing = Survey { given: None, is_named: false, candidates: Vec::new() };
        assert_eq!(Plan::make(&system(Family::Other), &nothing, &[]), None);
        // An LLVM that no bpf-linker release supports.
        assert_eq!(Plan::make(&system(Family::Fedora), &survey(14, None), &[]), None);
    }

    #[test]
    fn packages_are_installed_first() {
        let plan = Plan { packages: vec!["llvm-22-dev".to_owned()], link: true, linker: Some(22) };
        assert_eq!(plan.steps(), [Step::Packages, Step::Link, Step::Linker(22)]);
        let commands = plan.commands(Path::new("/project"), false);
        assert_eq!(commands[0], "sudo apt-get install --no-install-recommends llvm-22-dev");
        assert_eq!(commands[1], "rustup toolchain link kmodtrace-ebpf /usr");
        assert!(commands[2].contains("install bpf-linker"), "{}", commands[2]);
    }
}
