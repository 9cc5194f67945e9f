//! `cargo xtask build`: static binaries, each one file that runs in any guest.

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

/// The profile of the binaries that are handed out.
const PROFILE: &str = "dist";
/// Links the C library into the binary.
const STATIC: [&str; 2] = ["-C", "target-feature=+crt-static"];

/// What to build.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Options {}

/// A binary of the workspace.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Binary {
    /// Its package.
    pub(crate) package: &'static str,
    /// Its name.
    pub(crate) name: &'static str,
}

/// The tool itself.
pub(crate) const KMODTRACE: Binary = Binary { package: "kmodtrace", name: "kmodtrace" };

/// The verb: builds the tool and prints where it is.
pub(crate) fn verb(_options: &Options) -> Result<ExitCode> {
    println!("{}", run()?.display());
    Ok(ExitCode::SUCCESS)
}

/// Sets up what the build needs, builds the tool and leaves it in `target/dist`.
pub(crate) fn run() -> Result<PathBuf> {
    setup::run(Purpose::Build)?;
    static_binary(KMODTRACE)
}

/// Builds one binary statically and leaves it in `target/dist`.
pub(crate) fn static_binary(binary: Binary) -> Result<PathBuf> {
    let workspace = setup::workspace();
    let target = probe::target_dir(&workspace);
    let triple = host_triple()?;
    let mut command = Command::new(linker::cargo());
    command
        .current_dir(&workspace)
        .args(["build", "--package", binary.package, "--bin", binary.name, "--profile", PROFILE])
        // A named target keeps build scripts and procedural macros, which cannot be static, out of it.
        .args(["--target", &triple])
        .arg("--target-dir")
        .arg(&target);
    link_statically(&mut command, &triple);
    // A binary that cannot trace is of no use here.
    command.env("KMODTRACE_EBPF", "require");
    shell::run(&mut command)?;
    let built = target.join(&triple).join(PROFILE).join(binary.name);
    let kept = target.join(PROFILE).join(binary.name);
    keep(&built, &kept)?;
    Ok(kept)
}

/// Adds the flag to those the environment already sets: such a variable would hide the one from the command line.
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

/// The triple of this machine, as the compiler that builds the tool names it.
fn host_triple() -> Result<String> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = probe::query(Command::new(rustc).arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("`rustc -vV` does not tell its host")
}

/// Copies the binary where it is kept, unless the very same is there: what is packed from it need not be packed again.
fn keep(built: &Path, kept: &Path) -> Result<()> {
    let bytes = fs::read(built).with_context(|| format!("cargo left no {}", built.display()))?;
    if is_dynamic(&bytes) {
        bail!("{} is not static: it asks for a dynamic loader", built.display());
    }
    if fs::read(kept).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    let dir = kept.parent().context("a binary is kept in a directory")?;
    fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    // A program that runs cannot be overwritten, but it can be replaced.
    let mut fresh = kept.as_os_str().to_owned();
    fresh.push(".new");
    fs::copy(built, &fresh).with_context(|| format!("cannot write {}", fresh.display()))?;
    fs::rename(&fresh, kept).with_context(|| format!("cannot replace {}", kept.display()))
}

/// Whether a 64-bit ELF program asks for a dynamic loader.
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
    fn a_test_program_is_dynamic_and_a_text_is_not() {
        let own = fs::read(env::current_exe().unwrap()).unwrap();
        assert_eq!(is_dynamic(&own), cfg!(not(target_feature = "crt-static")));
        assert!(!is_dynamic(b"not a program"));
    }

    #[test]
    fn a_binary_is_replaced_only_when_it_differs() {
        let dir = tempfile::tempdir().unwrap();
        let (built, kept) = (dir.path().join("built"), dir.path().join("dist/kept"));
        fs::write(&built, "one").unwrap();
        keep(&built, &kept).unwrap();
        let first = fs::metadata(&kept).unwrap().modified().unwrap();
        keep(&built, &kept).unwrap();
        assert_eq!(fs::metadata(&kept).unwrap().modified().unwrap(), first);
        fs::write(&built, "two").unwrap();
        keep(&built, &kept).unwrap();
        assert_eq!(fs::read(&kept).unwrap(), b"two");
        assert_eq!(fs::read_dir(dir.path().join("dist")).unwrap().count(), 1);
    }
}
