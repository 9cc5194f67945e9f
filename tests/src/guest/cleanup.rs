//! Restores the state of the guest after a scenario: processes, modules and configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process};

use crate::ctx::{MODPROBE_DIR, read_modules, remove_module};

/// Time limit for references that the kernel drops late (timers, work queues).
const SETTLE_LIMIT: Duration = Duration::from_secs(5);

/// The state that must be the same after each scenario.
#[derive(Debug)]
pub(super) struct State {
    modules: BTreeSet<String>,
    configuration: BTreeMap<String, Vec<u8>>,
}

impl State {
    /// Reads the current state.
    pub(super) fn read() -> Result<Self> {
        Ok(Self { modules: loaded()?, configuration: configuration()? })
    }
}

/// Restores a state, and returns what was left behind.
pub(super) fn restore(before: &State) -> Result<Vec<String>> {
    let mut left = restore_configuration(before)?;
    let deadline = Instant::now() + SETTLE_LIMIT;
    loop {
        let surplus: Vec<String> = loaded()?.difference(&before.modules).cloned().collect();
        if surplus.is_empty() {
            return Ok(left);
        }
        // Removing a module in use fails. It is retried in a later round, after its users were removed.
        let removed = surplus.iter().filter(|name| remove_module(name).is_ok()).count();
        if removed == 0 {
            if Instant::now() >= deadline {
                left.extend(surplus.into_iter().map(|name| format!("module {name}")));
                return Ok(left);
            }
            thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Kills every process of a session.
pub(super) fn end_session(session: u32) -> Result<()> {
    for entry in fs::read_dir("/proc").context("cannot list /proc")? {
        let name = entry.context("cannot list /proc")?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        // The process may have exited since the directory was listed.
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        if session_of(&stat) == Some(session)
            && let Some(target) = Pid::from_raw(pid)
        {
            match kill_process(target, Signal::KILL) {
                Ok(()) | Err(rustix::io::Errno::SRCH) => {}
                Err(error) => return Err(error).with_context(|| format!("cannot end process {pid}")),
            }
        }
    }
    Ok(())
}

fn loaded() -> Result<BTreeSet<String>> {
    Ok(read_modules()?.into_keys().collect())
}

fn configuration() -> Result<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(MODPROBE_DIR).with_context(|| format!("cannot list {MODPROBE_DIR}"))? {
        let path = entry.with_context(|| format!("cannot list {MODPROBE_DIR}"))?.path();
        let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        files.insert(path.display().to_string(), text);
    }
    Ok(files)
}

fn restore_configuration(before: &State) -> Result<Vec<String>> {
    let now = configuration()?;
    let mut changed = Vec::new();
    for path in now.keys().filter(|path| !before.configuration.contains_key(*path)) {
        fs::remove_file(path).with_context(|| format!("cannot remove {path}"))?;
        changed.push(path.clone());
    }
    for (path, text) in &before.configuration {
        if now.get(path) != Some(text) {
            fs::write(Path::new(path), text).with_context(|| format!("cannot restore {path}"))?;
            changed.push(path.clone());
        }
    }
    Ok(changed)
}

/// The session id in `/proc/PID/stat`: the fourth field after the name, which is in parentheses and may contain any bytes.
fn session_of(stat: &str) -> Option<u32> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The session is found after names that look like fields.
    #[test]
    fn session_is_read_after_hostile_name() {
        assert_eq!(session_of("94 (a) S 1 (b) R 12 34 56 0 -1 4194304 0"), Some(56));
        assert_eq!(session_of("nonsense"), None);
    }
}
