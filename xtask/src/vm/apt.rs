//! A private apt: its own sources, lists, cache and an empty package database, so that the machine's is never touched.
//!
//! The machine's apt settings (a proxy, for example) still apply; only what would tie the download to the machine's
//! own packages is replaced.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::sources::{self, Mirror};

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// apt for one suite.
#[derive(Debug)]
pub(crate) struct Apt {
    config: PathBuf,
}

impl Apt {
    /// Sets up a private apt under `dir` and fetches the suite's signed package lists.
    pub(crate) fn open(dir: &Path, suite: &str) -> Result<Self> {
        if !Path::new(KEYRING).exists() {
            bail!("{KEYRING} is missing; install it with: apt-get install debian-archive-keyring");
        }
        let dir = dir.join(suite);
        for part in ["state/lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(dir.join(part))
                .with_context(|| format!("cannot create {}", dir.join(part).display()))?;
        }
        fs::write(dir.join("status"), "").context("cannot write an empty package database")?;
        let apt = Self { config: dir.join("apt.conf") };
        let mut failures = Vec::new();
        for mirror in sources::mirrors() {
            fs::write(dir.join("sources.list"), sources::sources_list(&mirror, suite, Path::new(KEYRING)))
                .context("cannot write a sources.list")?;
            fs::write(&apt.config, configuration(&dir, &mirror)).context("cannot write an apt.conf")?;
            match apt.run("apt-get", &["update"], None) {
                Ok(_) => return Ok(apt),
                Err(error) => failures.push(format!("{}: {error:#}", mirror.debian)),
            }
        }
        bail!("no mirror has the suite {suite}:\n{}", failures.join("\n"));
    }

    /// The packages that `package` depends on, alternatives flattened.
    pub(crate) fn depends(&self, package: &str) -> Result<Vec<String>> {
        let text = self.run("apt-cache", &["show", "--no-all-versions", package], None)?;
        Ok(depends_of(&text))
    }

    /// Whether the suite has a package.
    pub(crate) fn offers(&self, package: &str) -> Result<bool> {
        Ok(has_candidate(&self.run("apt-cache", &["policy", package], None)?))
    }

    /// Downloads exactly these packages into `into`. apt checks each against the signed lists.
    pub(crate) fn download(&self, packages: &[String], into: &Path) -> Result<()> {
        let mut arguments = vec!["download"];
        arguments.extend(packages.iter().map(String::as_str));
        self.run("apt-get", &arguments, Some(into)).map(drop)
    }

    /// Downloads these packages and all they need, as for a system with nothing installed.
    pub(crate) fn download_closure(&self, packages: &[&str], into: &Path) -> Result<()> {
        fs::create_dir_all(into.join("partial")).context("cannot create a download directory")?;
        let archives = format!("Dir::Cache::archives={}", into.display());
        let mut arguments = vec!["-o", &archives, "install", "--yes", "--no-install-recommends", "--download-only"];
        arguments.extend(packages);
        self.run("apt-get", &arguments, None).map(drop)
    }

    fn run(&self, program: &str, arguments: &[&str], directory: Option<&Path>) -> Result<String> {
        let mut command = Command::new(program);
        command.arg("-c").arg(&self.config).arg("-q").args(arguments).env("LC_ALL", "C");
        if let Some(directory) = directory {
            command.current_dir(directory);
        }
        let output = command.output().with_context(|| format!("cannot run {program}; this rig needs Debian's apt"))?;
        if !output.status.success() {
            bail!(
                "{program} {} failed ({}):\n{}{}",
                arguments.join(" "),
                output.status,
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// Read after the machine's own configuration: `#clear` removes hooks that would act on the machine.
fn configuration(dir: &Path, mirror: &Mirror) -> String {
    let dir = dir.display();
    let check_dates = if mirror.frozen { "Acquire::Check-Valid-Until \"false\";\n" } else { "" };
    format!(
        "#clear APT::Update::Pre-Invoke;\n\
         #clear APT::Update::Post-Invoke;\n\
         #clear APT::Update::Post-Invoke-Success;\n\
         #clear DPkg::Pre-Invoke;\n\
         #clear DPkg::Post-Invoke;\n\
         #clear DPkg::Pre-Install-Pkgs;\n\
         #clear Acquire::IndexTargets::deb::DEP-11;\n\
         Dir::Etc::sourcelist \"{dir}/sources.list\";\n\
         Dir::Etc::sourceparts \"-\";\n\
         Dir::Etc::preferences \"-\";\n\
         Dir::Etc::preferencesparts \"-\";\n\
         Dir::State \"{dir}/state\";\n\
         Dir::State::status \"{dir}/status\";\n\
         Dir::Cache \"{dir}/cache\";\n\
         APT::Architecture \"amd64\";\n\
         APT::Architectures {{ \"amd64\"; }};\n\
         APT::Sandbox::User \"root\";\n\
         APT::Update::Error-Mode \"any\";\n\
         Acquire::Languages \"none\";\n\
         {check_dates}"
    )
}

/// Whether an `apt-cache policy` answer names a version that could be installed.
fn has_candidate(policy: &str) -> bool {
    let candidate = policy.lines().find_map(|line| line.trim().strip_prefix("Candidate:"));
    candidate.is_some_and(|version| version.trim() != "(none)")
}

/// Package names of the `Depends` field of an `apt-cache show` answer.
fn depends_of(show: &str) -> Vec<String> {
    let fields = show.lines().filter_map(|line| line.strip_prefix("Depends:"));
    let names = fields.flat_map(|field| field.split([',', '|'])).filter_map(|item| item.split_whitespace().next());
    names.map(|name| name.split(':').next().unwrap_or(name).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Versions, alternatives and architecture qualifiers are taken off dependency names.
    #[test]
    fn reads_dependency_names() {
        let show =
            "Package: linux-image-amd64\nDepends: linux-image-6.1.0-56-amd64 (= 6.1.192-2), kmod:any, a | b (>> 1)\n";
        assert_eq!(depends_of(show), ["linux-image-6.1.0-56-amd64", "kmod", "a", "b"]);
        assert!(depends_of("Package: x\n").is_empty());
    }

    /// A package that the suite lacks, and one that it knows only by name, are not offered.
    #[test]
    fn reads_candidates() {
        assert!(has_candidate("udev:\n  Installed: (none)\n  Candidate: 252.39-1\n"));
        assert!(!has_candidate("hfsprogs:\n  Installed: (none)\n  Candidate: (none)\n"));
        assert!(!has_candidate(""));
    }

    /// Only a frozen archive may be past its date.
    #[test]
    fn dates_are_checked_unless_the_archive_is_frozen() {
        let mirror = |frozen| Mirror { debian: String::new(), security: String::new(), frozen };
        assert!(!configuration(Path::new("/d"), &mirror(false)).contains("Check-Valid-Until"));
        assert!(configuration(Path::new("/d"), &mirror(true)).contains("Check-Valid-Until"));
    }
}
