//! Building a bpf-linker that fits a compiler.

use std::env;
use std::ffi::OsString;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::probe;

/// The release that is built.
const VERSION: &str = "0.13.0";
/// The LLVM versions that release can be built with.
pub(crate) const LLVM_MAJORS: RangeInclusive<u32> = 21..=23;

/// The Debian package with the library that the linker is built on.
pub(crate) fn debian_package(llvm_major: u32) -> String {
    format!("llvm-{llvm_major}-dev")
}

/// Whether that library is here.
pub(crate) fn has_library(llvm_major: u32) -> bool {
    library_prefix(llvm_major).join("lib/libLLVM.so").exists()
}

/// Builds the linker into the project's own tools: nothing outside the target directory changes.
pub(crate) fn install(workspace: &Path, llvm_major: u32) -> Command {
    let mut command = Command::new(cargo());
    command
        .args(["install", "bpf-linker", "--version", VERSION, "--locked", "--no-default-features", "--features"])
        .arg(format!("llvm-{llvm_major}"))
        .arg("--root")
        .arg(probe::tools_root(&probe::tools_dir(workspace), llvm_major))
        // Several may be installed: left alone, the linker's build takes the first library directory it finds.
        .env("LLVM_PREFIX", library_prefix(llvm_major))
        // LLVM does the work: the program around it is built for a short build.
        .env("CARGO_PROFILE_RELEASE_DEBUG", "0")
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1");
    command
}

/// The cargo that runs this program.
pub(crate) fn cargo() -> OsString {
    env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// Where Debian keeps one version of LLVM.
fn library_prefix(llvm_major: u32) -> PathBuf {
    PathBuf::from(format!("/usr/lib/llvm-{llvm_major}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_linker_is_built_with_the_llvm_that_is_asked_for() {
        let shown = crate::shell::show(&install(Path::new("/project"), 22));
        assert!(shown.contains("LLVM_PREFIX=/usr/lib/llvm-22 "), "{shown}");
        assert!(shown.contains(" --no-default-features --features llvm-22 "), "{shown}");
        assert!(shown.ends_with("tools/llvm-22"), "{shown}");
    }
}
