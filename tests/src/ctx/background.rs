//! A command that runs in the background of a scenario.

use std::fs::{self, File};
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::command::prepare;

/// Time limit for the end of the command after SIGINT.
const END_LIMIT: Duration = Duration::from_secs(60);

/// A running command. It is killed when the value is dropped.
#[derive(Debug)]
pub struct Background {
    command: String,
    child: Child,
    path: String,
}

impl Background {
    /// Starts the command. Its output goes to a file.
    pub(super) fn start(argv: &[&str], number: u32) -> Result<Self> {
        let (program, arguments) = argv.split_first().context("the command is empty")?;
        let command = argv.join(" ");
        println!("$ {command} &");
        let path = format!("/run/background{number}");
        let out = File::create(&path).with_context(|| format!("cannot create {path}"))?;
        let err = out.try_clone().with_context(|| format!("cannot share {path}"))?;
        let child = prepare(program, None).args(arguments).stdout(out).stderr(err).spawn();
        Ok(Self { child: child.with_context(|| format!("cannot run {command}"))?, command, path })
    }

    /// The output so far.
    ///
    /// # Errors
    /// When the output cannot be read, or the command has ended by itself.
    pub fn output(&mut self) -> Result<String> {
        let text = self.read()?;
        if let Some(status) = self.child.try_wait().with_context(|| format!("cannot query {}", self.command))? {
            bail!("{} ended by itself with {status}: {text}", self.command);
        }
        Ok(text)
    }

    /// Sends SIGINT, waits for the end, and returns the output. The exit code is ignored, because tracers differ in it.
    ///
    /// # Errors
    /// When the command does not end in time.
    pub fn interrupt(mut self) -> Result<String> {
        kill_process(Pid::from_child(&self.child), Signal::INT)
            .with_context(|| format!("cannot interrupt {}", self.command))?;
        let deadline = Instant::now() + END_LIMIT;
        while self.child.try_wait().with_context(|| format!("cannot wait for {}", self.command))?.is_none() {
            if Instant::now() > deadline {
                bail!("{} did not end within {} s: {}", self.command, END_LIMIT.as_secs(), self.read()?);
            }
            thread::sleep(Duration::from_millis(20));
        }
        let text = self.read()?;
        println!("{} printed:\n{text}", self.command);
        Ok(text)
    }

    fn read(&self) -> Result<String> {
        let bytes = fs::read(&self.path).with_context(|| format!("cannot read the output of {}", self.command))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // drop cannot return an error, so it goes to the output of the scenario.
        if let Ok(None) = self.child.try_wait()
            && let Err(error) = self.child.kill().and_then(|()| self.child.wait())
        {
            println!("cannot end {}: {error}", self.command);
        }
    }
}
