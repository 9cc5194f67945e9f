//! The independent oracle: what the kernel's own `module:*` tracepoints say, read through an ftrace instance.
//!
//! It shares nothing with the program under test: other probes, another buffer, another reader.

mod parse;
mod syscalls;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

pub use parse::{Event, What};
use parse::{lost_events, parse_trace};
pub use syscalls::Calls;

const TRACEFS: &str = "/sys/kernel/tracing";

/// Room for tens of thousands of events; an overrun fails the scenario.
const BUFFER_KIB: u32 = 8192;

/// How many task names the kernel remembers: more tasks than any scenario starts.
const REMEMBERED_NAMES: u32 = 8192;

/// Only these: `module_get` and `module_put` of the same group fire on every use of a module.
const EVENTS: &[&str] = &["module_request", "module_load", "module_free"];

/// A running ftrace instance.
#[derive(Debug)]
pub struct Oracle {
    dir: PathBuf,
}

impl Oracle {
    /// Starts to listen. Everything that happens from now on is seen.
    ///
    /// # Errors
    /// When tracefs refuses.
    pub fn start(name: &str) -> Result<Self> {
        put(Path::new(TRACEFS), "saved_cmdlines_size", &REMEMBERED_NAMES.to_string())?;
        let dir = Path::new(TRACEFS).join("instances").join(name);
        fs::create_dir(&dir).with_context(|| format!("cannot create the ftrace instance {}", dir.display()))?;
        let oracle = Self { dir };
        put(&oracle.dir, "trace_clock", "boot")?;
        put(&oracle.dir, "buffer_size_kb", &BUFFER_KIB.to_string())?;
        for event in EVENTS {
            put(&oracle.dir, &format!("events/module/{event}/enable"), "1")?;
        }
        put(&oracle.dir, "tracing_on", "1")?;
        Ok(oracle)
    }

    /// What has happened so far, in order.
    ///
    /// # Errors
    /// When the kernel lost an event, or prints one that is not understood: an oracle must not guess.
    pub fn events(&self) -> Result<Vec<Event>> {
        for entry in fs::read_dir(self.dir.join("per_cpu")).context("cannot list the oracle's processors")? {
            let stats = entry.context("cannot list the oracle's processors")?.path().join("stats");
            let text = fs::read_to_string(&stats).with_context(|| format!("cannot read {}", stats.display()))?;
            let lost = lost_events(&text)?;
            if lost > 0 {
                bail!("the oracle lost {lost} events");
            }
        }
        let trace = self.dir.join("trace");
        let text = fs::read(&trace).with_context(|| format!("cannot read {}", trace.display()))?;
        parse_trace(&text)
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        // Only tidiness is lost when this fails: the next oracle would say so when it starts.
        let _ = fs::remove_dir(&self.dir);
    }
}

fn put(dir: &Path, file: &str, value: &str) -> Result<()> {
    let path = dir.join(file);
    fs::write(&path, value).with_context(|| format!("cannot write {value} to {}", path.display()))
}

/// The modules that were loaded, in order.
#[must_use]
pub fn loads(events: &[Event]) -> Vec<&str> {
    let names = events.iter().filter_map(|event| match &event.what {
        What::Load { module, .. } => Some(module.as_str()),
        _ => None,
    });
    names.collect()
}

/// The aliases that were asked for, in order.
#[must_use]
pub fn requests(events: &[Event]) -> Vec<&str> {
    let names = events.iter().filter_map(|event| match &event.what {
        What::Request { name, .. } => Some(name.as_str()),
        _ => None,
    });
    names.collect()
}
