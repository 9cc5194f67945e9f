//! Which system calls a process makes, as the kernel's own `syscalls:*` tracepoints say.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use super::{TRACEFS, put};

/// A running ftrace instance that sees some system calls of one process.
#[derive(Debug)]
pub struct Calls {
    dir: PathBuf,
}

impl Calls {
    /// Starts to listen for system calls by name (`bpf`).
    ///
    /// # Errors
    /// When tracefs refuses.
    pub fn start(name: &str, pid: u32, calls: &[&str]) -> Result<Self> {
        let dir = Path::new(TRACEFS).join("instances").join(name);
        fs::create_dir(&dir).with_context(|| format!("cannot create the ftrace instance {}", dir.display()))?;
        let listening = Self { dir };
        put(&listening.dir, "set_event_pid", &pid.to_string())?;
        for call in calls {
            put(&listening.dir, &format!("events/syscalls/sys_enter_{call}/enable"), "1")?;
        }
        put(&listening.dir, "tracing_on", "1")?;
        Ok(listening)
    }

    /// How often a call was made so far.
    ///
    /// # Errors
    /// When tracefs refuses.
    pub fn count(&self, call: &str) -> Result<usize> {
        let trace = self.dir.join("trace");
        let text = fs::read_to_string(&trace).with_context(|| format!("cannot read {}", trace.display()))?;
        Ok(text.matches(&format!(": sys_{call}(")).count())
    }
}

impl Drop for Calls {
    fn drop(&mut self) {
        // Only tidiness is lost when this fails: the next one would say so when it starts.
        let _ = fs::remove_dir(&self.dir);
    }
}
