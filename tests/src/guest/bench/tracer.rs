//! A tracer while it runs, and what it has seen once it has ended.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::super::ENVIRONMENT;
use super::processes;
use crate::protocol::{KMODTRACE_PATH, Who};

const SCRIPT: &str = include_str!("modules.bt");

/// Everything that a tracer writes; emptied for each.
const DIRECTORY: &str = "/run/bench";

const SCRIPT_PATH: &str = "/run/modules.bt";

/// What a tracer prints.
const OUTPUT: &str = "/run/bench/out";

/// Where `trace-cmd` and `perf` write to.
const FILE: &str = "/run/bench/file";

const CAPTURES: &str = "/run/bench/captures";

/// It has this long to end after it was interrupted.
const END_LIMIT: Duration = Duration::from_secs(120);

/// A tracer that runs.
pub(super) struct Tracer {
    who: Who,
    /// None where nothing traces, and once it has ended.
    child: Option<Child>,
}

impl Tracer {
    /// Starts it, and does not wait for anything.
    pub(super) fn start(who: Who) -> Result<Self> {
        if Path::new(DIRECTORY).exists() {
            fs::remove_dir_all(DIRECTORY).context("cannot remove what the last one wrote")?;
        }
        fs::create_dir_all(DIRECTORY).context("cannot create a directory")?;
        fs::write(SCRIPT_PATH, SCRIPT).context("cannot write bpftrace's script")?;
        let argv: &[&str] = match who {
            Who::Nothing | Who::NothingAgain => return Ok(Self { who, child: None }),
            Who::Watch => &[KMODTRACE_PATH, "watch", "--json"],
            Who::Record => &[KMODTRACE_PATH, "record", "--output", CAPTURES],
            Who::Pinned => &[KMODTRACE_PATH, "record", "--pin", "--output", CAPTURES],
            Who::Bpftrace => &["bpftrace", SCRIPT_PATH],
            Who::TraceCmd => &["trace-cmd", "record", "-e", "module", "-o", FILE],
            Who::Perf => &["perf", "trace", "-e", "module:*", "-o", FILE],
        };
        let out = File::create(OUTPUT).context("cannot create a file for its output")?;
        let err = out.try_clone().context("cannot share its output")?;
        let mut command = command(argv);
        let child = command.stdout(out).stderr(err).spawn().with_context(|| format!("cannot start {argv:?}"))?;
        Ok(Self { who, child: Some(child) })
    }

    /// Its process; none where nothing traces.
    fn pid(&self) -> Option<Pid> {
        self.child.as_ref().map(Pid::from_child)
    }

    /// Memory that it and all it started hold, KiB.
    pub(super) fn resident_kib(&self) -> Result<Option<f64>> {
        self.pid().map(processes::resident_kib).transpose()
    }

    /// Processor time that it and all it started took until now, milliseconds.
    pub(super) fn cpu_ms(&self) -> Result<Option<f64>> {
        self.pid().map(processes::cpu_ms).transpose()
    }

    /// Stops it and all it started for a while, with `meanwhile` going on.
    pub(super) fn stopped<T>(&self, meanwhile: impl FnOnce() -> Result<T>) -> Result<T> {
        let all = self.pid().map(processes::family).transpose()?.unwrap_or_default();
        signal(&all, Signal::STOP)?;
        let result = meanwhile();
        signal(&all, Signal::CONT)?;
        result
    }

