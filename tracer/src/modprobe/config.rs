//! The configuration of the installed modprobe, told by itself: `modprobe --showconfig`.
//!
//! Reading the files ourselves would be a second opinion on their syntax, order and search path.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::{aliases::Aliases, index::module_name};

/// What kmod prints between its configuration and its indexes.
const END_OF_CONFIGURATION: &str = "# End of configuration files. Dumping indexes now:";

/// The environment the kernel gives to modprobe; ours may hold `MODPROBE_OPTIONS`.
const PATH: &str = "/sbin:/usr/sbin:/bin:/usr/bin";

/// Why the configuration is not known.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModprobeError {
    /// There is no such program.
    #[error("{} does not exist: install the package kmod", program.display())]
    Missing {
        /// The program.
        program: PathBuf,
    },
    /// It cannot be run.
    #[error("cannot run {}", program.display())]
    Run {
        /// The program.
        program: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It failed.
    #[error("{} {option} failed ({status}): {stderr}", program.display())]
    Failed {
        /// The program.
        program: PathBuf,
        /// What it was asked.
        option: &'static str,
        /// How it ended.
        status: std::process::ExitStatus,
        /// What it said.
        stderr: String,
    },
    /// It is another program of the same name.
    #[error("{} does not print its configuration as kmod does: install the package kmod", program.display())]
    NotKmod {
        /// The program.
        program: PathBuf,
    },
}

/// A modprobe and the trees it reads.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Modprobe {
    /// The program, usually `/sbin/modprobe`.
    pub program: PathBuf,
    /// The root of `lib/modules`.
    pub root: PathBuf,
    /// Kernel release.
    pub release: String,
    /// Directories of configuration instead of the usual ones.
    pub config: Option<Vec<PathBuf>>,
}

/// One step of what modprobe would do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// Load a module.
    Load(String),
    /// Run a command in place of loading one.
    Run(String),
}

/// Where kmod looks for configuration, first wins (`man 5 modprobe.d`).
const CONFIG_DIRECTORIES: [&str; 5] =
    ["/etc/modprobe.d", "/run/modprobe.d", "/usr/local/lib/modprobe.d", "/usr/lib/modprobe.d", "/lib/modprobe.d"];

impl Modprobe {
    /// The program that the kernel runs, for a kernel release.
    #[must_use]
    pub fn new(program: impl Into<PathBuf>, release: impl Into<String>) -> Self {
        Self { program: program.into(), root: PathBuf::from("/"), release: release.into(), config: None }
    }

    /// Where the modules of the kernel are.
    #[must_use]
    pub fn module_directory(&self) -> PathBuf {
        self.root.join("lib/modules").join(&self.release)
    }

    /// Where the configuration is.
    #[must_use]
    pub fn config_directories(&self) -> Vec<PathBuf> {
        let usual = || CONFIG_DIRECTORIES.iter().map(PathBuf::from).collect();
        self.config.clone().unwrap_or_else(usual)
    }

    /// Asks it for its configuration.
    ///
    /// # Errors
    /// When it cannot be run, fails, or is not kmod.
    pub fn show_config(&self) -> Result<Config, ModprobeError> {
        let output = self.ask(&["--showconfig"])?;
        if !output.status.success() {
            return Err(self.failed(&output, "--showconfig"));
        }
        let program = self.program.clone();
        Config::parse(&String::from_utf8_lossy(&output.stdout)).ok_or(ModprobeError::NotKmod { program })
    }

    /// Asks it what it would do for names, in order, as if nothing were loaded yet. Nothing is done.
    ///
    /// # Errors
    /// When it cannot be run, or fails for another reason than that it knows no such name.
    pub fn show_depends(&self, names: &[&str]) -> Result<Vec<Step>, ModprobeError> {
        // Without --all, what follows the first name are options for it.
        let output = self.ask(&[&["--all", "--quiet", "--show-depends", "--"], names].concat())?;
        // 1: not found, and with --quiet nothing is said of it.
        if !output.status.success() && output.status.code() != Some(1) {
            return Err(self.failed(&output, "--show-depends"));
        }
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let steps = text.lines().filter_map(|line| match line.split_once(' ')? {
            ("insmod", rest) => Some(Step::Load(module_name(rest.split_ascii_whitespace().next()?))),
            ("install", command) => Some(Step::Run(command.trim().to_owned())),
            _ => None,
        });
        Ok(steps.collect())
    }

