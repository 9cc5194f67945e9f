//! One private apt: one suite of one mirror.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, bail};

use super::archive::{HostSettings, Progress};
use super::config;
use super::mirrors::{self, Mirror};
use super::parse::{self, Cause, Dependency, Failure, PackageFile};

/// Pauses between retries while a mirror is being updated.
const PAUSES: [Duration; 3] = [Duration::from_secs(5), Duration::from_secs(15), Duration::from_secs(45)];

/// A file that is written after each complete update. Its age is that of the lists.
const UPDATED: &str = "updated";

/// A failed program of apt.
#[derive(Debug)]
pub(crate) struct AptError {
    command: String,
    status: ExitStatus,
    output: String,
    failures: Vec<Failure>,
}

impl AptError {
    fn first(&self, cause: Cause) -> Option<&Failure> {
        self.failures.iter().find(|failure| failure.cause == cause)
    }

    /// Whether all failures are package files that the pool lacks.
    pub(crate) fn is_gone(&self) -> bool {
        !self.failures.is_empty() && self.failures.iter().all(|failure| failure.cause == Cause::Gone)
    }

    /// Whether all failures are below an address.
    pub(super) fn concerns_only(&self, base: &str) -> bool {
        parse::concerns_only(&self.output, base)
    }
}

impl fmt::Display for AptError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} failed ({})", self.command, self.status)?;
        match self.failures.first() {
            Some(Failure { uri, reason, .. }) => write!(out, ": {uri}: {reason}")?,
            None => write!(out, ":")?,
        }
        write!(out, "\n{}", self.output.trim_end())
    }
}

impl std::error::Error for AptError {}

/// apt with its own configuration.
#[derive(Debug)]
pub(crate) struct Private<'a> {
    dir: PathBuf,
    mirror: &'a Mirror,
    settings: &'a HostSettings,
    progress: &'a dyn Progress,
}

impl<'a> Private<'a> {
    /// Writes the configuration below `root`, in a directory for each mirror.
    pub(super) fn prepare(
        root: &Path,
        suite: &str,
        mirror: &'a Mirror,
        with_security: bool,
        settings: &'a HostSettings,
        progress: &'a dyn Progress,
    ) -> Result<Self> {
        let security = if with_security { plain(&mirror.security) } else { "none".to_owned() };
        let dir = root.join(suite).join(format!("{},{security}", plain(&mirror.debian)));
        for part in config::DIRECTORIES {
            fs::create_dir_all(dir.join(part))
                .with_context(|| format!("cannot create {}", dir.join(part).display()))?;
        }
        let write = |name: &str, text: &str| {
            fs::write(dir.join(name), text).with_context(|| format!("cannot write {}", dir.join(name).display()))
        };
        write("status", "")?;
        write("etc/preferences", "")?;
        write("etc/sources.list", &mirrors::sources_list(mirror, suite, &settings.trust, with_security))?;
        write("apt.conf", &config::text(&dir, mirror, &settings.network)?)?;
        Ok(Self { dir, mirror, settings, progress })
    }

    /// Fetches the signed package lists. If this fails, lists of earlier updates are kept.
    pub(super) fn update(&self) -> Result<()> {
        self.fetch("apt-get", &["update"], None)?;
        let path = self.dir.join(UPDATED);
        fs::write(&path, "").with_context(|| format!("cannot write {}", path.display()))
    }

    /// The age of the lists of the last successful update, if any.
    pub(super) fn lists_age(&self) -> Option<Duration> {
        let updated = fs::metadata(self.dir.join(UPDATED)).and_then(|file| file.modified()).ok()?;
        // If the clock was set back, the lists count as new.
        Some(SystemTime::now().duration_since(updated).unwrap_or_default())
    }

    /// The dependencies of `package`, which can be `NAME=VERSION`, including all alternatives.
    pub(crate) fn depends(&self, package: &str) -> Result<Vec<Dependency>> {
        Ok(parse::dependencies(&self.run("apt-cache", &["show", "--no-all-versions", package], None)?))
    }

    /// The versions of a package, newest first.
    pub(crate) fn versions(&self, package: &str) -> Result<Vec<String>> {
        Ok(parse::versions(&self.run("apt-cache", &["madison", package], None)?))
    }

    /// Whether the suite has a package.
    pub(crate) fn offers(&self, package: &str) -> Result<bool> {
        Ok(parse::has_candidate(&self.run("apt-cache", &["policy", package], None)?))
    }

    /// Downloads exactly these packages into `into`, and removes all other files there. apt verifies each package against the
    /// signed lists.
    pub(crate) fn download(&self, packages: &[String], into: &Path) -> Result<()> {
        let packages: Vec<&str> = packages.iter().map(String::as_str).collect();
        self.download_with(&[&["download"], packages.as_slice()].concat(), into)
    }

    /// Downloads these packages with all dependencies, as for a system with nothing installed.
    pub(crate) fn download_closure(&self, packages: &[&str], into: &Path) -> Result<()> {
        self.download_with(&[&["install", "--yes", "--download-only"], packages].concat(), into)
    }

    /// Reports a message to the user.
    pub(crate) fn note(&self, note: &str) {
        self.progress.note(note);
    }

