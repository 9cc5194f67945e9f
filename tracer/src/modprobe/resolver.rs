//! What modprobe would do, kept up to date: its configuration is read again when a file of it changed.

use std::{
    path::{Path, PathBuf},
    time::SystemTime,
};

use super::{
    Resolution,
    config::{Config, Modprobe, ModprobeError},
    index::ModuleIndex,
    resolve::resolve,
};
use crate::kernel::{FactError, facts::Facts};

/// Files of a kernel's modules that decide what a name leads to. modprobe reads the `.bin` forms.
const INDEX_FILES: [&str; 9] = [
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

/// Why it is not known what modprobe would do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResolverError {
    /// Its configuration is not known.
    #[error("what modprobe would do is not known")]
    Modprobe(#[from] ModprobeError),
    /// The kernel's modules are not known.
    #[error("what modules this kernel has is not known")]
    Index(#[from] FactError),
}

/// A file, and what tells one version of it from the next. `None` when there is none, or none that we may
/// see: modprobe itself reports what it cannot read.
type Stamp = (PathBuf, Option<(SystemTime, u64)>);

/// The installed modprobe's configuration and the kernel's modules.
#[derive(Debug)]
pub struct Resolver {
    modprobe: Modprobe,
    stamps: Vec<Stamp>,
    config: Config,
    index: ModuleIndex,
}

impl Resolver {
    /// Asks the installed modprobe, and reads the kernel's modules.
    ///
    /// # Errors
    /// When either is missing.
    pub fn new(modprobe: Modprobe) -> Result<Self, ResolverError> {
        // Before reading: a change in between is then found by the next refresh.
        let stamps = stamps(&modprobe);
        let config = modprobe.show_config()?;
        let index = ModuleIndex::load(&modprobe.module_directory())?;
        Ok(Self { modprobe, stamps, config, index })
    }

    /// Asks the modprobe that the kernel would run, or the usual one where that is none, about the running kernel.
    ///
    /// # Errors
    /// See [`Resolver::new`]; also when the kernel's release is not known.
    pub fn installed(facts: &Facts) -> Result<Self, ResolverError> {
        let configured = facts.modprobe().ok().map(PathBuf::from).filter(|path| path.is_file());
        let program = configured.unwrap_or_else(|| PathBuf::from("/sbin/modprobe"));
        Self::new(Modprobe::new(program, facts.release()?))
    }

    /// Does so again if a file changed; true when one did. On error the old answers stay.
    ///
    /// # Errors
    /// See [`Resolver::new`].
    pub fn refresh(&mut self) -> Result<bool, ResolverError> {
        if stamps(&self.modprobe) == self.stamps {
            return Ok(false);
        }
        *self = Self::new(self.modprobe.clone())?;
        Ok(true)
    }

    /// What modprobe would do with a name, as of the last [`Resolver::refresh`].
    #[must_use]
    pub fn resolve(&self, name: &[u8]) -> Resolution {
        resolve(&self.config, &self.index, name)
    }

    /// The modprobe that was asked.
    #[must_use]
    pub const fn modprobe(&self) -> &Modprobe {
        &self.modprobe
    }

    /// The configuration.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// The kernel's modules.
    #[must_use]
    pub const fn index(&self) -> &ModuleIndex {
        &self.index
    }
}

fn stamps(modprobe: &Modprobe) -> Vec<Stamp> {
    let directory = modprobe.module_directory();
    let mut stamps: Vec<Stamp> = INDEX_FILES.iter().map(|name| stamp(directory.join(name))).collect();
    for directory in modprobe.config_directories() {
        let entries = std::fs::read_dir(&directory).into_iter().flatten().flatten();
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| is_config(path)).collect();
        files.sort_unstable();
        stamps.push(stamp(directory));
        stamps.extend(files.into_iter().map(stamp));
    }
    stamps
}

fn is_config(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "conf" || extension == "alias")
}

fn stamp(path: PathBuf) -> Stamp {
    let metadata = std::fs::metadata(&path);
    let version = metadata.and_then(|metadata| Ok((metadata.modified()?, metadata.len())));
    (path, version.ok())
}

#[cfg(test)]
mod tests;
