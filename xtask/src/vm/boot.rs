//! One boot from power-on to power-off: reads the results as they come, keeps the evidence when something is wrong.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::ChildStdout;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use kmodtrace_tests::protocol::{Decoder, Frame};

use super::packages::remove_dir;
use super::qemu::{Machine, Running};
use super::splat;

/// After its last frame a guest needs this long at most to power off.
const POWER_OFF_LIMIT: Duration = Duration::from_secs(20);

/// How much of the console a failure shows.
const SHOWN_LINES: usize = 25;

/// What became of a boot.
#[derive(Debug)]
pub(crate) struct Ending {
    /// Everything that makes this boot a failure; empty for a good one.
    pub(crate) problems: Vec<String>,
    /// The kernel release the guest reported.
    pub(crate) release: Option<String>,
    /// Time from the kernel's start to the agent's first word.
    pub(crate) boot_ms: Option<u64>,
}

/// Creates an empty directory for a run.
pub(crate) fn run_dir(root: &Path, line: &str) -> Result<PathBuf> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?.as_secs();
    let name = format!("{seconds}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let dir = root.join("runs").join(line).join(name);
    fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    Ok(dir)
}

/// Runs a machine to its end and hands on each frame.
pub(crate) fn watch(machine: &Machine<'_>, limit: Duration, on_frame: &mut dyn FnMut(&Frame)) -> Result<Ending> {
    let mut watcher = Watcher::new(machine.dir, on_frame)?;
    let mut running = machine.start()?;
    let results = running.results().context("QEMU's standard output is not ours")?;
    let lines = read_lines(results);
    let deadline = Instant::now() + limit;
    loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => watcher.line(&line)?,
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                running.end()?;
                // What was under way when it was ended still counts.
                for line in lines.iter() {
                    watcher.line(&line)?;
                }
                watcher.problems.push(format!("the guest was still running after {} s", limit.as_secs()));
                break;
            }
        }
    }
    watcher.finish(machine.dir, &mut running)
}

fn read_lines(results: ChildStdout) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    // Ends when QEMU closes its end, which it does at the latest when it is ended.
    thread::spawn(move || {
        for line in BufReader::new(results).split(b'\n') {
            let Ok(line) = line else { return };
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

struct Watcher<'a> {
    decoder: Decoder,
    on_frame: &'a mut dyn FnMut(&Frame),
    results: File,
    kernel_log: File,
    problems: Vec<String>,
    release: Option<String>,
    boot_ms: Option<u64>,
    ended: bool,
}

impl<'a> Watcher<'a> {
    fn new(dir: &Path, on_frame: &'a mut dyn FnMut(&Frame)) -> Result<Self> {
        Ok(Self {
            decoder: Decoder::default(),
            on_frame,
            results: File::create(dir.join("results.jsonl")).context("cannot create results.jsonl")?,
            kernel_log: File::create(dir.join("dmesg.txt")).context("cannot create dmesg.txt")?,
            problems: Vec::new(),
            release: None,
            boot_ms: None,
            ended: false,
        })
    }

    fn line(&mut self, line: &[u8]) -> Result<()> {
        if self.ended {
            self.problems.push(format!("after the end marker: {:?}", String::from_utf8_lossy(line)));
            return Ok(());
        }
        let frame = match self.decoder.line(line) {
            Ok(frame) => frame,
            Err(damage) => {
                self.problems.push(damage.to_string());
                return Ok(());
            }
        };
        let mut text = serde_json::to_string(&frame).context("cannot keep a result")?;
        text.push('\n');
        self.results.write_all(text.as_bytes()).context("cannot keep a result")?;
        match &frame {
            Frame::Hello { release, boot_ms } => {
                self.release = Some(release.clone());
                self.boot_ms = Some(*boot_ms);
            }
            Frame::Kmsg { data } => match data.bytes() {
                Ok(bytes) => self.kernel_log.write_all(&bytes).context("cannot keep the kernel log")?,
                Err(damage) => self.problems.push(damage.to_string()),
            },
            Frame::Trouble { message } => self.problems.push(format!("the guest's agent: {message}")),
            Frame::End { .. } => self.ended = true,
            _ => {}
        }
        (self.on_frame)(&frame);
        Ok(())
    }

    fn finish(mut self, dir: &Path, running: &mut Running) -> Result<Ending> {
        if running.wait(POWER_OFF_LIMIT)?.is_none_or(|status| !status.success()) {
            let log = fs::read_to_string(dir.join("qemu.log")).unwrap_or_default();
            self.problems.push(format!("QEMU did not end well: {}", log.trim()));
        }
        if self.release.is_none() {
            self.problems.push("the guest never reported in".to_owned());
        }
        if !self.ended {
            self.problems.push("the end marker is missing: results may be incomplete".to_owned());
        }
        self.problems.extend(splats(dir)?);
        Ok(Ending { problems: self.problems, release: self.release, boot_ms: self.boot_ms })
    }
}

/// Splats on the console or in the log, each once.
fn splats(dir: &Path) -> Result<Vec<String>> {
    let mut found: Vec<String> = Vec::new();
    for name in ["console.log", "dmesg.txt"] {
        let bytes = fs::read(dir.join(name)).with_context(|| format!("cannot read {name}"))?;
        let text = String::from_utf8_lossy(&bytes);
        for line in splat::find(&text) {
            let line = format!("kernel splat: {line}");
            if !found.contains(&line) {
                found.push(line);
            }
        }
    }
    Ok(found)
}

/// Removes a good run's files; tells of a bad one's, with the end of its console.
pub(crate) fn settle(dir: &Path, problems: &[String]) -> Result<Option<String>> {
    // The largest file by far, and the same for every run but for what was ordered.
    let initrd = dir.join("initrd");
    if initrd.exists() {
        fs::remove_file(&initrd).context("cannot remove the initial root")?;
    }
    if problems.is_empty() {
        remove_dir(dir)?;
        return Ok(None);
    }
    let console = fs::read(dir.join("console.log")).unwrap_or_default();
    let console = String::from_utf8_lossy(&console);
    let lines: Vec<&str> = console.lines().collect();
    let tail = lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n  ");
    Ok(Some(format!("{}\nend of the console:\n  {tail}\nkept in {}", problems.join("\n"), dir.display())))
}
