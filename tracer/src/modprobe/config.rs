//! The configuration of the installed modprobe, as printed by `modprobe --showconfig`.
//!
//! Parsing the files here would duplicate the rules for syntax, order and search path.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use rustix::fs::{MemfdFlags, memfd_create};

use super::{aliases::Aliases, index::module_name};

/// The line that kmod prints between its configuration and its indexes.
const END_OF_CONFIGURATION: &str = "# End of configuration files. Dumping indexes now:";

/// The PATH that the kernel passes to modprobe. The environment of this process may contain `MODPROBE_OPTIONS`.
const PATH: &str = "/sbin:/usr/sbin:/bin:/usr/bin";

/// Why the configuration is unknown.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModprobeError {
    /// The program does not exist.
    #[error("cannot run {}: it does not exist; install the package kmod", program.display())]
    Missing {
        /// The program.
        program: PathBuf,
    },
    /// The program cannot be executed.
    #[error("cannot run {}", program.display())]
    Run {
        /// The program.
        program: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// The program failed.
    #[error("cannot use {} {option}: {status}: {stderr}", program.display())]
    Failed {
        /// The program.
        program: PathBuf,
        /// The option.
        option: &'static str,
        /// The exit status.
        status: std::process::ExitStatus,
        /// Its messages.
        stderr: String,
    },
    /// It is not kmod.
    #[error(
        "cannot read the configuration of {}: its output is not that of kmod; install the package kmod",
        program.display()
    )]
    NotKmod {
        /// The program.
        program: PathBuf,
    },
}

/// A modprobe program and its directories.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Modprobe {
    /// The program, usually `/sbin/modprobe`.
    pub program: PathBuf,
    /// The root directory of `lib/modules`.
    pub root: PathBuf,
    /// Kernel release.
    pub release: String,
    /// Configuration directories that replace the default ones.
    pub config: Option<Vec<PathBuf>>,
}

/// One step of modprobe.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// Load a module.
    Load(String),
    /// Run a command instead of loading a module.
    Run(String),
}

/// Configuration directories of kmod; a file in an earlier one overrides those of the same name (`man 5 modprobe.d`).
const CONFIG_DIRECTORIES: [&str; 5] =
    ["/etc/modprobe.d", "/run/modprobe.d", "/usr/local/lib/modprobe.d", "/usr/lib/modprobe.d", "/lib/modprobe.d"];

impl Modprobe {
    /// Creates the description of a modprobe for a kernel release.
    #[must_use]
    pub fn new(program: impl Into<PathBuf>, release: impl Into<String>) -> Self {
        Self { program: program.into(), root: PathBuf::from("/"), release: release.into(), config: None }
    }

    /// The directory of the kernel's modules.
    #[must_use]
    pub fn module_directory(&self) -> PathBuf {
        self.root.join("lib/modules").join(&self.release)
    }

    /// The configuration directories.
    #[must_use]
    pub fn config_directories(&self) -> Vec<PathBuf> {
        let usual = || CONFIG_DIRECTORIES.iter().map(PathBuf::from).collect();
        self.config.clone().unwrap_or_else(usual)
    }

    /// Runs it to print its configuration.
    ///
    /// # Errors
    /// If it cannot be run, fails, or is not kmod.
    pub fn show_config(&self) -> Result<Config, ModprobeError> {
        let output = self.ask(&["--showconfig"])?;
        if !output.status.success() {
            return Err(self.failed(&output, "--showconfig"));
        }
        let program = self.program.clone();
        Config::parse(&String::from_utf8_lossy(&output.stdout)).ok_or(ModprobeError::NotKmod { program })
    }

    /// Runs it to print what it would do for names, in order, if no module were loaded. Nothing is loaded.
    ///
    /// # Errors
    /// If it cannot be run, or fails for a reason other than an unknown name.
    pub fn show_depends(&self, names: &[&str]) -> Result<Vec<Step>, ModprobeError> {
        // Without --all, arguments after the first name are module parameters.
        let output = self.ask(&[&["--all", "--quiet", "--show-depends", "--"], names].concat())?;
        // 1 is an unknown name, for which --quiet suppresses the message.
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
        output(command.args(arguments)).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => ModprobeError::Missing { program: program() },
            _ => ModprobeError::Run { program: program(), source },
        })
    }
}

