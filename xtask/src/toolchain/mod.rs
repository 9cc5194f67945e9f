//! The eBPF toolchain: which compilers and linkers are here, and which pair is used.

pub(crate) mod linker;
pub(crate) mod probe;

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use self::probe::{Compiler, Linker, OBJECT_ENV, TOOLCHAIN_ENV, Via};

/// What the eBPF object comes from.
#[derive(Clone, Debug)]
pub(crate) enum Toolchain {
    /// It is built here.
    Built {
        /// The compiler.
        compiler: Compiler,
        /// The linker with the compiler's LLVM.
        linker: Linker,
    },
    /// It was given.
    Given(PathBuf),
}

impl Toolchain {
    /// The toolchain in words.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Built { compiler, linker } => format!(
                "{} {} and {}, both with LLVM {}",
                compiler.via.describe(),
                compiler.release,
                linker.path.display(),
                linker.llvm_major
            ),
            Self::Given(object) => format!("the finished object {}", object.display()),
        }
    }
}

/// One place where a compiler was looked for.
#[derive(Debug)]
pub(crate) struct Candidate {
    /// The place.
    pub(crate) via: Via,
    /// The compiler there, or why it cannot be used.
    pub(crate) compiler: Result<Compiler>,
    /// The linker for it, or why there is none; absent without a compiler.
    pub(crate) linker: Option<Result<Linker>>,
}

/// All that was found.
#[derive(Debug)]
pub(crate) struct Survey {
    /// The object that the environment points at.
    pub(crate) given: Option<PathBuf>,
    /// The environment names the toolchain: no other is considered.
    pub(crate) is_named: bool,
    /// The places, best first.
    pub(crate) candidates: Vec<Candidate>,
}

impl Survey {
    /// Looks in all places. What the environment names must exist.
    pub(crate) fn look(workspace: &Path) -> Result<Self> {
        let given = env::var_os(OBJECT_ENV).filter(|path| !path.is_empty()).map(PathBuf::from);
        if let Some(object) = &given {
            let found = object.metadata().with_context(|| format!("{OBJECT_ENV}={}", object.display()))?;
            if !found.is_file() || object.is_relative() {
                bail!("{OBJECT_ENV}={} must be the absolute path of a file", object.display());
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

    /// The toolchain that the build uses: the first place with both a compiler and its linker.
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

    /// Why no place will do, one line each.
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
