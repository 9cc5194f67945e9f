//! Finds the eBPF toolchain: a compiler that can build `core` for the bpf target, and a matching linker.
//!
//! `tracer/build.rs` includes this file, so that `cargo xtask setup` and a plain `cargo build` use the same toolchain. It only
//! searches; it installs and changes nothing.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

use anyhow::{Context as _, Result, bail};

/// The variable that names the only rustup toolchain to use.
pub(crate) const TOOLCHAIN_ENV: &str = "TRACER_EBPF_TOOLCHAIN";
/// The variable with the path of a prebuilt eBPF object, for packagers who build it in a separate step.
pub(crate) const OBJECT_ENV: &str = "TRACER_EBPF_OBJECT";
/// The rustup toolchain that `cargo xtask setup` links to the distribution's compiler.
pub(crate) const LINKED_TOOLCHAIN: &str = "kmodtrace-ebpf";

/// How to run the compiler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Via {
    /// `rustup run NAME`.
    Rustup(String),
    /// The `cargo` and `rustc` on `PATH`, if there is no rustup.
    Path,
}

impl Via {
    /// The command for a program of the toolchain.
    pub(crate) fn command(&self, program: &str) -> Command {
        match self {
            Self::Rustup(name) => {
                let mut command = Command::new("rustup");
                command.args(["run", name, program]);
                command
            }
            Self::Path => Command::new(program),
        }
    }

    /// A description of the toolchain.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Rustup(name) => format!("rustup toolchain `{name}`"),
            Self::Path => "the cargo on PATH".to_owned(),
        }
    }
}

/// A compiler that can build `core`, because it has the source of the standard library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Compiler {
    /// How to run it.
    pub(crate) via: Via,
    /// The path of `rustc`, for detecting changes.
    pub(crate) rustc: PathBuf,
    /// Its release, as in `1.96.0`.
    pub(crate) release: String,
    /// The major version of its LLVM, which the linker must share.
    pub(crate) llvm_major: u32,
}

impl Compiler {
    /// Whether unstable flags need `RUSTC_BOOTSTRAP=1`.
    pub(crate) fn needs_bootstrap(&self) -> bool {
        !(self.release.ends_with("-nightly") || self.release.ends_with("-dev"))
    }

    /// Inspects the compiler. The error names what is missing.
    pub(crate) fn inspect(via: Via) -> Result<Self> {
        let version = query(via.command("rustc").arg("-vV"))?;
        let (release, llvm_major) = parse_version(&version)?;
        let sysroot = PathBuf::from(query(via.command("rustc").args(["--print", "sysroot"]))?.trim());
        let source = sysroot.join("lib/rustlib/src/rust/library/Cargo.lock");
        if !source.exists() {
            bail!("{} ({release}) has no rust-src: {} is missing", via.describe(), source.display());
        }
        query(via.command("cargo").arg("-V"))?;
        Ok(Self { rustc: sysroot.join("bin/rustc"), via, release, llvm_major })
    }
}

/// Parses the release and LLVM's major version from the output of `rustc -vV`.
fn parse_version(text: &str) -> Result<(String, u32)> {
    let field = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name))
            .map(str::trim)
            .with_context(|| format!("`rustc -vV` does not print `{name}`"))
    };
    let llvm = field("LLVM version:")?;
    let major = llvm.split('.').next().unwrap_or(llvm);
    let major = major.parse().with_context(|| format!("invalid LLVM version {llvm:?} in the output of `rustc -vV`"))?;
    Ok((field("release:")?.to_owned(), major))
}

/// The places to search for a compiler, best first, if none is named.
pub(crate) fn places() -> Vec<Via> {
    if find_program("rustup").is_some() {
        ["nightly", LINKED_TOOLCHAIN].map(|name| Via::Rustup(name.to_owned())).into()
    } else {
        vec![Via::Path]
    }
}

/// The toolchain in the environment, if any.
pub(crate) fn named_toolchain() -> Result<Option<Via>> {
    let Some(name) = env::var_os(TOOLCHAIN_ENV).filter(|name| !name.is_empty()) else { return Ok(None) };
    let Some(name) = name.to_str() else { bail!("invalid {TOOLCHAIN_ENV}: expected UTF-8") };
    if find_program("rustup").is_none() {
        bail!("cannot use {TOOLCHAIN_ENV}={name}: there is no rustup on PATH; install rustup, or unset the variable");
    }
    Ok(Some(Via::Rustup(name.to_owned())))
}

/// A bpf-linker and its LLVM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Linker {
    /// The program.
    pub(crate) path: PathBuf,
    /// The major version of its LLVM.
    pub(crate) llvm_major: u32,
}

/// Finds a bpf-linker with this LLVM: first the one that `cargo xtask setup` built, then those on `PATH`.
/// The error names each linker that does not match, and why.
pub(crate) fn find_linker(tools: &Path, llvm_major: u32) -> Result<Linker> {
    let own = tools_root(tools, llvm_major).join("bin");
    let path = env::var_os("PATH").unwrap_or_default();
    let mut misfits = Vec::new();
    for directory in std::iter::once(own).chain(env::split_paths(&path)) {
        let candidate = directory.join("bpf-linker");
        if !candidate.is_file() {
            continue;
        }
        let misfit = match inspect_linker(&candidate) {
            Ok(linker) if linker.llvm_major == llvm_major => return Ok(linker),
            Ok(linker) => format!("{} has LLVM {}", candidate.display(), linker.llvm_major),
            Err(error) => format!("{}: {error:#}", candidate.display()),
        };
        if !misfits.contains(&misfit) {
            misfits.push(misfit);
        }
    }
    let need = format!("the compiler has LLVM {llvm_major}, and bpf-linker must have the same");
    if misfits.is_empty() {
        bail!("cannot find bpf-linker ({need})");
    }
    bail!("cannot find a matching bpf-linker ({need}): {}", misfits.join("; "));
}

