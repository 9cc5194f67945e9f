//! Builds a bpf-linker that matches a compiler.

use std::env;
use std::ffi::OsString;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::probe;

/// The release that is built.
const VERSION: &str = "0.13.0";
/// The LLVM versions that this release supports.
pub(crate) const LLVM_MAJORS: RangeInclusive<u32> = 21..=23;

/// The Debian package with the LLVM library of the linker.
pub(crate) fn debian_package(llvm_major: u32) -> String {
    format!("llvm-{llvm_major}-dev")
}

/// Whether this library is installed.
pub(crate) fn has_library(llvm_major: u32) -> bool {
    library_prefix(llvm_major).join("lib/libLLVM.so").exists()
}

/// The command that builds the linker in the target directory.
pub(crate) fn install(workspace: &Path, llvm_major: u32) -> Command {
    let mut command = Command::new(cargo());
    command
        .args(["install", "bpf-linker", "--version", VERSION, "--locked", "--no-default-features", "--features"])
        .arg(format!("llvm-{llvm_major}"))
        .arg("--root")
        .arg(probe::tools_root(&probe::tools_dir(workspace), llvm_major))
        // Without it, the build uses the first LLVM that it finds, and several may be installed.
        .env("LLVM_PREFIX", library_prefix(llvm_major))
        // LLVM does most of the work, so optimize the linker itself for build time.
        .env("CARGO_PROFILE_RELEASE_DEBUG", "0")
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1");
    command
}

/// The cargo that started this program.
pub(crate) fn cargo() -> OsString {
    env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// The directory of an LLVM version in Debian.
fn library_prefix(llvm_major: u32) -> PathBuf {
    PathBuf::from(format!("/usr/lib/llvm-{llvm_major}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linker_is_built_with_requested_llvm() {
        let shown = crate::shell::show(&install(Path::new("/project"), 22));
        assert!(shown.contains("LLVM_PREFIX=/usr/lib/llvm-22 "), "{shown}");
        assert!(shown.contains(" --no-default-features --features llvm-22 "), "{shown}");
        assert!(shown.ends_with("tools/llvm-22"), "{shown}");
    }
}