    /// Runs a command of apt-get that downloads packages. A version that is in the lists but not in the pool is replaced by the
    /// previous one.
    fn download_with(&self, arguments: &[&str], into: &Path) -> Result<()> {
        fs::create_dir_all(into.join("partial")).context("cannot create a download directory")?;
        let mut gone: BTreeSet<(String, String)> = BTreeSet::new();
        loop {
            let print = [arguments, &["--print-uris"]].concat();
            let planned = self.run("apt-get", &print, Some(&self.dir)).with_context(|| missing_versions(&gone))?;
            let planned = parse::package_files(&planned);
            remove_others(into, &planned)?;
            let archives = format!("Dir::Cache::archives={}", into.display());
            let Err(error) = self.fetch("apt-get", &[&["-o", &archives], arguments].concat(), Some(into)) else {
                return check_complete(into, &planned);
            };
            let is_gone = error.downcast_ref::<AptError>().is_some_and(AptError::is_gone);
            let lost: BTreeSet<_> = error.downcast_ref::<AptError>().map_or_else(BTreeSet::new, |error| {
                let lost = planned.iter().filter(|file| error.failures.iter().any(|failure| failure.uri == file.uri));
                lost.map(|file| (file.package.clone(), file.version.clone())).collect()
            });
            // A version that is requested explicitly is not replaced.
            let is_exact = lost.iter().any(|(package, version)| {
                arguments.iter().any(|argument| argument.split_once('=') == Some((package.as_str(), version.as_str())))
            });
            if !is_gone || is_exact || lost.is_subset(&gone) {
                return Err(error);
            }
            for (package, version) in lost {
                self.progress.note(&format!(
                    "{} lacks {package} {version}, which is in its lists: using the previous version",
                    self.mirror.debian
                ));
                gone.insert((package, version));
            }
            self.exclude(&gone)?;
        }
    }

    /// Makes apt select other versions than these, also for packages of the same source.
    fn exclude(&self, versions: &BTreeSet<(String, String)>) -> Result<()> {
        let mut text = String::new();
        for (package, version) in versions {
            let show = self.run("apt-cache", &["show", &format!("{package}={version}")], None)?;
            let source = parse::source(&show).unwrap_or(package);
            text.push_str(&format!("Package: {package} src:{source}\nPin: version {version}\nPin-Priority: -1\n\n"));
        }
        let path = self.dir.join("etc/preferences");
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Runs a program that fetches, and retries after a pause while the mirror is being updated.
    fn fetch(&self, program: &str, arguments: &[&str], directory: Option<&Path>) -> Result<()> {
        let mut pauses = PAUSES.iter();
        loop {
            let Err(error) = self.run(program, arguments, directory) else { return Ok(()) };
            let syncing = error.downcast_ref::<AptError>().and_then(|error| error.first(Cause::Syncing));
            let (Some(Failure { uri, reason, .. }), Some(pause)) = (syncing, pauses.next()) else { return Err(error) };
            let reason = reason.split(" [").next().unwrap_or(reason);
            self.progress
                .note(&format!("{uri}: {reason}: the mirror seems to be updating; retrying in {} s", pause.as_secs()));
            self.progress.pause(*pause);
        }
    }

    pub(super) fn run(&self, program: &str, arguments: &[&str], directory: Option<&Path>) -> Result<String> {
        let mut command = Command::new(program);
        command.arg("-q").args(arguments);
        command.envs(self.settings.environment.iter().map(|(name, value)| (name, value)));
        command.env("APT_CONFIG", self.dir.join("apt.conf")).env("LC_ALL", "C").env_remove("LANGUAGE");
        if let Some(directory) = directory {
            command.current_dir(directory);
        }
        let output = command.output().with_context(|| format!("cannot run {program}; install Debian's apt"))?;
        let stdout = String::from_utf8_lossy(&output.stdout);
        if output.status.success() {
            return Ok(stdout.into_owned());
        }
        let output_text = format!("{stdout}{}", String::from_utf8_lossy(&output.stderr));
        let failures = parse::failures(&output_text);
        let command = format!("{program} {}", arguments.join(" "));
        Err(AptError { command, status: output.status, output: output_text, failures }.into())
    }
}

/// Converts an address to a file name.
fn plain(uri: &str) -> String {
    let uri = uri.split_once("://").map_or(uri, |(_, rest)| rest);
    uri.chars().map(|c| if c.is_ascii_alphanumeric() || "-.".contains(c) { c } else { '_' }).collect()
}

fn missing_versions(gone: &BTreeSet<(String, String)>) -> String {
    let names: Vec<String> = gone.iter().map(|(package, version)| format!("{package} {version}")).collect();
    if names.is_empty() {
        "cannot plan the download with apt".to_owned()
    } else {
        format!("no other version can replace those that the pool lacks ({})", names.join(", "))
    }
}

/// Removes files of other mirrors and versions.
fn remove_others(dir: &Path, wanted: &[PackageFile]) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))? {
        let path = entry.with_context(|| format!("cannot list {}", dir.display()))?.path();
        let is_wanted = wanted.iter().any(|file| path.file_name().is_some_and(|name| name == file.file.as_str()));
        if path.is_file() && !is_wanted {
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    Ok(())
}

fn check_complete(dir: &Path, wanted: &[PackageFile]) -> Result<()> {
    match wanted.iter().find(|file| !dir.join(&file.file).is_file()) {
        Some(file) => bail!("cannot find {} in {}, although apt reports success", file.file, dir.display()),
        None if wanted.is_empty() => bail!("cannot download to {}: apt would download nothing", dir.display()),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Addresses become single file names, different for two archives of a server.
    #[test]
    fn addresses_become_file_names() {
        assert_eq!(plain("http://deb.debian.org/debian"), "deb.debian.org_debian");
        assert_eq!(plain("https://user:pass@m.example:8080/../x"), "user_pass_m.example_8080_.._x");
        assert_ne!(plain("http://m/debian"), plain("http://m/debian-security"));
    }
}
