//! What a scenario works with. Everything it does is written to its output, so that a failure tells its whole story.

mod actor;
mod background;
mod capture;
mod command;
mod expect;
mod kernel_log;
mod modules;
mod refuse;
mod tracer;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

pub use crate::guest::Deed;
pub use actor::{Act, Crowd, Report};
pub use background::Background;
pub use capture::Capture;
pub use command::Output;
pub use expect::{contains, equal, same_set, that};
pub use kernel_log::LogMark;
pub(crate) use modules::remove as remove_module;
pub use modules::{Module, read_modules};
pub use refuse::{Refusal, Refuser};
pub use tracer::Tracer;

use crate::oracle::{Event, Oracle};

/// Where modprobe reads what an administrator configured.
pub const MODPROBE_DIR: &str = "/etc/modprobe.d";

/// A scenario's hold on its guest.
#[derive(Debug)]
pub struct Ctx {
    written: Vec<PathBuf>,
    oracles: u32,
    captures: u32,
    backgrounds: u32,
}

impl Ctx {
    pub(crate) fn new() -> Self {
        Self { written: Vec::new(), oracles: 0, captures: 0, backgrounds: 0 }
    }

    /// Runs a command as root and waits for it.
    ///
    /// # Errors
    /// When it cannot be started. How it ends is the caller's to judge.
    pub fn run(&mut self, argv: &[&str]) -> Result<Output> {
        command::run(argv, None)
    }

    /// Runs a command as another user.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn run_as(&mut self, uid: u32, argv: &[&str]) -> Result<Output> {
        command::run(argv, Some(uid))
    }

    /// Starts a command as root, and does not wait for it.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn background(&mut self, argv: &[&str]) -> Result<Background> {
        self.backgrounds += 1;
        Background::start(argv, self.backgrounds)
    }

    /// Starts the independent oracle.
    ///
    /// # Errors
    /// When tracefs refuses.
    pub fn oracle(&mut self) -> Result<Oracle> {
        self.oracles += 1;
        Oracle::start(&format!("oracle{}", self.oracles))
    }

    /// What an oracle saw, also written to the output.
    ///
    /// # Errors
    /// When it lost or cannot read an event.
    pub fn oracle_events(&mut self, oracle: &Oracle) -> Result<Vec<Event>> {
        let events = oracle.events()?;
        println!("oracle: {} events", events.len());
        for event in &events {
            println!("  {event:?}");
        }
        Ok(events)
    }

    /// Starts `kmodtrace watch --json` with more arguments, and returns once it traces.
    ///
    /// # Errors
    /// When it ends, or stays silent, before it traces.
    pub fn watch(&mut self, arguments: &[&str]) -> Result<Tracer> {
        let mut argv = vec!["watch", "--json"];
        argv.extend(arguments);
        self.captures += 1;
        Tracer::start(&argv, self.captures)
    }

    /// Starts `kmodtrace watch` as a person would, and returns once it traces.
    ///
    /// # Errors
    /// When it ends, or stays silent, before it traces.
    pub fn watch_tree(&mut self, arguments: &[&str]) -> Result<Tracer> {
        let mut argv = vec!["watch", "--tree"];
        argv.extend(arguments);
        self.captures += 1;
        Tracer::start(&argv, self.captures)
    }

    /// Starts `kmodtrace watch` for lines, and returns once it traces.
    ///
    /// # Errors
    /// When it ends, or stays silent, before it traces.
    pub fn watch_lines(&mut self, arguments: &[&str]) -> Result<Tracer> {
        let mut argv = vec!["watch", "--utc"];
        argv.extend(arguments);
        self.captures += 1;
        Tracer::start(&argv, self.captures)
    }

    /// Starts `kmodtrace record` into a directory, and returns once it traces.
    ///
    /// # Errors
    /// When it ends, or stays silent, before it traces.
    pub fn record(&mut self, directory: &str, arguments: &[&str]) -> Result<Tracer> {
        let mut argv = vec!["record", "--output", directory];
        argv.extend(arguments);
        self.captures += 1;
        Tracer::start(&argv, self.captures)
    }

    /// Runs a command under `kmodtrace run --json`. The events go to a file; standard output is the command's own.
    ///
    /// # Errors
    /// When it cannot be started or writes an event that is no JSON.
    pub fn trace_run(&mut self, arguments: &[&str], argv: &[&str]) -> Result<Capture> {
        self.captures += 1;
        let events = format!("/run/events{}.jsonl", self.captures);
        let mut whole = vec!["run", "--json", "--output", &events];
        whole.extend(arguments);
        whole.push("--");
        whole.extend(argv);
        let run = Tracer::spawn(&whole, self.captures)?.wait()?;
        let text = fs::read_to_string(&events).with_context(|| format!("cannot read {events}"))?;
        println!("{events}:\n{text}");
        run.with_events(&text)
    }

    /// The loaded modules by name.
    ///
    /// # Errors
    /// When `/proc/modules` cannot be read.
    pub fn modules(&mut self) -> Result<BTreeMap<String, Module>> {
        read_modules()
    }

    /// Removes modules, in the order given.
    ///
    /// # Errors
    /// When one is in use, or not loaded.
    pub fn unload(&mut self, names: &[&str]) -> Result<()> {
        for name in names {
            modules::remove(name).with_context(|| format!("cannot remove module {name}"))?;
            println!("removed module {name}");
        }
        Ok(())
    }

    /// Writes a file to modprobe's configuration; it goes away with the scenario.
    ///
    /// # Errors
    /// When the name is no plain file name, or the file cannot be written.
    pub fn modprobe_conf(&mut self, name: &str, text: &str) -> Result<()> {
        if name.contains('/') {
            bail!("{name:?} is no file name");
        }
        self.write_file(&Path::new(MODPROBE_DIR).join(format!("{name}.conf")), text)
    }

    /// Writes a file that goes away with the scenario.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_file(&mut self, path: &Path, text: &str) -> Result<()> {
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
        println!("wrote {}:\n{text}", path.display());
        self.written.push(path.to_owned());
        Ok(())
    }

    /// Marks this moment in the kernel log.
    ///
    /// # Errors
    /// When the log refuses.
    pub fn mark_log(&mut self) -> Result<LogMark> {
        LogMark::set()
    }

    /// Refuses every module request, as a security module does, until the value is dropped.
    ///
    /// # Errors
    /// When the kernel does not take the program that refuses.
    pub fn refuse_requests(&mut self, refuser: Refuser) -> Result<Refusal> {
        Refusal::start(refuser)
    }

    /// Starts processes, one or many, that will act at the same moment.
    ///
    /// # Errors
    /// When one cannot be started or does not get ready.
    pub fn crowd(&mut self, acts: Vec<Act>) -> Result<Crowd> {
        Crowd::start(acts)
    }

    /// Lets a process act at once: it executes, asks the kernel, and is gone.
    ///
    /// # Errors
    /// When it cannot be started, or says nothing of how it went.
    pub fn act(&mut self, act: Act) -> Result<Report> {
        actor::act_now(act)
    }
}

impl Drop for Ctx {
    fn drop(&mut self) {
        for path in &self.written {
            if let Err(error) = fs::remove_file(path) {
                // The runner compares modprobe's configuration after each scenario and fails it then.
                println!("cannot remove {}: {error}", path.display());
            }
        }
    }
}
