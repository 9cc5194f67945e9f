//! The resolver: reads the configuration again when one of its files has changed.

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
use crate::kernel::{ReadError, sysinfo::SystemInfo};

/// Index files that affect resolution. modprobe reads the `.bin` forms.
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

/// Why names cannot be resolved.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResolverError {
    /// The configuration is unknown.
    #[error("cannot determine what modprobe would do")]
    Modprobe(#[from] ModprobeError),
    /// The modules of the kernel are unknown.
    #[error("cannot read the modules of this kernel")]
    Index(#[from] ReadError),
}

/// A file and its version. `None` if there is no readable file: modprobe itself reports files that it cannot read.
type Stamp = (PathBuf, Option<(SystemTime, u64)>);

/// The configuration of the installed modprobe and the index of the kernel's modules.
#[derive(Debug)]
pub struct Resolver {
    modprobe: Modprobe,
    stamps: Vec<Stamp>,
    config: Config,
    index: ModuleIndex,
}

impl Resolver {
    /// Reads the configuration of a modprobe and the index of the modules.
    ///
    /// # Errors
    /// If either is missing.
    pub fn new(modprobe: Modprobe) -> Result<Self, ResolverError> {
        // Taken before reading, so that the next refresh detects a change in between.
        let stamps = stamps(&modprobe);
        let config = modprobe.show_config()?;
        let index = ModuleIndex::load(&modprobe.module_directory())?;
        Ok(Self { modprobe, stamps, config, index })
    }

    /// Uses the modprobe of `kernel.modprobe`, or the default one if that does not exist, for the running kernel.
    ///
    /// # Errors
    /// See [`Resolver::new`]; also if the kernel release is unknown.
    pub fn installed(sysinfo: &SystemInfo) -> Result<Self, ResolverError> {
        let configured = sysinfo.modprobe().ok().map(PathBuf::from).filter(|path| path.is_file());
        let program = configured.unwrap_or_else(|| PathBuf::from("/sbin/modprobe"));
        Self::new(Modprobe::new(program, sysinfo.release()?))
    }

    /// Reads everything again if a file has changed; returns whether one did. On error the previous state is kept.
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
