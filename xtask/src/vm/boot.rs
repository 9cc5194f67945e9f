//! One boot from power-on to power-off: reads results while the guest runs, and keeps logs if it fails.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use kmodtrace_tests::protocol::{Decoder, Frame, Orders};

use super::packages::remove_dir;
use super::qemu::{Machine, Running};
use super::snapshot::{self, Snapshot};
use super::splat;

/// Time limit from the last frame to power-off.
const POWER_OFF_LIMIT: Duration = Duration::from_secs(20);

/// How many lines of the console an error shows.
const SHOWN_LINES: usize = 25;

/// The result of a boot.
#[derive(Debug)]
pub(crate) struct Ending {
    /// The problems of this boot; empty if it succeeded.
    pub(crate) problems: Vec<String>,
    /// The kernel release that the guest reported.
    pub(crate) release: Option<String>,
    /// Time from the start of the kernel to the agent's first frame.
    pub(crate) boot_ms: Option<u64>,
}

/// Files of a run that are removed even if it failed.
const LARGE_FILES: [&str; 2] = ["initrd", snapshot::STATE];

/// How many failed runs are kept for each kernel line.
const KEPT_RUNS: usize = 20;

/// Creates an empty directory for a run.
pub(crate) fn run_dir(root: &Path, line: &str) -> Result<PathBuf> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    prune(&root.join("runs").join(line))?;
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?.as_secs();
    let name = format!("{seconds}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let dir = root.join("runs").join(line).join(name);
    fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    Ok(dir)
}

/// Removes images of runs whose process was killed, and the oldest failed runs.
fn prune(runs: &Path) -> Result<()> {
    let Ok(entries) = fs::read_dir(runs) else { return Ok(()) };
    let mut over = Vec::new();
    for entry in entries {
        let path = entry.with_context(|| format!("cannot list {}", runs.display()))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let owner = name.split('-').nth(1).unwrap_or_default();
        if !owner.is_empty() && !Path::new("/proc").join(owner).exists() {
            over.push(path);
        }
    }
    // Names start with the time in seconds, which has ten digits, so they sort chronologically.
    over.sort();
    let outdated = over.len().saturating_sub(KEPT_RUNS);
    for path in &over[..outdated] {
        remove_dir(path)?;
    }
    for path in &over[outdated..] {
        for name in LARGE_FILES {
            remove_file(&path.join(name))?;
        }
    }
    Ok(())
}

/// Removes a file if it is there.
fn remove_file(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Boots a machine, runs it to its end, and passes each frame to `on_frame`.
pub(crate) fn watch(machine: &Machine<'_>, limit: Duration, on_frame: &mut dyn FnMut(&Frame)) -> Result<Ending> {
    let watcher = Watcher::new(machine.dir, on_frame)?;
    let running = machine.start()?;
    watch_running(machine.dir, running, watcher, limit)
}

/// Continues a guest that waits for its orders, and runs it to its end as `watch` does.
pub(super) fn watch_restored(
    machine: &Machine<'_>,
    snapshot: &Snapshot,
    orders: &Orders,
    limit: Duration,
    on_frame: &mut dyn FnMut(&Frame),
) -> Result<Ending> {
    let mut watcher = Watcher::new(machine.dir, on_frame)?;
    watcher.decoder = Decoder::after(snapshot::FRAMES);
    watcher.release = Some(snapshot.release.clone());
    let running = snapshot.restore(machine, orders)?;
    watch_running(machine.dir, running, watcher, limit)
}

fn watch_running(dir: &Path, mut running: Running, mut watcher: Watcher<'_>, limit: Duration) -> Result<Ending> {
    let lines = running.lines()?;
    let deadline = Instant::now() + limit;
    loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => watcher.line(&line)?,
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                running.kill()?;
                // Process the lines that were sent before the kill.
                for line in lines.iter() {
                    watcher.line(&line)?;
                }
                watcher.problems.push(format!("the guest was still running after {} s", limit.as_secs()));
                return watcher.finish(dir);
            }
        }
    }
    watcher.wait_for_exit(dir, &mut running)?;
    watcher.finish(dir)
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
        let mut text = serde_json::to_string(&frame).context("cannot store a result")?;
        text.push('\n');
        self.results.write_all(text.as_bytes()).context("cannot store a result")?;
        match &frame {
            Frame::Hello { release, boot_ms } => {
                self.release = Some(release.clone());
                self.boot_ms = Some(*boot_ms);
            }
            Frame::Kmsg { data } => match data.bytes() {
                Ok(bytes) => self.kernel_log.write_all(&bytes).context("cannot store the kernel log")?,
                Err(damage) => self.problems.push(damage.to_string()),
            },
            Frame::AgentError { message } => self.problems.push(format!("the guest's agent: {message}")),
            Frame::End { .. } => self.ended = true,
            _ => {}
        }
        (self.on_frame)(&frame);
        Ok(())
    }

    /// Waits for QEMU to exit after it has closed the results port.
    fn wait_for_exit(&mut self, dir: &Path, running: &mut Running) -> Result<()> {
        match running.wait(POWER_OFF_LIMIT)? {
            Some(status) if status.success() => {}
            Some(status) => {
                let log = fs::read(dir.join("qemu.log")).context("cannot read qemu.log")?;
                self.problems.push(format!("QEMU ended with {status}: {}", String::from_utf8_lossy(&log).trim()));
            }
            None => self.problems.push("the guest closed its results port but did not power off".to_owned()),
        }
        Ok(())
    }

    fn finish(mut self, dir: &Path) -> Result<Ending> {
        if self.release.is_none() {
            self.problems.push("the agent in the guest did not start".to_owned());
        }
        if !self.ended {
            self.problems.push("the end marker is missing: results may be incomplete".to_owned());
        }
        self.problems.extend(splats(dir)?);
        Ok(Ending { problems: self.problems, release: self.release, boot_ms: self.boot_ms })
    }
}

