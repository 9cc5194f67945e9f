//! Where things are.

use std::path::PathBuf;

use crate::setup;
use crate::toolchain::probe;

/// The directories the rig works in.
#[derive(Debug, Clone)]
pub(crate) struct Paths {
    /// Cargo's target directory.
    pub(crate) target: PathBuf,
    /// The rig's own cache.
    pub(crate) vm: PathBuf,
}

impl Paths {
    /// Finds them as the rest of xtask does.
    pub(crate) fn new() -> Self {
        let target = probe::target_dir(&setup::workspace());
        Self { vm: target.join("vm"), target }
    }
}
