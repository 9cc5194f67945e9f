//! kmodtrace as a process of a scenario.

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

/// The line that kmodtrace prints on stderr when every probe is attached.
const ARMED: &str = "kmodtrace: armed";

/// Loading the programs takes seconds in an emulated guest, and minutes if the host is busy.
const ARMED_LIMIT: Duration = Duration::from_secs(300);

/// Time limit for draining the ring and exiting after SIGINT.
const DRAIN_LIMIT: Duration = Duration::from_secs(300);

/// Time limit for a message on a busy machine.
const MESSAGE_LIMIT: Duration = Duration::from_secs(300);

/// Time limit for starting, tracing a command, draining and exiting.
const RUN_LIMIT: Duration = Duration::from_secs(120);

/// A running kmodtrace. It is killed when the value is dropped.
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
    /// Starts kmodtrace and waits until it is armed.
    pub(super) fn start(arguments: &[&str], number: u32) -> Result<Self> {
        let mut tracer = Self::spawn(arguments, number)?;
        let deadline = Instant::now() + ARMED_LIMIT;
        loop {
            match tracer.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    let armed = line.starts_with(ARMED);
                    tracer.push(&line);
                    if armed {
                        return Ok(tracer);
                    }
                }
                Err(RecvTimeoutError::Disconnected) => {
                    bail!("{} ended before it was armed:\n{}", tracer.command, tracer.stderr);
                }
                Err(RecvTimeoutError::Timeout) => {
                    let limit = ARMED_LIMIT.as_secs();
                    bail!("{} did not print {ARMED:?} within {limit} s:\n{}", tracer.command, tracer.stderr);
                }
            }
        }
    }

    /// Starts kmodtrace.
    pub(super) fn spawn(arguments: &[&str], number: u32) -> Result<Self> {
        let command = format!("kmodtrace {}", arguments.join(" "));
        println!("$ {command} &");
        // A file keeps the events if kmodtrace dies, and needs no concurrent reader.
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

    /// Waits until a line of stderr contains this text.
    ///
    /// # Errors
    /// After a minute.
    pub fn await_message(&mut self, text: &str) -> Result<()> {
        let deadline = Instant::now() + MESSAGE_LIMIT;
        while !self.stderr.contains(text) {
            let line = self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now()));
            let line = line.with_context(|| format!("{} did not print {text:?}: {}", self.command, self.stderr))?;
            self.push(&line);
        }
        Ok(())
    }

    /// Sends SIGINT, waits for the end, and returns the capture.
    ///
    /// # Errors
    /// When it does not end in time, or wrote an event that is not JSON.
    pub fn stop(self) -> Result<Capture> {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::INT).with_context(|| format!("cannot interrupt {}", self.command))?;
        self.wait_at_most(DRAIN_LIMIT)
    }

    /// Sends SIGKILL, and returns stderr.
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
            self.push(&line);
        }
        Ok(std::mem::take(&mut self.stderr))
    }

    /// Waits until its standard output contains a text.
    ///
    /// # Errors
    /// When the text does not appear in time.
    pub fn await_output(&self, text: &str) -> Result<()> {
        let deadline = Instant::now() + DRAIN_LIMIT;
        loop {
            let stdout = fs::read(&self.stdout_path).with_context(|| format!("cannot read {}", self.stdout_path))?;
            if String::from_utf8_lossy(&stdout).contains(text) {
                return Ok(());
            }
            if Instant::now() >= deadline {
                bail!("{} did not print {text:?} within {} s", self.command, DRAIN_LIMIT.as_secs());
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until it ends by itself, and returns the capture.
    ///
    /// # Errors
    /// When it does not end in time, or wrote an event that is not JSON.
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
            self.push(&line);
        }
        let stdout = fs::read(&self.stdout_path).with_context(|| format!("cannot read {}", self.stdout_path))?;
        let stdout = String::from_utf8(stdout).context("kmodtrace wrote invalid UTF-8")?;
        println!("{} printed:\n{stdout}[{}]", self.command, code_of(status));
        Capture::new(&stdout, std::mem::take(&mut self.stderr), code_of(status))
    }

    fn push(&mut self, line: &str) {
        println!("kmodtrace: {line}");
        self.stderr.push_str(line);
        self.stderr.push('\n');
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        // Both calls fail only if the process has already ended.
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
