//! Fetched packages on disk: a directory of `.deb` files with a manifest that lists the SHA-256 of each.
//!
//! apt verifies packages when they are fetched. The manifest detects later changes.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use crate::apt::Archive;

use super::kernel_packages;
use super::kernels::Line;

/// The guest's programs besides our own; their dependencies are included.
///
/// The shells are dash and bash, because busybox's shell runs its built-in `modprobe` and `ip` instead of the real programs.
const USERLAND: &[&str] = &["kmod", "iptables", "iproute2", "dash", "bash", "busybox-static"];

const MANIFEST: &str = "manifest.json";

/// The content of a package directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    /// The requested packages, without their dependencies.
    #[serde(default)]
    pub(crate) asked: Vec<String>,
    /// The kernel release, for a directory of kernel packages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) release: Option<String>,
    /// SHA-256 in hex by file name.
    pub(crate) files: BTreeMap<String, String>,
}

/// A directory of fetched packages.
#[derive(Debug)]
pub(crate) struct Packages {
    /// The directory.
    pub(crate) dir: PathBuf,
    /// Its content.
    pub(crate) manifest: Manifest,
}

impl Packages {
    /// The kernel packages of a line, from the cache, or fetched if they are missing or an update is requested.
    pub(crate) fn kernel(root: &Path, line: &Line, update: bool) -> Result<Self> {
        let dir = root.join("kernels").join(line.name);
        Self::cached_or(dir, &[line.metapackage], update, |into| {
            Archive::of_debian(&root.join("apt"), line.suite)?
                .with(|apt| kernel_packages::fetch(apt, line, into))
                .map(Some)
        })
    }

    /// The guest's programs from one suite.
    pub(crate) fn userland(root: &Path, suite: &str, update: bool) -> Result<Self> {
        Self::cached_or(root.join("userland").join(suite), USERLAND, update, |into| {
            eprintln!("vm: fetching programs of {suite}: {} and dependencies", USERLAND.join(" "));
            let archive = Archive::of_debian(&root.join("apt"), suite)?;
            archive.with(|apt| apt.download_closure(USERLAND, into))?;
            Ok(None)
        })
    }

    /// More programs from one suite, except those that it lacks.
    pub(crate) fn more(root: &Path, suite: &str, set: &str, wanted: &[&str]) -> Result<Self> {
        Self::cached_or(root.join(set).join(suite), wanted, false, |into| {
            Archive::of_debian(&root.join("apt"), suite)?.with(|apt| {
                let mut offered = Vec::new();
                for package in wanted {
                    if apt.offers(package)? {
                        offered.push(*package);
                    } else {
                        eprintln!("vm: {suite} has no {package}");
                    }
                }
                eprintln!("vm: fetching programs of {suite}: {} and dependencies", offered.join(" "));
                apt.download_closure(&offered, into)
            })?;
            Ok(None)
        })
    }

    /// Third-party parsers: the dependencies of `source`, and `packages`.
    pub(crate) fn parsers(root: &Path, suite: &str, source: &str, packages: &[&str]) -> Result<Self> {
        let asked: Vec<&str> = [source].into_iter().chain(packages.iter().copied()).collect();
        Self::cached_or(root.join("parser-packages"), &asked, false, |into| {
            Archive::of_debian(&root.join("apt"), suite)?.with(|apt| {
                let needed = apt.depends(source)?.into_iter().map(|dependency| dependency.name);
                let sources = needed.filter(|package| package.starts_with("linux-source-"));
                let all: Vec<String> = sources.chain(packages.iter().copied().map(str::to_owned)).collect();
                eprintln!("vm: fetching parsers of {suite}: {}", all.join(" "));
                apt.download(&all, into)
            })?;
            Ok(None)
        })
    }

    /// A third-party validator for JSON Schemas.
    pub(crate) fn validator(root: &Path, suite: &str, packages: &[&str]) -> Result<Self> {
        Self::cached_or(root.join("validator-packages"), packages, false, |into| {
            let packages: Vec<String> = packages.iter().copied().map(str::to_owned).collect();
            eprintln!("vm: fetching a validator of {suite}: {}", packages.join(" "));
            Archive::of_debian(&root.join("apt"), suite)?.with(|apt| apt.download(&packages, into))?;
            Ok(None)
        })
    }

    /// The cached packages of a directory, if any.
    pub(crate) fn cached(dir: &Path) -> Result<Option<Self>> {
        let path = dir.join(MANIFEST);
        if !path.exists() {
            return Ok(None);
        }
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let manifest = serde_json::from_str(&text).with_context(|| format!("cannot parse {}", path.display()))?;
        Ok(Some(Self { dir: dir.to_owned(), manifest }))
    }

    /// Checks every file against the manifest.
    pub(crate) fn verify(&self) -> Result<()> {
        let names: Vec<&str> = self.manifest.files.keys().map(String::as_str).collect();
        let found = sha256_files(&self.dir, &names)?;
        for (name, wanted) in &self.manifest.files {
            if found.get(name) != Some(wanted) {
                bail!(
                    "{} was changed after it was fetched; remove {} and fetch again",
                    self.dir.join(name).display(),
                    self.dir.display()
                );
            }
        }
        Ok(())
    }

    /// Unpacks every package into `into`, without installing anything.
    pub(crate) fn unpack(&self, into: &Path) -> Result<()> {
        self.unpack_files(self.manifest.files.keys(), into)
    }

