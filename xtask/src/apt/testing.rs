//! Test fixtures: a repository on disk, and a `Progress` that records notes.

use std::cell::RefCell;
use std::fmt::{self, Write as _};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use super::archive::{Archive, HostSettings, Progress};
use super::mirrors::Mirror;

/// The suite of the repository. It has no security archive.
pub(crate) const SUITE: &str = "testing";

/// One package of a repository.
#[derive(Clone, Debug)]
pub(crate) struct Package {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    pub(crate) depends: &'static str,
    pub(crate) source: &'static str,
    pub(crate) breaks: &'static str,
}

/// A package without dependencies, whose source has the same name.
pub(crate) const fn package(name: &'static str, version: &'static str) -> Package {
    Package { name, version, depends: "", source: name, breaks: "" }
}

/// A repository for apt's `copy:` method, which needs no network.
#[derive(Debug)]
pub(crate) struct Repository {
    root: PathBuf,
}

impl Repository {
    /// Creates an archive below `root` with these packages.
    pub(crate) fn create(root: PathBuf, suite: &str, packages: &[Package]) -> Self {
        let repository = Self { root };
        let mut index = String::new();
        for package in packages {
            let path = repository.deb(package.name, package.version);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let text = format!("{} {}\n", package.name, package.version);
            fs::write(&path, &text).unwrap();
            let relations = [("Depends", package.depends), ("Breaks", package.breaks)];
            let relations = relations.into_iter().filter(|(_, value)| !value.is_empty());
            let relations: String = relations.map(|(name, value)| format!("{name}: {value}\n")).collect();
            write!(
                index,
                "Package: {}\nSource: {}\nVersion: {}\nArchitecture: amd64\nMaintainer: Test\n{relations}\
                 Filename: {}\nSize: {}\nSHA256: {}\nDescription: none\n\n",
                package.name,
                package.source,
                package.version,
                path.strip_prefix(&repository.root).unwrap().display(),
                text.len(),
                sha256(&path)
            )
            .unwrap();
        }
        let packages = repository.index(suite);
        fs::create_dir_all(packages.parent().unwrap()).unwrap();
        fs::write(&packages, &index).unwrap();
        repository.release(suite, &index);
        repository
    }

    /// Writes the release file. If `index` differs from the actual index, they are inconsistent.
    fn release(&self, suite: &str, index: &str) {
        let path = self.index(suite);
        let hash = sha256(&path);
        // As in Debian: apt uses such a release only for packages that are requested or installed from it.
        let automatic =
            if suite.ends_with("-backports") { "NotAutomatic: yes\nButAutomaticUpgrades: yes\n" } else { "" };
        let text = format!(
            "Origin: test\nSuite: {suite}\nCodename: {suite}\nDate: Sat, 01 Jan 2022 00:00:00 +0000\n\
             Architectures: amd64\nComponents: main\n{automatic}SHA256:\n {hash} {} main/binary-amd64/Packages\n",
            index.len()
        );
        fs::write(self.root.join("dists").join(suite).join("Release"), text).unwrap();
    }

    fn index(&self, suite: &str) -> PathBuf {
        self.root.join("dists").join(suite).join("main/binary-amd64/Packages")
    }

    /// The path of a package file in the pool.
    pub(crate) fn deb(&self, name: &str, version: &str) -> PathBuf {
        // The pool omits epochs, as Debian's does.
        let version = version.split_once(':').map_or(version, |(_, version)| version);
        self.root.join(format!("pool/{name}_{version}_amd64.deb"))
    }

    /// Simulates an unfinished update: the release file lists a newer index.
    pub(super) fn begin_update(&self, suite: &str) {
        let index = fs::read_to_string(self.index(suite)).unwrap();
        fs::write(self.index(suite), format!("{index}\n\n")).unwrap();
        self.release(suite, &format!("{index}\n\n"));
        fs::write(self.index(suite), index).unwrap();
    }

    /// Finishes the update: the index matches the release file.
    pub(super) fn end_update(&self, suite: &str) {
        let index = fs::read_to_string(self.index(suite)).unwrap();
        fs::write(self.index(suite), format!("{index}\n\n")).unwrap();
    }

    /// Its address.
    pub(super) fn uri(&self) -> String {
        format!("copy:{}", self.root.display())
    }

    /// A mirror with this repository as the main archive.
    pub(super) fn mirror(&self) -> Mirror {
        Mirror { debian: self.uri(), security: String::from("copy:/nonexistent"), frozen: false }
    }
}

fn sha256(path: &Path) -> String {
    let output = Command::new("sha256sum").arg(path).output().unwrap();
    String::from_utf8(output.stdout).unwrap().split(' ').next().unwrap().to_owned()
}

/// Settings for mirrors without signatures.
pub(super) fn settings(mirrors: Vec<Mirror>) -> HostSettings {
    HostSettings { mirrors, trust: "trusted=yes".to_owned(), network: String::new(), environment: Vec::new() }
}

/// The test suite, from these mirrors.
pub(crate) fn archive(dir: &Path, mirrors: &[&Repository], watcher: &Watcher) -> Archive {
    let mirrors = mirrors.iter().map(|repository| repository.mirror()).collect();
    Archive::new(&dir.join("apt"), SUITE, settings(mirrors), watcher.clone())
}

/// Records notes and pauses, and runs a function instead of waiting.
#[derive(Clone, Default)]
pub(crate) struct Watcher {
    pub(super) notes: Rc<RefCell<Vec<String>>>,
    pub(super) pauses: Rc<RefCell<Vec<Duration>>>,
    on_pause: Option<Rc<dyn Fn()>>,
}

impl Watcher {
    /// A watcher that runs `work` at each pause.
    pub(crate) fn on_pause(work: impl Fn() + 'static) -> Self {
        Self { on_pause: Some(Rc::new(work)), ..Self::default() }
    }

    /// Whether a note contains a text.
    pub(crate) fn has_noted(&self, words: &str) -> bool {
        self.notes.borrow().iter().any(|note| note.contains(words))
    }
}

impl fmt::Debug for Watcher {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:?}", self.notes.borrow())
    }
}

impl Progress for Watcher {
    fn note(&self, note: &str) {
        self.notes.borrow_mut().push(note.to_owned());
    }

    fn pause(&self, time: Duration) {
        self.pauses.borrow_mut().push(time);
        if let Some(work) = &self.on_pause {
            work();
        }
    }
}