    /// Ends it; what it says of requests, one line each.
    pub(super) fn end(mut self) -> Result<Vec<String>> {
        let Some(mut child) = self.child.take() else { return Ok(Vec::new()) };
        if let Some(status) = child.try_wait().context("cannot look after the tracer")? {
            bail!("{} ended by itself with {status}: {}", self.who.name(), said());
        }
        kill_process(Pid::from_child(&child), Signal::INT).context("cannot interrupt the tracer")?;
        let deadline = Instant::now() + END_LIMIT;
        while child.try_wait().context("cannot wait for the tracer")?.is_none() {
            if Instant::now() > deadline {
                child.kill().and_then(|()| child.wait()).context("cannot kill the tracer")?;
                bail!("{} did not end within {} s: {}", self.who.name(), END_LIMIT.as_secs(), said());
            }
            thread::sleep(Duration::from_millis(20));
        }
        let (text, mark) = match self.who {
            Who::Nothing | Who::NothingAgain => (String::new(), ""),
            Who::Watch => (read(OUTPUT)?, r#""type":"request""#),
            Who::Record => (captures()?, r#""type":"request""#),
            Who::Pinned => {
                output(&[KMODTRACE_PATH, "record", "--unpin"])?;
                (captures()?, r#""type":"request""#)
            }
            Who::Bpftrace => (read(OUTPUT)?, " request "),
            Who::TraceCmd => (output(&["trace-cmd", "report", "-i", FILE])?, "module_request:"),
            Who::Perf => (read(FILE)?, "module_request"),
        };
        Ok(text.lines().filter(|line| line.contains(mark)).map(str::to_owned).collect())
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child
            && let Err(error) = child.kill().and_then(|()| child.wait())
        {
            eprintln!("cannot end {}: {error}", self.who.name());
        }
    }
}

/// Signals a tracer and all it started, of whom some may have ended meanwhile.
fn signal(all: &[Pid], signal: Signal) -> Result<()> {
    for pid in all {
        match kill_process(*pid, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => {}
            Err(error) => return Err(error).context("cannot signal the tracer"),
        }
    }
    Ok(())
}

/// Which of `algif-LETTERn` are named in these lines.
pub(super) fn seen(lines: &[String], letter: char) -> BTreeSet<u32> {
    let mark = format!("algif-{letter}");
    let number = |rest: &str| {
        let end = rest.find(|character: char| !character.is_ascii_digit()).unwrap_or(rest.len());
        rest[..end].parse().ok()
    };
    lines.iter().flat_map(|line| line.split(&mark).skip(1)).filter_map(number).collect()
}

/// A command as every process of the guest is started.
pub(super) fn command(argv: &[&str]) -> Command {
    let mut command = Command::new(argv[0]);
    command.args(&argv[1..]).env_clear().envs(ENVIRONMENT.iter().copied()).stdin(Stdio::null());
    command
}

/// What a command prints, if it ends well.
pub(super) fn output(argv: &[&str]) -> Result<String> {
    let output = command(argv).output().with_context(|| format!("cannot run {argv:?}"))?;
    if !output.status.success() {
        bail!("{argv:?} ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn read(path: &str) -> Result<String> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {path}"))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The last that it printed, for an error.
fn said() -> String {
    let text = read(OUTPUT).unwrap_or_else(|error| error.to_string());
    let from = text.char_indices().rev().nth(500).map_or(0, |(at, _)| at);
    text[from..].to_owned()
}

/// All lines of all captures.
fn captures() -> Result<String> {
    let mut text = Vec::new();
    for entry in fs::read_dir(CAPTURES).with_context(|| format!("cannot list {CAPTURES}"))? {
        let path = entry.context("cannot list captures")?.path();
        if path.extension().is_some_and(|extension| extension == "zst") {
            let file = File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
            let mut decoder = zstd::Decoder::new(file).context("cannot decompress")?;
            decoder.read_to_end(&mut text).with_context(|| format!("cannot read {}", path.display()))?;
        }
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::seen;

    /// Names are read out of anybody's lines, and one of another letter or without a number is none.
    #[test]
    fn names_are_read_from_lines() {
        let lines = [
            r#"{"type":"request","name":"algif-a12","process":{"comm":"algif-b7"}}"#,
            "12 request algif-a3 pid 4",
            "module_request: algif-a3 wait=1",
            "request algif-ab5 algif-a",
        ];
        let lines = lines.map(str::to_owned);
        assert_eq!(seen(&lines, 'a').into_iter().collect::<Vec<_>>(), [3, 12]);
        assert_eq!(seen(&lines, 'b').into_iter().collect::<Vec<_>>(), [7]);
        assert!(seen(&lines, 'c').is_empty());
    }
}
