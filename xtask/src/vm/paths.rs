//! Where things are.

use std::path::{Path, PathBuf};

/// The directories the rig works in.
#[derive(Debug, Clone)]
pub(crate) struct Paths {
    /// The workspace's root.
    pub(crate) workspace: PathBuf,
    /// Cargo's target directory.
    pub(crate) target: PathBuf,
    /// The rig's own cache.
    pub(crate) vm: PathBuf,
}

impl Paths {
    /// Finds them from where this package was built.
    pub(crate) fn new() -> Self {
        let package = Path::new(env!("CARGO_MANIFEST_DIR"));
        let workspace = package.parent().unwrap_or(package).to_owned();
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace.join("target"), PathBuf::from);
        Self { vm: target.join("vm"), workspace, target }
    }
}
