//! System calls of a process, from the kernel's `syscalls:*` tracepoints.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use super::{TRACEFS, write_setting};

/// A running ftrace instance that observes some system calls of one process.
#[derive(Debug)]
pub struct Calls {
    dir: PathBuf,
}

impl Calls {
    /// Starts to observe system calls by name (`bpf`).
    ///
    /// # Errors
    /// When tracefs cannot be accessed.
    pub fn start(name: &str, pid: u32, calls: &[&str]) -> Result<Self> {
        let dir = Path::new(TRACEFS).join("instances").join(name);
        fs::create_dir(&dir).with_context(|| format!("cannot create the ftrace instance {}", dir.display()))?;
        let listening = Self { dir };
        write_setting(&listening.dir, "set_event_pid", &pid.to_string())?;
        for call in calls {
            write_setting(&listening.dir, &format!("events/syscalls/sys_enter_{call}/enable"), "1")?;
        }
        write_setting(&listening.dir, "tracing_on", "1")?;
        Ok(listening)
    }

    /// The arguments of each call so far, as the kernel shows them: `cmd: a, uattr: 7ffc15e0b0a8, size: 40`.
    ///
    /// # Errors
    /// When tracefs cannot be accessed.
    pub fn arguments(&self, call: &str) -> Result<Vec<String>> {
        let trace = self.dir.join("trace");
        let text = fs::read_to_string(&trace).with_context(|| format!("cannot read {}", trace.display()))?;
        let call = format!(": sys_{call}(");
        Ok(text.lines().filter_map(|line| Some(line.split_once(&call)?.1.trim_end_matches(')').to_owned())).collect())
    }
}

impl Drop for Calls {
    fn drop(&mut self) {
        // A leftover instance is harmless, and the next one would report it when it starts.
        let _ = fs::remove_dir(&self.dir);
    }
}
