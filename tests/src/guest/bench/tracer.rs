//! A running tracer, and the requests that it reported when it has ended.

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
use crate::protocol::{KMODTRACE_PATH, TracerKind};

const SCRIPT: &str = include_str!("modules.bt");

/// The directory for all files of a tracer; emptied before each turn.
const DIRECTORY: &str = "/run/bench";

const SCRIPT_PATH: &str = "/run/modules.bt";

/// The output of a tracer.
const OUTPUT: &str = "/run/bench/out";

/// The output file of `trace-cmd` and `perf`.
const FILE: &str = "/run/bench/file";

const CAPTURES: &str = "/run/bench/captures";

/// Time limit for the end of a tracer after SIGINT.
const END_LIMIT: Duration = Duration::from_secs(120);

/// A running tracer.
pub(super) struct Tracer {
    kind: TracerKind,
    /// `None` without a tracer, and after the tracer has ended.
    child: Option<Child>,
}

impl Tracer {
    /// Starts a tracer, without waiting until it is ready.
    pub(super) fn start(kind: TracerKind) -> Result<Self> {
        if Path::new(DIRECTORY).exists() {
            fs::remove_dir_all(DIRECTORY).context("cannot remove the files of the previous tracer")?;
        }
        fs::create_dir_all(DIRECTORY).context("cannot create a directory")?;
        fs::write(SCRIPT_PATH, SCRIPT).context("cannot write bpftrace's script")?;
        let argv: &[&str] = match kind {
            TracerKind::Nothing | TracerKind::NothingAgain => return Ok(Self { kind, child: None }),
            TracerKind::Watch => &[KMODTRACE_PATH, "watch", "--json"],
            TracerKind::Record => &[KMODTRACE_PATH, "record", "--output", CAPTURES],
            TracerKind::Pinned => &[KMODTRACE_PATH, "record", "--pin", "--output", CAPTURES],
            TracerKind::Bpftrace => &["bpftrace", SCRIPT_PATH],
            TracerKind::TraceCmd => &["trace-cmd", "record", "-e", "module", "-o", FILE],
            TracerKind::Perf => &["perf", "trace", "-e", "module:*", "-o", FILE],
        };
        let out = File::create(OUTPUT).context("cannot create a file for its output")?;
        let err = out.try_clone().context("cannot share its output")?;
        let mut command = command(argv);
        let child = command.stdout(out).stderr(err).spawn().with_context(|| format!("cannot start {argv:?}"))?;
        Ok(Self { kind, child: Some(child) })
    }

    /// The process of the tracer; `None` without a tracer.
    fn pid(&self) -> Option<Pid> {
        self.child.as_ref().map(Pid::from_child)
    }

    /// Memory of the tracer and its descendants, KiB.
    pub(super) fn resident_kib(&self) -> Result<Option<f64>> {
        self.pid().map(processes::resident_kib).transpose()
    }

    /// Processor time of the tracer and its descendants so far, milliseconds.
    pub(super) fn cpu_ms(&self) -> Result<Option<f64>> {
        self.pid().map(processes::cpu_ms).transpose()
    }

    /// Stops the tracer and its descendants while `meanwhile` runs.
    pub(super) fn stopped<T>(&self, meanwhile: impl FnOnce() -> Result<T>) -> Result<T> {
        let all = self.pid().map(processes::family).transpose()?.unwrap_or_default();
        signal(&all, Signal::STOP)?;
        let result = meanwhile();
        signal(&all, Signal::CONT)?;
        result
    }

    /// Ends the tracer, and returns its lines about requests.
    pub(super) fn end(mut self) -> Result<Vec<String>> {
        let Some(mut child) = self.child.take() else { return Ok(Vec::new()) };
        if let Some(status) = child.try_wait().context("cannot query the tracer")? {
            bail!("{} ended by itself with {status}: {}", self.kind.name(), output_tail());
        }
        kill_process(Pid::from_child(&child), Signal::INT).context("cannot interrupt the tracer")?;
        let deadline = Instant::now() + END_LIMIT;
        while child.try_wait().context("cannot wait for the tracer")?.is_none() {
            if Instant::now() > deadline {
                child.kill().and_then(|()| child.wait()).context("cannot kill the tracer")?;
                bail!("{} did not end within {} s: {}", self.kind.name(), END_LIMIT.as_secs(), output_tail());
            }
            thread::sleep(Duration::from_millis(20));
        }
        let (text, mark) = match self.kind {
            TracerKind::Nothing | TracerKind::NothingAgain => (String::new(), ""),
            TracerKind::Watch => (read(OUTPUT)?, r#""type":"request""#),
            TracerKind::Record => (captures()?, r#""type":"request""#),
            TracerKind::Pinned => {
                output(&[KMODTRACE_PATH, "record", "--unpin"])?;
                (captures()?, r#""type":"request""#)
            }
            TracerKind::Bpftrace => (read(OUTPUT)?, " request "),
            TracerKind::TraceCmd => (output(&["trace-cmd", "report", "-i", FILE])?, "module_request:"),
            TracerKind::Perf => (read(FILE)?, "module_request"),
        };
        Ok(text.lines().filter(|line| line.contains(mark)).map(str::to_owned).collect())
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child
            && let Err(error) = child.kill().and_then(|()| child.wait())
        {
            eprintln!("cannot end {}: {error}", self.kind.name());
        }
    }
}

/// Sends a signal to a tracer and its descendants, some of which may have exited.
fn signal(all: &[Pid], signal: Signal) -> Result<()> {
    for pid in all {
        match kill_process(*pid, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => {}
            Err(error) => return Err(error).context("cannot signal the tracer"),
        }
    }
    Ok(())
}

/// The numbers n for which `algif-LETTERn` occurs in these lines.
pub(super) fn seen(lines: &[String], letter: char) -> BTreeSet<u32> {
    let mark = format!("algif-{letter}");
    let number = |rest: &str| {
        let end = rest.find(|character: char| !character.is_ascii_digit()).unwrap_or(rest.len());
        rest[..end].parse().ok()
    };
    lines.iter().flat_map(|line| line.split(&mark).skip(1)).filter_map(number).collect()
}

/// A command with the environment of the guest.
pub(super) fn command(argv: &[&str]) -> Command {
    let mut command = Command::new(argv[0]);
    command.args(&argv[1..]).env_clear().envs(ENVIRONMENT.iter().copied()).stdin(Stdio::null());
    command
}

/// The stdout of a command, if it succeeds.
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

/// The end of the tracer's output, for error messages.
fn output_tail() -> String {
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

    /// Names are found in the lines of every tracer. Another letter, or a name without a number, does not match.
    #[test]
    fn request_names_are_found_in_lines() {
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
