//! `cargo xtask build`: static binaries, each a single file that runs in any guest.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::requirements::Purpose;
use crate::setup;
use crate::shell;
use crate::toolchain::{linker, probe};

/// The profile of distributed binaries.
const PROFILE: &str = "dist";
/// Links the C library into the binary.
const STATIC: [&str; 2] = ["-C", "target-feature=+crt-static"];

/// Options of the build.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Options {}

/// A binary of the workspace.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Binary {
    /// Its package.
    pub(crate) package: &'static str,
    /// Its name.
    pub(crate) name: &'static str,
    /// Whether it is an example of the package.
    pub(crate) is_example: bool,
}

/// The tool itself.
pub(crate) const KMODTRACE: Binary = Binary { package: "kmodtrace", name: "kmodtrace", is_example: false };

/// The example that traces with the library.
pub(crate) const TRACE_LIVE: Binary = Binary { package: "kmodtrace", name: "trace_live", is_example: true };

/// Builds the tool and prints its path.
pub(crate) fn verb(_options: &Options) -> Result<ExitCode> {
    println!("{}", run()?.display());
    Ok(ExitCode::SUCCESS)
}

/// Sets up the requirements of the build, and builds the tool in `target/dist`.
pub(crate) fn run() -> Result<PathBuf> {
    setup::run(Purpose::Build)?;
    static_binary(KMODTRACE)
}

/// Builds one static binary in `target/dist`.
pub(crate) fn static_binary(binary: Binary) -> Result<PathBuf> {
    let workspace = setup::workspace();
    let target = probe::target_dir(&workspace);
    let triple = host_triple()?;
    let mut command = Command::new(linker::cargo());
    let kind = if binary.is_example { "--example" } else { "--bin" };
    command
        .current_dir(&workspace)
        .args(["build", "--package", binary.package, kind, binary.name, "--profile", PROFILE])
        // With an explicit target, build scripts and procedural macros, which cannot be static, are not affected.
        .args(["--target", &triple])
        .arg("--target-dir")
        .arg(&target);
    link_statically(&mut command, &triple);
    // A binary without its eBPF object cannot trace.
    command.env("KMODTRACE_EBPF", "require");
    shell::run(&mut command)?;
    let directory = target.join(&triple).join(PROFILE);
    let directory = if binary.is_example { directory.join("examples") } else { directory };
    let built = directory.join(binary.name);
    let installed = target.join(PROFILE).join(binary.name);
    install_file(&built, &installed)?;
    Ok(installed)
}

/// Adds the flag to those in the environment, because these variables override the command line.
fn link_statically(command: &mut Command, triple: &str) {
    let extended = |variable: &str, separator: &str| {
        let mut flags = env::var_os(variable).filter(|flags| !flags.is_empty())?;
        flags.push(separator);
        flags.push(STATIC.join(separator));
        Some(flags)
    };
    if let Some(flags) = extended("CARGO_ENCODED_RUSTFLAGS", "\x1f") {
        command.env("CARGO_ENCODED_RUSTFLAGS", flags);
    } else if let Some(flags) = extended("RUSTFLAGS", " ") {
        command.env("RUSTFLAGS", flags);
    } else {
        command.arg("--config").arg(format!("target.{triple}.rustflags={STATIC:?}"));
    }
}

/// The target triple of this machine, from the compiler.
fn host_triple() -> Result<String> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = probe::query(Command::new(rustc).arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("`rustc -vV` does not print its host")
}

/// Installs the binary, unless it is unchanged, so that images that contain it need not be packed again.
fn install_file(built: &Path, installed: &Path) -> Result<()> {
    let bytes = fs::read(built).with_context(|| format!("cargo did not create {}", built.display()))?;
    if is_dynamic(&bytes) {
        bail!("cannot use {}: it has a dynamic loader, expected a static binary", built.display());
    }
    if fs::read(installed).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    let dir = installed.parent().context("the path of the binary has no directory")?;
    fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    // A running program cannot be overwritten, but it can be replaced. Another build may do the same at the same time.
    let mut fresh = installed.as_os_str().to_owned();
    fresh.push(format!(".{}", std::process::id()));
    fs::copy(built, &fresh).with_context(|| format!("cannot write {}", fresh.display()))?;
    fs::rename(&fresh, installed).with_context(|| format!("cannot replace {}", installed.display()))
}

/// Whether a 64-bit ELF program has a dynamic loader.
fn is_dynamic(elf: &[u8]) -> bool {
    const PT_INTERP: u64 = 3;
    let number = |at: usize, size: usize| -> Option<u64> {
        let bytes = elf.get(at..at.checked_add(size)?)?;
        Some(bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    };
    let header = |index: u64| -> Option<u64> {
        let start = number(0x20, 8)?.checked_add(index * number(0x36, 2)?)?;
        number(usize::try_from(start).ok()?, 4)
    };
    (0..number(0x38, 2).unwrap_or(0)).any(|index| header(index) == Some(PT_INTERP))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_program_is_dynamic_and_text_is_not() {
        let own = fs::read(env::current_exe().unwrap()).unwrap();
        assert_eq!(is_dynamic(&own), cfg!(not(target_feature = "crt-static")));
        assert!(!is_dynamic(b"not a program"));
    }

    #[test]
    fn unchanged_binary_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let (built, installed) = (dir.path().join("built"), dir.path().join("dist/installed"));
        fs::write(&built, "one").unwrap();
        install_file(&built, &installed).unwrap();
        let first = fs::metadata(&installed).unwrap().modified().unwrap();
        install_file(&built, &installed).unwrap();
        assert_eq!(fs::metadata(&installed).unwrap().modified().unwrap(), first);
        fs::write(&built, "two").unwrap();
        install_file(&built, &installed).unwrap();
        assert_eq!(fs::read(&installed).unwrap(), b"two");
        assert_eq!(fs::read_dir(dir.path().join("dist")).unwrap().count(), 1);
    }
}
