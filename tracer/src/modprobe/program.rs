//! The modprobe program: its configuration and what it would do, as printed by itself.
//!
//! Parsing its files here would duplicate the rules for syntax, order and search path.

use std::{
    io,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use super::{config::Config, index::module_name, names::lossless};
use crate::program::{self, Distrust, Limits, RunError};

/// The limits of each run. Debian's modprobe prints 2 MiB of configuration and indexes in less than a second.
const LIMITS: Limits = Limits { time: Duration::from_secs(10), output_bytes: 64 << 20 };

/// Maximum length of the messages in an error, bytes.
const MESSAGES_BYTES: usize = 1024;

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
    /// It took too long or printed too much, and was killed.
    #[error("cannot use {} {option}: {why}", program.display())]
    Limit {
        /// The program.
        program: PathBuf,
        /// The option.
        option: &'static str,
        /// The limit.
        why: String,
    },
    /// It is not kmod.
    #[error(
        "cannot read the configuration of {}: its output is not that of kmod; only the modprobe of kmod prints its configuration",
        program.display()
    )]
    NotKmod {
        /// The program.
        program: PathBuf,
    },
    /// Users other than root may be able to change it, so it is not run.
    #[error("{} is not run, because it is not root's alone", program.display())]
    Untrusted {
        /// The program.
        program: PathBuf,
        /// The reason.
        source: Distrust,
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

    /// Checks that root alone can change the program.
    ///
    /// # Errors
    /// If other users may be able to.
    pub(super) fn check_trust(&self) -> Result<(), ModprobeError> {
        let checked = program::check_trust(Path::new("/"), &self.program, program::ROOT_UID);
        let is_missing = |error: &Distrust| matches!(error, Distrust::Unknown { source, .. } if source.kind() == io::ErrorKind::NotFound);
        let program = || self.program.clone();
        checked.map_err(|source| match source {
            missing if is_missing(&missing) => ModprobeError::Missing { program: program() },
            source => ModprobeError::Untrusted { program: program(), source },
        })
    }

    /// Runs it to print its configuration.
    ///
    /// # Errors
    /// If it cannot be run, fails, exceeds a limit, or is not kmod.
    pub fn show_config(&self) -> Result<Config, ModprobeError> {
        const OPTION: &str = "--showconfig";
        let output = self.ask(&[OPTION], OPTION)?;
        if !output.status.success() {
            return Err(self.failed(&output, OPTION));
        }
        let program = self.program.clone();
        let mut config = Config::parse(&output.stdout).ok_or(ModprobeError::NotKmod { program })?;
        config.warnings = messages(&output.stderr);
        Ok(config)
    }

    /// Runs it to print what it would do for names, in order, if no module were loaded. Nothing is loaded.
    ///
    /// # Errors
    /// If it cannot be run, exceeds a limit, or fails for a reason other than an unknown name.
    pub fn show_depends(&self, names: &[&str]) -> Result<Vec<Step>, ModprobeError> {
        const OPTION: &str = "--show-depends";
        // Without --all, arguments after the first name are module parameters.
        let output = self.ask(&[&["--all", "--quiet", OPTION, "--"], names].concat(), OPTION)?;
        // 1 is an unknown name, for which --quiet suppresses the message.
        if !output.status.success() && output.status.code() != Some(1) {
            return Err(self.failed(&output, OPTION));
        }
        let text = lossless(&output.stdout);
        let steps = text.split('\n').filter_map(|line| match line.split_once(' ')? {
            ("insmod", rest) => Some(Step::Load(module_name(rest.split(' ').next()?))),
            ("install", command) => Some(Step::Run(command.trim_matches([' ', '\t']).to_owned())),
            _ => None,
        });
        Ok(steps.collect())
    }

    /// Runs it to print the files that it would load for a module.
    ///
    /// # Errors
    /// As [`Modprobe::show_depends`].
    pub(super) fn paths_of(&self, module: &str) -> Result<Vec<PathBuf>, ModprobeError> {
        const OPTION: &str = "--show-depends";
        let output = self.ask(&["--ignore-install", "--quiet", OPTION, "--", module], OPTION)?;
        let text = lossless(&output.stdout);
        let paths = text.split('\n').filter_map(|line| line.strip_prefix("insmod ")?.split(' ').next());
        Ok(paths.map(PathBuf::from).collect())
    }

    fn failed(&self, output: &Output, option: &'static str) -> ModprobeError {
        let stderr = output.stderr.get(..MESSAGES_BYTES).unwrap_or(&output.stderr);
        let stderr = String::from_utf8_lossy(stderr).trim().to_owned();
        ModprobeError::Failed { program: self.program.clone(), option, status: output.status, stderr }
    }

    fn ask(&self, arguments: &[&str], option: &'static str) -> Result<Output, ModprobeError> {
        let program = || self.program.clone();
        let mut command = Command::new(&self.program);
        command.env_clear().env("PATH", PATH).env("LC_ALL", "C");
        command.arg("--set-version").arg(&self.release);
        if self.root != Path::new("/") {
            command.arg("--dirname").arg(&self.root);
        }
        for directory in self.config.iter().flatten() {
            command.arg("--config").arg(directory);
        }
        program::run(command.args(arguments), LIMITS).map_err(|error| match error {
            RunError::Io(source) if source.kind() == io::ErrorKind::NotFound => {
                ModprobeError::Missing { program: program() }
            }
            RunError::Io(source) => ModprobeError::Run { program: program(), source },
            limit => ModprobeError::Limit { program: program(), option, why: limit.to_string() },
        })
    }
}

