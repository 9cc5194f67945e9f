//! The resolver: reads the configuration again when one of its files has changed.

use std::{
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::{
    Resolution,
    config::Config,
    files,
    helper::{self, Asked},
    index::{self, IndexError, ModuleIndex},
    names::lossless,
    program::{Modprobe, ModprobeError},
    resolve::resolve,
    sources::Sources,
};
use crate::{
    causes::with_causes,
    environment::{HelperView, ViewError},
    glob,
    kernel::{ReadError, sysinfo::SystemInfo},
};

/// Index files that affect resolution. modprobe reads the `.bin` forms.
const INDEX_FILES: [&str; 10] = [
    "modules.alias",
    "modules.dep",
    "modules.dep.bin",
    "modules.alias.bin",
    "modules.symbols.bin",
    "modules.softdep",
    "modules.builtin",
    "modules.builtin.bin",
    "modules.builtin.modinfo",
    "modules.builtin.alias.bin",
];

/// Why names cannot be resolved.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResolverError {
    /// The configuration is unknown.
    #[error("cannot determine what modprobe would do")]
    Modprobe(#[from] ModprobeError),
    /// modprobe cannot use the modules of the kernel.
    #[error("cannot use the modules of this kernel")]
    Modules(#[from] IndexError),
    /// The modules of the kernel are unknown.
    #[error("cannot read the modules of this kernel")]
    Index(#[from] ReadError),
    /// The files of the kernel's helper cannot be reached.
    #[error(transparent)]
    View(#[from] ViewError),
}

/// A file and its version. `None` if there is no such file, or it cannot be examined.
type Stamp = (PathBuf, Option<Version>);

/// The version of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Version {
    /// When it was written, replaced or moved, nanoseconds since 1970.
    changed_ns: i64,
    bytes: u64,
    inode: u64,
}

/// Interval of retries of a modprobe that does not tell its configuration. Each may take as long as the limit of a run.
const RETRY: Duration = Duration::from_secs(60);

/// Why it is unknown what modprobe would do, for outcomes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unresolved {
    /// The modules of the running kernel are not on disk.
    NoModules(String),
    /// An index of the modules cannot be used.
    Index(String),
    /// The configuration of the helper is unknown.
    Config(String),
}

impl From<&ResolverError> for Unresolved {
    fn from(error: &ResolverError) -> Self {
        match error {
            ResolverError::Modules(error @ IndexError::NoModules { .. }) => Self::NoModules(error.to_string()),
            ResolverError::Modules(error @ IndexError::Unusable { .. }) => Self::Index(error.to_string()),
            error => Self::Config(with_causes(error)),
        }
    }
}

/// Why the answers may differ from what the kernel's helper does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Doubts {
    /// The helper was not asked, since users other than root may be able to change it.
    pub helper: Option<String>,
    /// It did not tell its configuration. Names are resolved by the aliases of the modules alone.
    pub config: Option<String>,
    /// It loads other modules than those of the running kernel's directory.
    pub modules: Option<String>,
    /// Files and directories of its configuration that cannot be read.
    pub unreadable: Vec<PathBuf>,
}

impl Doubts {
    /// All of them as sentences; none if the answers are certain.
    #[must_use]
    pub fn sentences(&self) -> Vec<String> {
        let unreadable = self.unreadable.iter().map(|path| format!("{} cannot be read; root can", path.display()));
        self.helper.iter().chain(&self.config).chain(&self.modules).cloned().chain(unreadable).collect()
    }
}

/// The configuration of the installed modprobe and the index of the kernel's modules.
#[derive(Debug)]
pub struct Resolver {
    /// The running system, whose helper is asked; `None` for one program.
    system: Option<SystemInfo>,
    /// Where the files of the helper are.
    view: HelperView,
    modprobe: Modprobe,
    stamps: Vec<Stamp>,
    config: Config,
    index: ModuleIndex,
    doubts: Doubts,
    read: Instant,
}

impl Resolver {
    /// Reads the configuration of a modprobe and the index of the modules. The caller trusts the program.
    ///
    /// # Errors
    /// If either is missing.
    pub fn new(modprobe: Modprobe) -> Result<Self, ResolverError> {
        // Taken before reading, so that the next refresh detects a change in between.
        let stamps = stamps(&modprobe);
        let directory = modprobe.module_directory();
        index::check(&directory)?;
        let mut config = modprobe.show_config()?;
        config.add_sources(Sources::read(&modprobe.config_directories(), Path::new("/")));
        let index = ModuleIndex::load(&directory)?;
        let doubts = Doubts { unreadable: files::unreadable(&modprobe.config_directories()), ..Doubts::default() };
        Ok(Self { system: None, view: HelperView::Own, modprobe, stamps, config, index, doubts, read: Instant::now() })
    }

    /// As [`Self::new`] for the usual modprobe and an installed kernel.
    ///
    /// # Errors
    /// See [`Self::new`]; also if root is not the only one who can change modprobe.
    pub fn of_release(release: &str) -> Result<Self, ResolverError> {
        let modprobe = Modprobe::new(helper::USUAL, release);
        modprobe.check_trust()?;
        Self::new(modprobe)
    }

    /// Uses the modprobe of `kernel.modprobe` for the running kernel; the usual one if that does not exist, or if users other than
    /// root may be able to change it. If it does not tell its configuration, names are resolved by the aliases of the modules.
    ///
    /// # Errors
    /// See [`Self::of_release`]; also if the kernel release is unknown.
    pub fn installed(sysinfo: &SystemInfo) -> Result<Self, ResolverError> {
        Self::installed_in(sysinfo, helper_view(sysinfo))
    }

    /// As [`Self::installed`], for a view that was found earlier.
    pub(super) fn installed_in(sysinfo: &SystemInfo, view: HelperView) -> Result<Self, ResolverError> {
        let found = view.with(|| Self::of_helper(sysinfo, helper::asked(sysinfo)))?;
        Ok(Self { view, ..found? })
    }

    fn of_helper(sysinfo: &SystemInfo, Asked { program, doubt }: Asked) -> Result<Self, ResolverError> {
        let modprobe = Modprobe::new(program, sysinfo.release()?);
        modprobe.check_trust()?;
        let (mut resolver, config_error) = match Self::new(modprobe.clone()) {
            Ok(resolver) => (resolver, None),
            Err(ResolverError::Modprobe(error)) => (Self::without_config(modprobe)?, Some(with_causes(&error))),
            Err(error) => return Err(error),
        };
        resolver.system = Some(sysinfo.clone());
        resolver.doubts.helper = doubt;
        resolver.doubts.config = config_error;
        // A program of its own may run modprobe with --dirname.
        if resolver.doubts.config.is_none()
            && !helper::is_same_file(&resolver.modprobe.program, Path::new(helper::USUAL))
        {
            resolver.doubts.modules = resolver.other_modules();
        }
        Ok(resolver)
    }

    /// Reports it if modprobe loads a module from another directory than that of the running kernel.
    fn other_modules(&self) -> Option<String> {
        let directory = self.modprobe.module_directory();
        let module = self.index.names().find(|name| self.index.file(name).is_some_and(|file| file.needs.is_empty()))?;
        let paths = self.modprobe.paths_of(module).ok()?;
        let (own, path) = (std::fs::canonicalize(&directory).ok()?, paths.into_iter().next()?);
        let found = std::fs::canonicalize(&path).unwrap_or(path);
        (!found.starts_with(&own)).then(|| {
            let program = self.modprobe.program.display();
            format!(
                "kernel.modprobe is {program}, which loads {} and not the modules of {}",
                found.display(),
                directory.display()
            )
        })
    }

    /// A resolver by the files of the modules alone.
    fn without_config(modprobe: Modprobe) -> Result<Self, ResolverError> {
        let stamps = stamps(&modprobe);
        let directory = modprobe.module_directory();
        let config = Config::of_aliases(&index::aliases_on_disk(&directory)?);
        let index = ModuleIndex::load(&directory)?;
        Ok(Self {
            system: None,
            view: HelperView::Own,
            modprobe,
            stamps,
            config,
            index,
            doubts: Doubts::default(),
            read: Instant::now(),
        })
    }

    /// Reads everything again if a file has changed; returns whether an answer may have changed. Another program in
    /// `kernel.modprobe` is a doubt, but is not asked: it may take long, or do something. On error the previous state is kept,
    /// which is no longer that of the system.
    ///
    /// # Errors
    /// See [`Resolver::new`].
    pub fn refresh(&mut self) -> Result<bool, ResolverError> {
        let view = self.view.clone();
        let refreshed = view.with(|| self.refresh_here())?;
        self.view = view;
        refreshed
    }

    fn refresh_here(&mut self) -> Result<bool, ResolverError> {
        let is_same = stamps(&self.modprobe) == self.stamps;
        match self.system.clone() {
            None if is_same => Ok(false),
            None => {
                *self = Self::new(self.modprobe.clone())?;
                Ok(true)
            }
            Some(system) => {
                let doubt = helper::doubt_of(&system, &self.modprobe.program);
                let is_certain = self.doubts.config.is_none() || self.read.elapsed() < RETRY;
                if is_same && is_certain {
                    let is_changed = doubt != self.doubts.helper;
                    self.doubts.helper = doubt;
                    return Ok(is_changed);
                }
                let program = self.modprobe.program.clone();
                *self = Self::of_helper(&system, Asked { program, doubt })?;
                Ok(true)
            }
        }
    }

    /// What modprobe would do with a name, as of the last [`Resolver::refresh`].
    #[must_use]
    pub fn resolve(&self, name: &[u8]) -> Resolution {
        resolve(&self.config, &self.index, name)
    }

    /// Whether a module has this name or alias, according to the index of the modules: a fact that no configuration changes.
    #[must_use]
    pub fn carries(&self, name: &[u8], module: &str) -> bool {
        let Some(name) = glob::normalize(name) else { return false };
        let name = lossless(&name);
        name == module || self.config.indexed(name.as_bytes()).any(|carrier| carrier == module)
    }

    /// What is wrong with the file of a module now; `None` if it can be read.
    #[must_use]
    pub fn file_problem(&self, module: &str) -> Option<String> {
        let problem = || self.index.file_problem(&self.modprobe.module_directory(), module);
        self.view.with(problem).unwrap_or_else(|error| Some(error.to_string()))
    }

    /// A file or directory of the configuration or of the indexes that was changed after a time (nanoseconds since 1970).
    pub(super) fn changed_since(&self, realtime_ns: i64) -> Option<&Path> {
        let is_later = |(_, version): &&Stamp| version.is_some_and(|version| version.changed_ns > realtime_ns);
        self.stamps.iter().find(is_later).map(|(path, _)| path.as_path())
    }

    /// Where the files of the helper are. A rule that is written elsewhere has no effect.
    #[must_use]
    pub const fn view(&self) -> &HelperView {
        &self.view
    }

    /// Why the answers may differ from what the kernel's helper does.
    #[must_use]
    pub const fn doubts(&self) -> &Doubts {
        &self.doubts
    }

    /// The modprobe.
    #[must_use]
    pub const fn modprobe(&self) -> &Modprobe {
        &self.modprobe
    }

    /// The configuration.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// The index of the kernel's modules.
    #[must_use]
    pub const fn index(&self) -> &ModuleIndex {
        &self.index
    }
}

/// Where the files of the kernel's helper are.
pub(crate) fn helper_view(sysinfo: &SystemInfo) -> HelperView {
    let program = sysinfo.modprobe().ok().filter(|path| !path.is_empty());
    let modprobe = Modprobe::new(
        program.map_or_else(|| PathBuf::from(helper::USUAL), |path| Path::new("/").join(path)),
        sysinfo.release().unwrap_or_default(),
    );
    let paths = [modprobe.program.clone(), modprobe.module_directory()];
    HelperView::find(sysinfo.root(), &paths, &modprobe.config_directories())
}

fn stamps(modprobe: &Modprobe) -> Vec<Stamp> {
    let directory = modprobe.module_directory();
    let mut stamps: Vec<Stamp> = INDEX_FILES.iter().map(|name| stamp(directory.join(name))).collect();
    stamps.push(stamp(modprobe.program.clone()));
    stamps.push(stamp(directory));
    for directory in modprobe.config_directories() {
        let entries = std::fs::read_dir(&directory).into_iter().flatten().flatten();
        let mut found: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| files::is_config(path)).collect();
        found.sort_unstable();
        stamps.push(stamp(directory));
        stamps.extend(found.into_iter().map(stamp));
    }
    stamps
}

fn stamp(path: PathBuf) -> Stamp {
    let version = std::fs::metadata(&path).ok().map(|metadata| Version {
        changed_ns: metadata.ctime().saturating_mul(1_000_000_000).saturating_add(metadata.ctime_nsec()),
        bytes: metadata.len(),
        inode: metadata.ino(),
    });
    (path, version)
}

#[cfg(test)]
mod tests;
