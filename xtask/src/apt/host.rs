//! The machine's own apt: available packages, and their installation.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::shell;
use crate::toolchain::probe;

use super::backports;
use super::install::{self, PackageQueries};
use super::parse::{self, Offer};

/// Whether a package is installed.
pub(crate) fn is_installed(package: &str) -> bool {
    let status = probe::query(Command::new("dpkg-query").args(["-W", "-f=${db:Status-Status}\\n", package]));
    status.is_ok_and(|text| text.lines().any(|line| line == "installed"))
}

/// Whether apt can install a package.
pub(crate) fn is_offered(package: &str) -> bool {
    probe::query(Command::new("apt-cache").args(["policy", package]).env("LC_ALL", "C"))
        .is_ok_and(|text| parse::has_candidate(&text))
}

/// The major version of the LLVM that a compiler package depends on, if it is unique.
pub(crate) fn llvm_of_compiler(package: &str) -> Option<u32> {
    let only_depends = ["recommends", "suggests", "conflicts", "breaks", "replaces", "enhances"];
    let mut command = Command::new("apt-cache");
    command.args(["depends", "--recurse"]).args(only_depends.map(|kind| format!("--no-{kind}"))).arg(package);
    probe::query(command.env("LC_ALL", "C")).ok().and_then(|text| parse::only_llvm(&text))
}

/// Fetches the package lists.
pub(crate) fn update() -> Command {
    apt_get(&["update"])
}

/// The command that installs packages and removes none. If versions conflict, it selects compatible versions from the machine's
/// sources, or from Debian's backports, whose lists are stored below `tools`. If there are none, the error says what to do.
pub(crate) fn install(packages: &[String], tools: &Path) -> Result<Command> {
    let mut machine = Machine::default();
    let arguments = match install::arguments(&machine, packages) {
        Ok(arguments) => arguments,
        Err(error) => {
            let Some(options) = backports::options(tools)? else { return Err(error) };
            machine.options = options;
            eprintln!("xtask: the apt sources of this machine have no compatible versions; trying Debian's backports");
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

/// The dpkg-query format that describes a package as apt-cache does.
const DESCRIPTION: &str =
    "-f=Package: ${Package}\\nSource: ${source:Package} (${source:Version})\\nVersion: ${Version}\\n\\n";

/// Queries the machine's apt and dpkg.
#[derive(Debug, Default)]
pub(super) struct Machine {
    /// Additional environment variables.
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

impl PackageQueries for Machine {
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
        parse::offers(&text).into_iter().next().with_context(|| format!("dpkg has no description of {package}"))
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
    // Another apt may be running, for example after boot.
    command.args(["-q", "-o", "DPkg::Lock::Timeout=120", "-o", "Dpkg::Use-Pty=0"]).args(arguments);
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command
}