    fn failed(&self, output: &std::process::Output, option: &'static str) -> ModprobeError {
        let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        ModprobeError::Failed { program: self.program.clone(), option, status: output.status, stderr }
    }

    fn ask(&self, arguments: &[&str]) -> Result<std::process::Output, ModprobeError> {
        let program = || self.program.clone();
        let mut command = Command::new(&self.program);
        command.env_clear().env("PATH", PATH).env("LC_ALL", "C").stdin(Stdio::null());
        command.arg("--set-version").arg(&self.release);
        if self.root != Path::new("/") {
            command.arg("--dirname").arg(&self.root);
        }
        for directory in self.config.iter().flatten() {
            command.arg("--config").arg(directory);
        }
        command.args(arguments).output().map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => ModprobeError::Missing { program: program() },
            _ => ModprobeError::Run { program: program(), source },
        })
    }
}

/// A pattern and what it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rule {
    /// Normal name, or pattern.
    pub pattern: String,
    /// Module, command or options.
    pub value: String,
}

/// Modules to load before and after others.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Softdep {
    /// For which module: normal name, or pattern.
    pub pattern: String,
    /// Names or aliases to load before.
    pub before: Vec<String>,
    /// Names or aliases to load after.
    pub after: Vec<String>,
}

/// What modprobe would act by.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// `alias` lines of the configuration.
    pub aliases: Vec<Rule>,
    /// `blacklist` lines: they hide modules from requests by alias.
    pub blacklist: Vec<String>,
    /// `install` lines: commands to run instead of loading.
    pub installs: Vec<Rule>,
    /// `options` lines.
    pub options: Vec<Rule>,
    /// `softdep` lines, those that modules carry included.
    pub softdeps: Vec<Softdep>,
    /// Aliases and symbols that modules carry.
    index: Aliases,
}

impl Config {
    /// Reads what `modprobe --showconfig` prints. `None` when it does not print as kmod does.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (configuration, indexes) = text.split_once(END_OF_CONFIGURATION)?;
        let mut config = Self::default();
        for line in configuration.lines() {
            let Some((keyword, rest)) = line.split_once(' ') else { continue };
            match keyword {
                "alias" => config.aliases.extend(rule(rest)),
                "blacklist" => config.blacklist.push(rest.trim().to_owned()),
                "install" => config.installs.extend(rule(rest)),
                "options" => config.options.extend(rule(rest)),
                "softdep" => config.softdeps.extend(softdep(rest)),
                // `remove` and what newer versions have (weakdep) does not decide what is loaded.
                _ => {}
            }
        }
        config.index = Aliases::new(indexes.lines().filter_map(|line| line.strip_prefix("alias ")));
        Some(config)
    }

    /// Modules that carry an alias matching a normal name, in no order.
    pub(super) fn indexed<'a>(&'a self, name: &'a [u8]) -> impl Iterator<Item = &'a str> + 'a {
        self.index.matching(name)
    }

    /// Aliases that a module carries and that are plain names, as normal names.
    #[must_use]
    pub fn plain_aliases_of(&self, module: &str) -> Vec<String> {
        let plain = |alias: &&str| !alias.contains(['*', '?', '[', '\\']);
        self.aliases_of(module).filter(plain).map(str::to_owned).collect()
    }

    /// Aliases of all modules that are plain names, as normal names. Names of hardware (`pci:...`) are not among them.
    pub fn plain_aliases(&self) -> impl Iterator<Item = &str> {
        self.index.iter().map(|(alias, _)| alias).filter(|alias| !alias.contains(['*', '?', '[', '\\', ':']))
    }

    /// Aliases that a module carries, as normal patterns.
    pub(crate) fn aliases_of<'a>(&'a self, module: &'a str) -> impl Iterator<Item = &'a str> + 'a {
        let own = self.index.iter().filter(move |(_, of)| *of == module).map(|(pattern, _)| pattern);
        // Symbols are what other modules need, nothing that anyone asks for.
        own.filter(|pattern| !pattern.starts_with("symbol:"))
    }
}

