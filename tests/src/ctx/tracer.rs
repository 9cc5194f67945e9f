//! kmodtrace as a scenario runs it.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStderr, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::capture::Capture;
use super::command::prepare;
use crate::guest::code_of;
use crate::protocol::KMODTRACE_PATH;

/// What kmodtrace says on standard error once every probe is in place.
const ARMED: &str = "kmodtrace: armed";

/// Loading the programs takes seconds where the verifier itself is emulated.
const ARMED_LIMIT: Duration = Duration::from_secs(60);

/// It has this long to drain and end after it was interrupted.
const DRAIN_LIMIT: Duration = Duration::from_secs(30);

/// It has this long to start, trace a command, drain and end.
const RUN_LIMIT: Duration = Duration::from_secs(120);

/// A running kmodtrace. Dropping it ends it.
#[derive(Debug)]
pub struct Tracer {
    command: String,
    child: Child,
    stdout_path: String,
    lines: Receiver<String>,
    reader: Option<JoinHandle<()>>,
    stderr: String,
}

impl Tracer {
    /// Starts it and waits until it traces.
    pub(super) fn start(arguments: &[&str], number: u32) -> Result<Self> {
        let mut tracer = Self::spawn(arguments, number)?;
        let deadline = Instant::now() + ARMED_LIMIT;
        loop {
            match tracer.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    let armed = line.starts_with(ARMED);
                    tracer.take(&line);
                    if armed {
                        return Ok(tracer);
                    }
                }
                Err(RecvTimeoutError::Disconnected) => {
                    bail!("{} ended before it traced:\n{}", tracer.command, tracer.stderr);
                }
                Err(RecvTimeoutError::Timeout) => {
                    let limit = ARMED_LIMIT.as_secs();
                    bail!("{} did not say {ARMED:?} within {limit} s:\n{}", tracer.command, tracer.stderr);
                }
            }
        }
    }

    /// Starts it.
    pub(super) fn spawn(arguments: &[&str], number: u32) -> Result<Self> {
        let command = format!("kmodtrace {}", arguments.join(" "));
        println!("$ {command} &");
        // Events go to a file: nothing is lost when kmodtrace dies, and nobody has to read along.
        let stdout_path = format!("/run/capture{number}.jsonl");
        let stdout = File::create(&stdout_path).with_context(|| format!("cannot create {stdout_path}"))?;
        let child = prepare(KMODTRACE_PATH, None).args(arguments).stdout(stdout).stderr(Stdio::piped()).spawn();
        let mut child = child.with_context(|| format!("cannot start {KMODTRACE_PATH}"))?;
        let stderr = child.stderr.take().context("no pipe to kmodtrace's standard error")?;
        let (lines, reader) = read_lines(stderr);
        Ok(Self { command, child, stdout_path, lines, reader: Some(reader), stderr: String::new() })
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Interrupts it as a person would, and takes what it captured.
    ///
    /// # Errors
    /// When it does not end in time, or wrote an event that is no JSON.
    pub fn stop(self) -> Result<Capture> {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::INT).with_context(|| format!("cannot interrupt {}", self.command))?;
        self.wait_at_most(DRAIN_LIMIT)
    }

    /// Ends it as nothing can be survived: SIGKILL. Gives what it said.
    ///
    /// # Errors
    /// When it cannot be killed.
    pub fn kill(mut self) -> Result<String> {
        self.child.kill().with_context(|| format!("cannot kill {}", self.command))?;
        self.child.wait().with_context(|| format!("cannot wait for {}", self.command))?;
        if let Some(reader) = self.reader.take() {
            reader.join().map_err(|_| anyhow::anyhow!("the reader of kmodtrace's standard error panicked"))?;
        }
        while let Ok(line) = self.lines.try_recv() {
            self.take(&line);
        }
        Ok(std::mem::take(&mut self.stderr))
    }

    /// Waits until it ends by itself, and takes what it captured.
    ///
    /// # Errors
    /// When it does not end in time, or wrote an event that is no JSON.
    pub fn wait(self) -> Result<Capture> {
        self.wait_at_most(RUN_LIMIT)
    }

    fn wait_at_most(mut self, limit: Duration) -> Result<Capture> {
        let deadline = Instant::now() + limit;
        let status = loop {
            if let Some(status) = self.child.try_wait().with_context(|| format!("cannot wait for {}", self.command))? {
                break status;
            }
            if Instant::now() >= deadline {
                bail!("{} did not end within {} s:\n{}", self.command, limit.as_secs(), self.stderr);
            }
            thread::sleep(Duration::from_millis(10));
        };
        if let Some(reader) = self.reader.take() {
            reader.join().map_err(|_| anyhow::anyhow!("the reader of kmodtrace's standard error panicked"))?;
        }
        while let Ok(line) = self.lines.try_recv() {
            self.take(&line);
        }
        let stdout = fs::read(&self.stdout_path).with_context(|| format!("cannot read {}", self.stdout_path))?;
        let stdout = String::from_utf8(stdout).context("kmodtrace wrote invalid UTF-8")?;
        println!("{} gave:\n{stdout}[{}]", self.command, code_of(status));
        Capture::new(&stdout, std::mem::take(&mut self.stderr), code_of(status))
    }

    fn take(&mut self, line: &str) {
        println!("kmodtrace says: {line}");
        self.stderr.push_str(line);
        self.stderr.push('\n');
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        // Both fail only when it has ended already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read_lines(stderr: ChildStderr) -> (Receiver<String>, JoinHandle<()>) {
    let (sender, receiver) = channel();
    let reader = thread::spawn(move || {
        for line in BufReader::new(stderr).split(b'\n') {
            let Ok(line) = line else { return };
            if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                return;
            }
        }
    });
    (receiver, reader)
}