/// Runs a command and returns its output. Its standard output is a file in memory: kmod writes each word of its configuration
/// separately, and into a pipe that takes three times as long (`time modprobe --showconfig | cat >/dev/null` in an emulated guest with
/// 6.1: 0.75 s; into a file 0.21 s; medians of 3).
fn output(command: &mut Command) -> io::Result<std::process::Output> {
    let mut stdout = File::from(memfd_create("modprobe", MemfdFlags::CLOEXEC)?);
    let child = command.stdout(stdout.try_clone()?).stderr(Stdio::piped()).spawn()?;
    let mut output = child.wait_with_output()?;
    stdout.rewind()?;
    stdout.read_to_end(&mut output.stdout)?;
    Ok(output)
}

/// A pattern and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rule {
    /// Normalized name or pattern.
    pub pattern: String,
    /// Module, command or options.
    pub value: String,
}

/// Modules to load before and after another.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Softdep {
    /// The module: normalized name or pattern.
    pub pattern: String,
    /// Names or aliases to load before.
    pub before: Vec<String>,
    /// Names or aliases to load after.
    pub after: Vec<String>,
}

/// The configuration of modprobe.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// `alias` lines of the configuration.
    pub aliases: Vec<Rule>,
    /// `blacklist` lines: modprobe ignores these modules in requests by alias.
    pub blacklist: Vec<String>,
    /// `install` lines: commands to run instead of loading.
    pub installs: Vec<Rule>,
    /// `options` lines.
    pub options: Vec<Rule>,
    /// `softdep` lines, including those of the modules themselves.
    pub softdeps: Vec<Softdep>,
    /// Aliases and symbols of the modules themselves.
    index: Aliases,
}

impl Config {
    /// Parses the output of `modprobe --showconfig`. `None` if it is not the output of kmod.
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
                // `remove` and the newer `weakdep` do not affect what is loaded.
                _ => {}
            }
        }
        config.index = Aliases::new(indexes.lines().filter_map(|line| line.strip_prefix("alias ")));
        Some(config)
    }

    /// Modules with an alias that matches a normalized name, in no order.
    pub(super) fn indexed<'a>(&'a self, name: &'a [u8]) -> impl Iterator<Item = &'a str> + 'a {
        self.index.matching(name)
    }

    /// Aliases of a module without wildcards, normalized.
    #[must_use]
    pub fn plain_aliases_of(&self, module: &str) -> Vec<String> {
        let plain = |alias: &&str| !alias.contains(['*', '?', '[', '\\']);
        self.aliases_of(module).filter(plain).map(str::to_owned).collect()
    }

    /// Aliases of all modules without wildcards, normalized. Aliases of hardware (`pci:...`) are excluded.
    pub fn plain_aliases(&self) -> impl Iterator<Item = &str> {
        self.index.iter().map(|(alias, _)| alias).filter(|alias| !alias.contains(['*', '?', '[', '\\', ':']))
    }

    /// Aliases of a module, as normalized patterns.
    pub(crate) fn aliases_of<'a>(&'a self, module: &'a str) -> impl Iterator<Item = &'a str> + 'a {
        let own = self.index.iter().filter(move |(_, of)| *of == module).map(|(pattern, _)| pattern);
        // Symbols are for dependencies; the kernel does not request them.
        own.filter(|pattern| !pattern.starts_with("symbol:"))
    }
}

fn rule(text: &str) -> Option<Rule> {
    let (pattern, value) = text.split_once(' ')?;
    Some(Rule { pattern: pattern.to_owned(), value: value.trim().to_owned() })
}

/// Parses `nf_nat pre: a b post: c`. Some versions of kmod print no space before `post:`; module names contain no colon.
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

    /// Every kind of line is parsed, including known oddities of kmod.
    #[test]
    fn config_of_kmod_is_parsed() {
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

    /// The output of another program is not an empty configuration.
    #[test]
    fn config_of_another_program_is_rejected() {
        assert!(Config::parse("").is_none());
        assert!(Config::parse("BusyBox v1.35.0\n").is_none());
    }

    /// The error for a missing program names its package; a failing program and one that is not kmod have other errors.
    #[test]
    fn unusable_modprobe_error_names_the_reason() {
        let with = |program: &str| Modprobe::new(program, "6.1.0").show_config().unwrap_err();
        let missing = with("/nonexistent/modprobe");
        assert!(matches!(missing, ModprobeError::Missing { .. }) && missing.to_string().contains("kmod"), "{missing}");
        assert!(matches!(with("/bin/false"), ModprobeError::Failed { .. }));
        assert!(matches!(with("/bin/true"), ModprobeError::NotKmod { .. }));
        assert!(Path::new("/bin/true").exists());
    }
}
