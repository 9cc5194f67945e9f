//! Paths of the project.

use std::path::PathBuf;

use crate::setup;
use crate::toolchain::probe;

/// Working directories of the virtual machines.
#[derive(Debug, Clone)]
pub(crate) struct Paths {
    /// Cargo's target directory.
    pub(crate) target: PathBuf,
    /// The cache of packages, images and runs.
    pub(crate) vm: PathBuf,
}

impl Paths {
    /// The paths for the current workspace.
    pub(crate) fn new() -> Self {
        let target = probe::target_dir(&setup::workspace());
        Self { vm: target.join("vm"), target }
    }
}