fn rule(text: &str) -> Option<Rule> {
    let (pattern, value) = text.split_once(' ')?;
    Some(Rule { pattern: pattern.to_owned(), value: value.trim().to_owned() })
}

/// `nf_nat pre: a b post: c`. Some versions of kmod print no space before `post:`; no module has a colon in its name.
fn softdep(text: &str) -> Option<Softdep> {
    let (pattern, rest) = text.split_once(' ')?;
    let rest = rest.replace("post:", " post: ");
    let mut softdep = Softdep { pattern: pattern.to_owned(), before: Vec::new(), after: Vec::new() };
    let mut list = None;
    for word in rest.split_ascii_whitespace() {
        match word {
            "pre:" => list = Some(&mut softdep.before),
            "post:" => list = Some(&mut softdep.after),
            module => {
                if let Some(list) = &mut list {
                    list.push(module.to_owned());
                }
            }
        }
    }
    Some(softdep)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Config, Modprobe, ModprobeError, Softdep};

    const SHOWN: &str = "\
blacklist can_raw
install vfat /bin/false
install foo /sbin/modprobe --ignore-install foo ; echo hi
remove foo /bin/true
alias net_pf_29 off
alias \"q x\"
options snd_hda index=1
softdep nf_nat pre: a-b cpost: d-e f
softdep xyz post: d
softdep odd

# End of configuration files. Dumping indexes now:

alias fs_vfat vfat
alias pci:v00008086d*sv* e1000
alias symbol:nf_nat_setup nf_nat
";

    /// Each kind of line is read, and what kmod prints oddly too.
    #[test]
    fn reads_what_kmod_prints() {
        let config = Config::parse(SHOWN).unwrap();
        assert_eq!(config.blacklist, ["can_raw"]);
        assert_eq!(config.installs[1].value, "/sbin/modprobe --ignore-install foo ; echo hi");
        assert_eq!((config.aliases[0].pattern.as_str(), config.aliases[0].value.as_str()), ("net_pf_29", "off"));
        assert_eq!(config.options.len(), 1);
        let strings = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let expected = [
            Softdep { pattern: "nf_nat".to_owned(), before: strings(&["a-b", "c"]), after: strings(&["d-e", "f"]) },
            Softdep { pattern: "xyz".to_owned(), before: Vec::new(), after: strings(&["d"]) },
        ];
        assert_eq!(config.softdeps, expected);
        assert_eq!(config.indexed(b"fs_vfat").collect::<Vec<_>>(), ["vfat"]);
        assert_eq!(config.indexed(b"pci:v00008086d1234sv0").collect::<Vec<_>>(), ["e1000"]);
        assert_eq!(config.indexed(b"symbol:nf_nat_setup").collect::<Vec<_>>(), ["nf_nat"]);
        assert_eq!(config.indexed(b"net_pf_29").next(), None);
        assert_eq!(config.aliases_of("vfat").collect::<Vec<_>>(), ["fs_vfat"]);
        assert_eq!(config.aliases_of("nf_nat").next(), None, "a symbol is no alias");
    }

    /// Another program's output is not taken for an empty configuration.
    #[test]
    fn refuses_other_programs() {
        assert!(Config::parse("").is_none());
        assert!(Config::parse("BusyBox v1.35.0\n").is_none());
    }

    /// A missing program is named with its package; one that fails, or is not kmod, is told from it.
    #[test]
    fn says_what_is_wrong_with_the_program() {
        let with = |program: &str| Modprobe::new(program, "6.1.0").show_config().unwrap_err();
        let missing = with("/nonexistent/modprobe");
        assert!(matches!(missing, ModprobeError::Missing { .. }) && missing.to_string().contains("kmod"), "{missing}");
        assert!(matches!(with("/bin/false"), ModprobeError::Failed { .. }));
        assert!(matches!(with("/bin/true"), ModprobeError::NotKmod { .. }));
        assert!(Path::new("/bin/true").exists());
    }
}
