//! Commands whose output is captured.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::guest::{ENVIRONMENT, code_of};

/// The output and exit code of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// The command, for messages.
    pub command: String,
    /// The exit code; 128 + n if signal n ended it.
    pub code: u8,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Output {
    /// Returns the output if the command succeeded.
    ///
    /// # Errors
    /// When its exit code is not 0.
    pub fn ok(self) -> Result<Self> {
        if self.code != 0 {
            bail!("{} ended with {}: {}{}", self.command, self.code, self.stdout, self.stderr);
        }
        Ok(self)
    }
}

/// A command in the guest, with the environment that all commands get.
pub(super) fn prepare(program: &str, uid: Option<u32>) -> Command {
    let mut command = Command::new(program);
    command.env_clear().envs(ENVIRONMENT.iter().copied()).stdin(Stdio::null()).current_dir("/");
    if let Some(uid) = uid {
        command.uid(uid).gid(uid);
    }
    command
}

pub(super) fn run(argv: &[&str], uid: Option<u32>) -> Result<Output> {
    let (program, arguments) = argv.split_first().context("the command is empty")?;
    let text = argv.join(" ");
    let output = prepare(program, uid).args(arguments).output().with_context(|| format!("cannot run {text}"))?;
    let output = Output {
        command: text,
        code: code_of(output.status),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    };
    println!("$ {}\n{}{}[{}]", output.command, output.stdout, output.stderr, output.code);
    Ok(output)
}