/// Kernel splats on the console or in the log, without duplicates.
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

/// Removes the files of a successful run. For a failed run, returns the problems and the end of the console.
pub(crate) fn clean_up(dir: &Path, problems: &[String]) -> Result<Option<String>> {
    // By far the largest files, and the same for every run except for the orders.
    for name in LARGE_FILES {
        remove_file(&dir.join(name))?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use kmodtrace_tests::protocol::{Counts, encode};

    fn watched(lines: &[String], console: &str) -> (Vec<Frame>, Ending) {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("console.log"), console).unwrap();
        let mut frames = Vec::new();
        let mut keep = |frame: &Frame| frames.push(frame.clone());
        let mut watcher = Watcher::new(dir.path(), &mut keep).unwrap();
        for line in lines {
            watcher.line(line.trim_end().as_bytes()).unwrap();
        }
        let ending = watcher.finish(dir.path()).unwrap();
        (frames, ending)
    }

    fn good() -> Vec<String> {
        let hello = Frame::Hello { release: "6.1".into(), boot_ms: 3900 };
        let frames = [hello, Frame::Exit { code: 0 }, Frame::End { counts: Counts::default() }];
        frames.iter().zip(0..).map(|(frame, seq)| encode(seq, frame).unwrap()).collect()
    }

    /// A boot that started, sent its results and ended has no problem.
    #[test]
    fn complete_boot_has_no_problem() {
        let (frames, ending) = watched(&good(), "[ 0.1] Linux version\n");
        assert_eq!((frames.len(), ending.release.as_deref(), ending.boot_ms), (3, Some("6.1"), Some(3900)));
        assert!(ending.problems.is_empty(), "{:?}", ending.problems);
    }

    /// A missing end marker, a missing or damaged frame, no frame at all, and frames after the end are problems.
    #[test]
    fn incomplete_boot_has_problems() {
        let lines = good();
        assert!(watched(&lines[..2], "").1.problems[0].contains("end marker is missing"));
        assert!(
            watched(&[lines[0].clone(), lines[2].clone()], "").1.problems[0].contains("found number 2, expected 1")
        );
        assert!(watched(&[], "").1.problems[0].contains("did not start"));
        let damaged = [lines[0].clone(), lines[1].replace("exit", "exot"), lines[2].clone()];
        assert!(watched(&damaged, "").1.problems[0].contains("damaged"));
        let late = [lines.clone(), vec![lines[0].clone()]].concat();
        assert!(watched(&late, "").1.problems[0].contains("after the end marker"));
    }

    /// A splat on the console is a problem, even if all results passed.
    #[test]
    fn splat_is_a_problem() {
        let (_, ending) = watched(&good(), "[ 4.2] WARNING: CPU: 0 PID: 1 at kernel/kmod.c:150\n");
        assert!(ending.problems[0].contains("kernel splat"), "{:?}", ending.problems);
    }

    /// The image of a dead run is removed and its logs are kept; a running one is not touched.
    #[test]
    fn dead_runs_are_pruned() {
        let dir = tempfile::tempdir().unwrap();
        let make = |name: String| {
            let run = dir.path().join(name);
            fs::create_dir_all(&run).unwrap();
            fs::write(run.join("initrd"), "x").unwrap();
            fs::write(run.join("console.log"), "x").unwrap();
            run
        };
        let alive = make(format!("1795406700-{}-0", std::process::id()));
        // Larger than any process id.
        let dead: Vec<PathBuf> = (0..=KEPT_RUNS).map(|n| make(format!("{}-99999999-0", 1_795_406_700 + n))).collect();
        prune(dir.path()).unwrap();
        assert!(alive.join("initrd").exists());
        assert!(!dead[0].exists());
        assert!(dead[1].join("console.log").exists() && !dead[1].join("initrd").exists());
    }
}
