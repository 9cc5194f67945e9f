//! The eBPF toolchain: available compilers and linkers, and the selected pair.

pub(crate) mod linker;
pub(crate) mod probe;

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use self::probe::{Compiler, Linker, OBJECT_ENV, TOOLCHAIN_ENV, Via};

/// The origin of the eBPF object.
#[derive(Clone, Debug)]
pub(crate) enum Toolchain {
    /// It is built on this machine.
    Built {
        /// The compiler.
        compiler: Compiler,
        /// The linker with the compiler's LLVM.
        linker: Linker,
    },
    /// It is given as a file.
    Given(PathBuf),
}

impl Toolchain {
    /// A description of the toolchain.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Built { compiler, linker } => format!(
                "{} {} and {}, both with LLVM {}",
                compiler.via.describe(),
                compiler.release,
                linker.path.display(),
                linker.llvm_major
            ),
            Self::Given(object) => format!("the prebuilt object {}", object.display()),
        }
    }
}

/// A place that was searched for a compiler.
#[derive(Debug)]
pub(crate) struct Candidate {
    /// The place.
    pub(crate) via: Via,
    /// The compiler there, or why it cannot be used.
    pub(crate) compiler: Result<Compiler>,
    /// The linker for it, or why there is none; `None` without a compiler.
    pub(crate) linker: Option<Result<Linker>>,
}

/// The result of the search.
#[derive(Debug)]
pub(crate) struct Survey {
    /// The object in the environment.
    pub(crate) given: Option<PathBuf>,
    /// Whether the environment names the toolchain, so that no other is considered.
    pub(crate) is_named: bool,
    /// The places, best first.
    pub(crate) candidates: Vec<Candidate>,
}

impl Survey {
    /// Searches all places. An object or toolchain in the environment must exist.
    pub(crate) fn detect(workspace: &Path) -> Result<Self> {
        let given = env::var_os(OBJECT_ENV).filter(|path| !path.is_empty()).map(PathBuf::from);
        if let Some(object) = &given {
            let found = object.metadata().with_context(|| format!("{OBJECT_ENV}={}", object.display()))?;
            if !found.is_file() || object.is_relative() {
                bail!("invalid {OBJECT_ENV} {:?}: expected the absolute path of a file", object.display().to_string());
            }
            return Ok(Self { given, is_named: false, candidates: Vec::new() });
        }
        let tools = probe::tools_dir(workspace);
        let look = |via: Via| {
            let compiler = Compiler::inspect(via.clone());
            let linker = compiler.as_ref().ok().map(|compiler| probe::find_linker(&tools, compiler.llvm_major));
            Candidate { via, compiler, linker }
        };
        let Some(via) = probe::named_toolchain()? else {
            return Ok(Self { given, is_named: false, candidates: probe::places().into_iter().map(look).collect() });
        };
        let candidate = look(via);
        if let Err(error) = candidate.compiler {
            return Err(error.context(format!("{TOOLCHAIN_ENV} names a toolchain that cannot build the eBPF object")));
        }
        Ok(Self { given, is_named: true, candidates: vec![candidate] })
    }

    /// The toolchain for the build: the first place with both a compiler and its linker.
    pub(crate) fn chosen(&self) -> Option<Toolchain> {
        if let Some(object) = &self.given {
            return Some(Toolchain::Given(object.clone()));
        }
        self.candidates.iter().find_map(|candidate| match candidate {
            Candidate { compiler: Ok(compiler), linker: Some(Ok(linker)), .. } => {
                Some(Toolchain::Built { compiler: compiler.clone(), linker: linker.clone() })
            }
            _ => None,
        })
    }

    /// Why no place is usable, one line each.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let complaint = |candidate: &Candidate| match (&candidate.compiler, &candidate.linker) {
            (Err(error), _) => Some(format!("{error:#}")),
            (Ok(compiler), Some(Err(error))) => {
                Some(format!("{} ({}): {error:#}", compiler.via.describe(), compiler.release))
            }
            _ => None,
        };
        self.candidates.iter().filter_map(complaint).collect()
    }
}
