//! The machine's own apt: what it offers, and installing from it.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::shell;
use crate::toolchain::probe;

use super::backports;
use super::install::{self, Facts};
use super::parse::{self, Offer};

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

/// The command that installs packages and removes none. Where versions conflict, it installs versions that fit: from the
/// machine's sources, then from Debian's backports, whose lists are kept below `tools`. The error says what to do if none fit.
pub(crate) fn install(packages: &[String], tools: &Path) -> Result<Command> {
    let mut machine = Machine::default();
    let arguments = match install::arguments(&machine, packages) {
        Ok(arguments) => arguments,
        Err(error) => {
            let Some(options) = backports::options(tools)? else { return Err(error) };
            machine.options = options;
            eprintln!(
                "xtask: the apt sources of this machine have no versions that fit; looking in Debian's backports"
            );
            if let Err(backports) = shell::run(apt_get(&["update"]).args(&machine.options)) {
                return Err(error.context(format!("cannot read Debian's backports: {backports:#}")));
            }
            install::arguments(&machine, packages)?
        }
    };
    let mut command = apt_get(&["install", "--yes", "--no-install-recommends", "--no-remove"]);
    command.args(&machine.options).args(arguments);
    Ok(command)
}

/// Makes dpkg-query describe a package as apt-cache does.
const DESCRIPTION: &str =
    "-f=Package: ${Package}\\nSource: ${source:Package} (${source:Version})\\nVersion: ${Version}\\n\\n";

/// What this machine's apt and dpkg answer.
#[derive(Debug, Default)]
pub(super) struct Machine {
    /// Variables besides those of this process.
    pub(super) environment: Vec<(String, String)>,
    /// Options for the programs of apt.
    pub(super) options: Vec<String>,
}

impl Machine {
    pub(super) fn query(&self, program: &str, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(program);
        if program.starts_with("apt-") {
            command.args(&self.options);
        }
        command.args(arguments).envs(self.environment.iter().map(|(name, value)| (name, value)));
        probe::query(command.env("LC_ALL", "C"))
    }
}

impl Facts for Machine {
    fn simulate(&self, arguments: &[String]) -> Result<String> {
        let fixed = ["install", "--simulate", "--no-install-recommends"];
        self.query("apt-get", &fixed.into_iter().chain(arguments.iter().map(String::as_str)).collect::<Vec<_>>())
    }

    fn show(&self, package: &str) -> Result<String> {
        self.query("apt-cache", &["show", "--all-versions", package])
    }

    fn madison(&self, package: &str) -> Result<String> {
        self.query("apt-cache", &["madison", package])
    }

    fn installed(&self, package: &str) -> Result<Offer> {
        let text = self.query("dpkg-query", &["-W", DESCRIPTION, package])?;
        parse::offers(&text).into_iter().next().with_context(|| format!("dpkg does not describe {package}"))
    }

    fn all_installed(&self) -> Result<Vec<Offer>> {
        let form = DESCRIPTION.replace("\\n\\n", "\\nStatus: ${db:Status-Status}\\n\\n");
        let text = self.query("dpkg-query", &["-W", &form])?;
        let installed = text.split("\n\n").filter(|part| part.lines().any(|line| line == "Status: installed"));
        Ok(installed.flat_map(parse::offers).collect())
    }
}

fn apt_get(arguments: &[&str]) -> Command {
    let mut command = Command::new("apt-get");
    // Another apt may be at work, as after boot.
    command.args(["-q", "-o", "DPkg::Lock::Timeout=120", "-o", "Dpkg::Use-Pty=0"]).args(arguments);
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command
}