/// The directory in which `cargo xtask setup` installs the bpf-linker with this LLVM: one per version, so that two compilers do
/// not overwrite each other's linker.
pub(crate) fn tools_root(tools: &Path, llvm_major: u32) -> PathBuf {
    tools.join(format!("llvm-{llvm_major}"))
}

/// The project's own tools, in its target directory.
pub(crate) fn tools_dir(workspace: &Path) -> PathBuf {
    target_dir(workspace).join("tools")
}

/// The workspace's target directory.
pub(crate) fn target_dir(workspace: &Path) -> PathBuf {
    // Joining an absolute path replaces the base.
    workspace.join(env::var_os("CARGO_TARGET_DIR").filter(|dir| !dir.is_empty()).unwrap_or_else(|| "target".into()))
}

/// Finds the LLVM version of a bpf-linker, and checks that it starts.
fn inspect_linker(path: &Path) -> Result<Linker> {
    query(Command::new(path).arg("--version"))?;
    let bytes = fs::read(path).context("cannot read it")?;
    let llvm_major = llvm_in(&bytes).context("cannot find its LLVM version")?;
    Ok(Linker { path: path.to_owned(), llvm_major })
}

/// Finds LLVM's major version in the file of a program, because bpf-linker does not print it. A dynamically linked program
/// contains the name of the library (`libLLVM.so.22.1`, `libLLVM-22.so`), a statically linked one the producer string of
/// bitcode (`LLVM22.1.8`).
fn llvm_in(program: &[u8]) -> Option<u32> {
    const MARK: &[u8] = b"LLVM";
    let mut rest = program;
    loop {
        let at = rest.windows(MARK.len()).position(|window| window == MARK)?;
        let shared = rest[..at].ends_with(b"lib");
        rest = &rest[at + MARK.len()..];
        let number = match rest.strip_prefix(b".so.").or_else(|| rest.strip_prefix(b"-")) {
            Some(after) if shared => Some(after),
            Some(_) => None,
            None => Some(rest),
        };
        let digits: Vec<u8> = number.into_iter().flatten().copied().take_while(u8::is_ascii_digit).take(4).collect();
        let after = number.and_then(|number| number.get(digits.len()));
        if !digits.is_empty() && after == Some(&b'.') {
            return std::str::from_utf8(&digits).ok()?.parse().ok();
        }
    }
}

/// Finds a program on `PATH`, or in the directories that only root has on `PATH`.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|directory| directory.join(name))
        .find(|file| file.is_file())
}

/// Runs a command and returns its output. If it fails, the error has the first line of stderr.
pub(crate) fn query(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {command:?}"))?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        let complaint = complaint.lines().find(|line| !line.trim().is_empty()).unwrap_or("no message");
        bail!("{command:?} failed: {complaint}");
    }
    String::from_utf8(output.stdout).with_context(|| format!("cannot read the output of {command:?}: it is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn release_and_llvm_are_parsed() {
        let text = "rustc 1.96.0 (ac68faa20 2026-05-25)\nbinary: rustc\nrelease: 1.96.0\nLLVM version: 22.1.8\n";
        assert_eq!(parse_version(text).unwrap(), ("1.96.0".to_owned(), 22));
        assert!(parse_version("rustc 1.96.0\nrelease: 1.96.0\n").is_err());
        assert!(parse_version("release: 1.96.0\nLLVM version: unknown\n").is_err());
    }

    #[test]
    fn only_nightly_needs_no_bootstrap_variable() {
        let compiler = |release: &str| Compiler {
            via: Via::Path,
            rustc: PathBuf::new(),
            release: release.to_owned(),
            llvm_major: 22,
        };
        assert!(compiler("1.96.0").needs_bootstrap());
        assert!(compiler("1.97.0-beta.2").needs_bootstrap());
        assert!(!compiler("1.97.0-nightly").needs_bootstrap());
    }

    #[test]
    fn llvm_is_found_in_library_name_or_producer_string() {
        assert_eq!(llvm_in(b"\0libc.so.6\0libLLVM.so.22.1\0"), Some(22));
        assert_eq!(llvm_in(b"\0libLLVM-19.so.1\0"), Some(19));
        assert_eq!(llvm_in(b"the LLVM linker\0LLVM-17.0\0LLVM23.1.0\0"), Some(23));
        assert_eq!(llvm_in(b"LLVM 22 builds also support"), None);
        assert_eq!(llvm_in(b"LLVM22"), None);
        assert_eq!(llvm_in(b""), None);
    }

    #[test]
    fn each_llvm_has_its_own_directory() {
        let tools = Path::new("target/tools");
        assert_ne!(tools_root(tools, 22), tools_root(tools, 23));
    }
}