    /// Unpacks every package that `others` does not contain.
    pub(crate) fn unpack_all_but(&self, others: &Self, into: &Path) -> Result<()> {
        self.unpack_files(self.manifest.files.keys().filter(|name| !others.manifest.files.contains_key(*name)), into)
    }

    fn unpack_files<'a>(&self, names: impl Iterator<Item = &'a String>, into: &Path) -> Result<()> {
        self.verify()?;
        for name in names {
            let status = Command::new("dpkg-deb").arg("-x").arg(self.dir.join(name)).arg(into).status();
            let status = status.context("cannot run dpkg-deb; install dpkg")?;
            if !status.success() {
                bail!("cannot unpack {name}: dpkg-deb failed ({status})");
            }
        }
        Ok(())
    }

    fn cached_or(
        dir: PathBuf,
        asked: &[&str],
        update: bool,
        fetch: impl FnOnce(&Path) -> Result<Option<String>>,
    ) -> Result<Self> {
        if let Some(packages) = Self::cached(&dir)?
            && packages.manifest.asked == asked
            && !update
        {
            return Ok(packages);
        }
        // An interrupted fetch leaves no manifest, and so no cache entry.
        let staging = partial(&dir);
        remove_dir(&staging)?;
        fs::create_dir_all(&staging).with_context(|| format!("cannot create {}", staging.display()))?;
        let release = fetch(&staging)?;
        let mut names = Vec::new();
        for entry in fs::read_dir(&staging).context("cannot list the fetched packages")? {
            let name = entry.context("cannot list the fetched packages")?.file_name();
            let name = name.into_string().map_err(|name| anyhow::anyhow!("invalid package file name {name:?}"))?;
            if name.ends_with(".deb") {
                names.push(name);
            }
        }
        names.sort();
        if names.is_empty() {
            bail!("cannot fetch packages: apt downloaded none to {}", staging.display());
        }
        let files = sha256_files(&staging, &names.iter().map(String::as_str).collect::<Vec<_>>())?;
        let asked = asked.iter().copied().map(str::to_owned).collect();
        let manifest = Manifest { asked, release, files };
        let text = serde_json::to_string_pretty(&manifest).context("cannot write a manifest")?;
        fs::write(staging.join(MANIFEST), text).context("cannot write a manifest")?;
        remove_dir(&dir)?;
        fs::rename(&staging, &dir).with_context(|| format!("cannot create {}", dir.display()))?;
        Ok(Self { dir, manifest })
    }
}

/// The temporary name of a directory that is being created. (Names contain dots, so `with_extension` does not work.)
pub(crate) fn partial(dir: &Path) -> PathBuf {
    let mut name = dir.as_os_str().to_owned();
    name.push(".partial");
    name.into()
}

/// Removes a directory tree if it is there.
pub(crate) fn remove_dir(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", dir.display()))
        }
        _ => Ok(()),
    }
}

/// The SHA-256 of a text, in hexadecimal.
pub(crate) fn sha256_text(text: &str) -> Result<String> {
    let mut child = Command::new("sha256sum")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run sha256sum (coreutils)")?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(text.as_bytes()).context("cannot write to sha256sum")?;
    }
    let output = child.wait_with_output().context("cannot read from sha256sum")?;
    let hex = String::from_utf8_lossy(&output.stdout);
    hex.split_whitespace().next().map(str::to_owned).context("sha256sum printed nothing")
}

fn sha256_files(dir: &Path, names: &[&str]) -> Result<BTreeMap<String, String>> {
    let output = Command::new("sha256sum").current_dir(dir).arg("--").args(names).output();
    let output = output.context("cannot run sha256sum (coreutils)")?;
    if !output.status.success() {
        bail!("sha256sum failed in {}: {}", dir.display(), String::from_utf8_lossy(&output.stderr).trim());
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let pairs = text.lines().filter_map(|line| line.split_once("  "));
    Ok(pairs.map(|(hex, name)| (name.to_owned(), hex.to_owned())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A changed or missing file is an error.
    #[test]
    fn changed_or_missing_file_is_detected() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a.deb"), "one").unwrap();
        let files = sha256_files(dir.path(), &["a.deb"]).unwrap();
        let packages =
            Packages { dir: dir.path().to_owned(), manifest: Manifest { asked: Vec::new(), release: None, files } };
        packages.verify().unwrap();
        fs::write(dir.path().join("a.deb"), "two").unwrap();
        assert!(packages.verify().is_err());
        fs::remove_file(dir.path().join("a.deb")).unwrap();
        assert!(packages.verify().is_err());
    }

    /// The cache is used only for the same packages, and only without an update.
    #[test]
    fn cache_is_used_for_the_same_packages() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("suite");
        let fetches = std::cell::Cell::new(0);
        let get = |asked: &[&str], update| {
            Packages::cached_or(dir.clone(), asked, update, |into| {
                fetches.set(fetches.get() + 1);
                fs::write(into.join("a.deb"), "one").context("test")?;
                Ok(None)
            })
            .unwrap()
            .verify()
            .unwrap();
            fetches.get()
        };
        assert_eq!((get(&["kmod"], false), get(&["kmod"], false)), (1, 1));
        assert_eq!(get(&["kmod", "dash"], false), 2);
        assert_eq!(get(&["kmod", "dash"], true), 3);
    }

    /// The text digest is the standard SHA-256.
    #[test]
    fn digests_text() {
        assert!(sha256_text("abc").unwrap().starts_with("ba7816bf8f01cfea"));
    }
}
