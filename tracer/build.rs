//! Builds the eBPF object that the binary contains, or an empty one if no eBPF toolchain is found.
//!
//! An empty object is never hidden: the build warns, and the binary refuses to trace with a message. A toolchain or object that
//! was selected by name and does not work is an error.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::{env, fs};

use anyhow::{Context as _, Result, bail};

use crate::probe::{Compiler, Linker, OBJECT_ENV, TOOLCHAIN_ENV, Via};

#[path = "../xtask/src/toolchain/probe.rs"]
mod probe;
#[path = "build/strip.rs"]
mod strip;

/// The file name of the object, also in `OUT_DIR`.
const OBJECT: &str = "kmodtrace-probes";
/// `skip` writes an empty object without looking for a toolchain, `require` makes a missing toolchain an error.
const MODE_ENV: &str = "KMODTRACE_EBPF";
/// Set in the copy of this program that runs the eBPF build; its value is the toolchain's name.
const CHILD_ENV: &str = "KMODTRACE_EBPF_CHILD";

fn main() -> ExitCode {
    let done = match env::var(CHILD_ENV) {
        Ok(toolchain) => build_in_child(&toolchain),
        Err(_) => run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=build/strip.rs");
    for name in [MODE_ENV, OBJECT_ENV, TOOLCHAIN_ENV] {
        println!("cargo:rerun-if-env-changed={name}");
    }
    let out = directory("OUT_DIR")?.join(OBJECT);
    let required = match env::var(MODE_ENV).as_deref() {
        Ok("skip") => return write_empty(&out),
        Ok("require") => true,
        Ok("") | Err(env::VarError::NotPresent) => false,
        Ok(other) => bail!("invalid {MODE_ENV} {other:?}: expected skip or require"),
        Err(error) => bail!("invalid {MODE_ENV}: {error}; expected skip or require"),
    };
    if let Some(given) = env::var_os(OBJECT_ENV).filter(|path| !path.is_empty()) {
        return copy_given(Path::new(&given), &out);
    }
    let workspace = workspace()?;
    let tools = probe::tools_dir(&workspace);
    if let Some(via) = probe::named_toolchain()? {
        let compiler =
            Compiler::inspect(via).with_context(|| format!("cannot use the toolchain of {TOOLCHAIN_ENV}"))?;
        let linker = probe::find_linker(&tools, compiler.llvm_major)?;
        return build(&workspace, &compiler, &linker, &out);
    }
    let mut reasons = Vec::new();
    for via in probe::places() {
        let found = Compiler::inspect(via).and_then(|compiler| {
            let linker = probe::find_linker(&tools, compiler.llvm_major)?;
            Ok((compiler, linker))
        });
        match found {
            Ok((compiler, linker)) => return build(&workspace, &compiler, &linker, &out),
            Err(error) => reasons.push(format!("{error:#}")),
        }
    }
    let reasons = reasons.join("; ");
    if required {
        bail!("cannot find an eBPF toolchain: {reasons}; `cargo xtask setup` installs it");
    }
    println!(
        "cargo:warning=built without the eBPF object, so this binary cannot trace: {reasons}; \
         `cargo xtask setup` installs the toolchain"
    );
    // cargo runs this again as long as this file does not exist, so a toolchain that is installed later is found.
    println!("cargo:rerun-if-changed={}", out.with_extension("missing").display());
    write_empty(&out)
}

/// Writes an empty object, for a build without an eBPF toolchain.
fn write_empty(out: &Path) -> Result<()> {
    fs::write(out, []).with_context(|| format!("cannot write {}", out.display()))
}

/// Takes a finished object.
fn copy_given(given: &Path, out: &Path) -> Result<()> {
    if given.is_relative() {
        bail!("invalid {OBJECT_ENV} {:?}: expected an absolute path", given.display());
    }
    println!("cargo:rerun-if-changed={}", given.display());
    fs::copy(given, out).with_context(|| format!("cannot copy {OBJECT_ENV}={}", given.display()))?;
    check_object(out).with_context(|| format!("cannot use {OBJECT_ENV}={}", given.display()))
}

/// Builds the object in a child process, so that the bootstrap variable affects nothing else, and prints the child's output
/// only on errors.
fn build(workspace: &Path, compiler: &Compiler, linker: &Linker, out: &Path) -> Result<()> {
    println!("cargo:rerun-if-changed={}", compiler.rustc.display());
    println!("cargo:rerun-if-changed={}", linker.path.display());
    share_target(workspace, out)?;
    let toolchain = match &compiler.via {
        Via::Rustup(name) => name.as_str(),
        // Without rustup, aya-build ignores the name and uses the cargo on PATH.
        Via::Path => "",
    };
    let mut child = Command::new(env::current_exe().context("this program has no path")?);
    child.env(CHILD_ENV, toolchain).env("CARGO_TARGET_BPFEL_UNKNOWN_NONE_LINKER", &linker.path);
    if compiler.needs_bootstrap() {
        child.env("RUSTC_BOOTSTRAP", "1");
    }
    let output = child.output().context("cannot start the eBPF build")?;
    let stdout = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        for line in stdout.lines().filter_map(warning) {
            eprintln!("{line}");
        }
        eprintln!("{}", String::from_utf8_lossy(&output.stderr));
        bail!("cannot build the eBPF object with {} (LLVM {})", compiler.via.describe(), compiler.llvm_major);
    }
    for line in stdout.lines() {
        match warning(line) {
            Some(text) if is_progress(text) => {}
            _ => println!("{line}"),
        }
    }
    check_object(out)?;
    strip::strip(out)
}