/// Maximum number of messages of modprobe that are kept; a configuration of thousands of bad lines is useless.
const MESSAGES_LIMIT: usize = 100;

/// The lines that modprobe printed to stderr.
fn messages(stderr: &[u8]) -> Vec<String> {
    let lines = stderr.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let short = |line: &[u8]| lossless(line.get(..MESSAGES_BYTES).unwrap_or(line));
    lines.take(MESSAGES_LIMIT).map(short).collect()
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, time::Instant};

    use super::{LIMITS, Modprobe, ModprobeError, messages};

    /// A modprobe that is a script.
    fn script(text: &str) -> (tempfile::TempDir, Modprobe) {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("modprobe");
        fs::write(&program, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        (directory, Modprobe::new(program, "6.1.0"))
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

    /// A program that floods is killed, and the error names it and the limit.
    #[test]
    fn modprobe_that_floods_is_an_error_of_its_own() {
        let begin = Instant::now();
        let (_directory, modprobe) = script("yes");
        let error = modprobe.show_config().unwrap_err();
        let expected = format!(
            "cannot use {} --showconfig: it printed more than 65536 KiB and was killed",
            modprobe.program.display()
        );
        assert_eq!(error.to_string(), expected);
        assert!(begin.elapsed() < 2 * LIMITS.time);
    }

    /// Messages of modprobe are kept with the configuration, bounded, and are no part of it.
    #[test]
    fn messages_of_modprobe_are_kept() {
        let (_directory, modprobe) = script(
            "echo 'libkmod: ERROR: /etc/modprobe.d/x.conf line 1: ignoring bad line starting with nonsense' >&2\n\
             echo 'blacklist x'; echo '# End of configuration files. Dumping indexes now:'; echo \"bad$(printf '\\033')\" >&2",
        );
        let config = modprobe.show_config().unwrap();
        assert_eq!(config.blacklist, ["x"]);
        let expected = "libkmod: ERROR: /etc/modprobe.d/x.conf line 1: ignoring bad line starting with nonsense";
        assert_eq!(config.warnings, [expected, "bad\u{1b}"]);
        assert_eq!(messages(&b"x\n".repeat(1000)).len(), super::MESSAGES_LIMIT);
    }

    /// Only a program of root alone is trusted; one that does not exist is missing.
    #[test]
    fn modprobe_of_another_user_is_not_trusted() {
        let (_directory, modprobe) = script("exit 0");
        let error = modprobe.check_trust().unwrap_err();
        assert!(matches!(error, ModprobeError::Untrusted { .. }), "{error}");
        let missing = Modprobe::new("/nonexistent/modprobe", "6.1.0").check_trust().unwrap_err();
        assert!(matches!(missing, ModprobeError::Missing { .. }), "{missing}");
        Modprobe::new("/bin/true", "6.1.0").check_trust().unwrap();
    }
}
