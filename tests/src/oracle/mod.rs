//! The independent oracle: the kernel's own `module:*` tracepoints, read through an ftrace instance.
//!
//! It shares nothing with the program under test: it uses other probes, another buffer and another reader.

mod parse;
mod syscalls;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

pub use parse::{Event, EventKind};
use parse::{lost_events, parse_trace};
pub use syscalls::Calls;

const TRACEFS: &str = "/sys/kernel/tracing";

/// Room for tens of thousands of events; an overrun fails the scenario.
const BUFFER_KIB: u32 = 8192;

/// The size of the kernel's cache of task names: more than any scenario starts.
const REMEMBERED_NAMES: u32 = 8192;

/// The observed events. `module_get` and `module_put` are left out, because they fire on every use of a module.
const EVENTS: &[&str] = &["module_request", "module_load", "module_free"];

/// Kernel arguments of a boot that the oracle sees from its beginning (Documentation/admin-guide/kernel-parameters.txt).
pub const BOOT_ARGUMENTS: [&str; 3] = [
    "trace_event=module:module_request,module:module_load,module:module_free",
    "trace_clock=boot",
    "trace_buf_size=8M",
];

/// A running ftrace instance.
#[derive(Debug)]
pub struct Oracle {
    dir: PathBuf,
    /// It is the kernel's main buffer, which cannot be removed.
    is_of_boot: bool,
}

impl Oracle {
    /// Starts the oracle. It sees every event from now on.
    ///
    /// # Errors
    /// When tracefs cannot be configured.
    pub fn start(name: &str) -> Result<Self> {
        write_setting(Path::new(TRACEFS), "saved_cmdlines_size", &REMEMBERED_NAMES.to_string())?;
        let dir = Path::new(TRACEFS).join("instances").join(name);
        fs::create_dir(&dir).with_context(|| format!("cannot create the ftrace instance {}", dir.display()))?;
        let oracle = Self { dir, is_of_boot: false };
        write_setting(&oracle.dir, "trace_clock", "boot")?;
        write_setting(&oracle.dir, "buffer_size_kb", &BUFFER_KIB.to_string())?;
        for event in EVENTS {
            write_setting(&oracle.dir, &format!("events/module/{event}/enable"), "1")?;
        }
        write_setting(&oracle.dir, "tracing_on", "1")?;
        Ok(oracle)
    }

    /// The events since boot, which [`BOOT_ARGUMENTS`] make the kernel record.
    #[must_use]
    pub fn of_boot() -> Self {
        Self { dir: PathBuf::from(TRACEFS), is_of_boot: true }
    }

    /// The events so far, in order.
    ///
    /// # Errors
    /// When the kernel lost an event, or an event cannot be parsed. The oracle never guesses.
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
        if self.is_of_boot {
            return;
        }
        // A leftover instance is harmless, and the next oracle would report it when it starts.
        let _ = fs::remove_dir(&self.dir);
    }
}

fn write_setting(dir: &Path, file: &str, value: &str) -> Result<()> {
    let path = dir.join(file);
    fs::write(&path, value).with_context(|| format!("cannot write {value} to {}", path.display()))
}

/// The modules that were loaded, in order.
#[must_use]
pub fn loads(events: &[Event]) -> Vec<&str> {
    let names = events.iter().filter_map(|event| match &event.kind {
        EventKind::Load { module, .. } => Some(module.as_str()),
        _ => None,
    });
    names.collect()
}

/// The requested aliases, in order.
#[must_use]
pub fn requests(events: &[Event]) -> Vec<&str> {
    let names = events.iter().filter_map(|event| match &event.kind {
        EventKind::Request { name, .. } => Some(name.as_str()),
        _ => None,
    });
    names.collect()
}