/// Runs the eBPF build, in the child.
fn build_in_child(toolchain: &str) -> Result<()> {
    let root = workspace()?.join("tracer-ebpf");
    let root = root.to_str().context("the path of tracer-ebpf is not UTF-8")?;
    let package =
        aya_build::Package { name: "tracer-ebpf", root_dir: root, no_default_features: false, features: &["probes"] };
    aya_build::build_ebpf([package], aya_build::Toolchain::Custom(toolchain))
}

/// Gives all profiles one directory for the eBPF build: it always uses the release profile, so `core` and the programs
/// are compiled once instead of once for each of `check`, `test` and `dist`.
fn share_target(workspace: &Path, out: &Path) -> Result<()> {
    let shared = probe::target_dir(workspace).join("ebpf");
    fs::create_dir_all(&shared).with_context(|| format!("cannot create {}", shared.display()))?;
    // The name that aya-build uses below OUT_DIR.
    let link = out.with_file_name("aya-build");
    if fs::read_link(&link).is_ok_and(|target| target == shared) {
        return Ok(());
    }
    match fs::symlink_metadata(&link) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(&link),
        Ok(_) => fs::remove_file(&link),
        Err(_) => Ok(()),
    }
    .with_context(|| format!("cannot replace {}", link.display()))?;
    std::os::unix::fs::symlink(&shared, &link).with_context(|| format!("cannot create {}", link.display()))
}

/// Checks that a file is an ELF object for BPF.
fn check_object(path: &Path) -> Result<()> {
    const EM_BPF: u16 = 247;
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let machine = match (bytes.get(5), bytes.get(18..20)) {
        (Some(1), Some(&[low, high])) => Some(u16::from_le_bytes([low, high])),
        (Some(2), Some(&[high, low])) => Some(u16::from_be_bytes([high, low])),
        _ => None,
    };
    if !bytes.starts_with(b"\x7fELF") || machine != Some(EM_BPF) {
        bail!("cannot use {}: not an eBPF object", path.display());
    }
    Ok(())
}

/// The text of a warning line to cargo.
fn warning(line: &str) -> Option<&str> {
    line.strip_prefix("cargo:warning=")
}

/// Whether a line is cargo's progress (a verb, right-aligned in 12 columns), or the message of aya-build that there is no
/// rustup.
fn is_progress(text: &str) -> bool {
    let verb = text.get(..12).map(str::trim_start);
    text.trim().is_empty()
        || text.starts_with("which(rustup)=")
        || (text.starts_with(' ')
            && text.get(12..13) == Some(" ")
            && verb.is_some_and(|verb| verb.starts_with(|c: char| c.is_ascii_uppercase()) && !verb.contains(' ')))
}

fn workspace() -> Result<PathBuf> {
    let package = directory("CARGO_MANIFEST_DIR")?;
    Ok(package.parent().context("the package has no directory above it")?.to_owned())
}

fn directory(variable: &str) -> Result<PathBuf> {
    env::var_os(variable).map(PathBuf::from).with_context(|| format!("cargo did not set {variable}"))
}
