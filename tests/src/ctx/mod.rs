//! The API of scenarios. Every action is written to the output of the scenario, so that a failure shows all steps.

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

pub use crate::guest::Action;
pub use actor::{Actor, ActorGroup, Report};
pub use background::Background;
pub use capture::Capture;
pub use command::Output;
pub use expect::{contains, ensure, equal, same_set};
pub use kernel_log::LogMark;
pub(crate) use modules::remove as remove_module;
pub use modules::{Module, read_modules};
pub use refuse::{Refusal, Refuser};
pub use tracer::Tracer;

use crate::oracle::{Event, Oracle};

/// The directory of the administrator's modprobe configuration.
pub const MODPROBE_DIR: &str = "/etc/modprobe.d";

/// A scenario's access to its guest.
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
    /// When it cannot be started. The caller checks the exit code.
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

    /// Starts a command as root, without waiting for it.
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
    /// When tracefs cannot be configured.
    pub fn oracle(&mut self) -> Result<Oracle> {
        self.oracles += 1;
        Oracle::start(&format!("oracle{}", self.oracles))
    }

    /// The events of an oracle, also written to the output.
    ///
    /// # Errors
    /// When the oracle lost an event or cannot parse one.
    pub fn oracle_events(&mut self, oracle: &Oracle) -> Result<Vec<Event>> {
        let events = oracle.events()?;
        println!("oracle: {} events", events.len());
        for event in &events {
            println!("  {event:?}");
        }
        Ok(events)
    }

    /// Starts `kmodtrace watch --json` with more arguments, and returns when it is armed.
    ///
    /// # Errors
    /// When it exits, or prints nothing, before it is armed.
    pub fn watch(&mut self, arguments: &[&str]) -> Result<Tracer> {
        let mut argv = vec!["watch", "--json"];
        argv.extend(arguments);
        self.captures += 1;
        Tracer::start(&argv, self.captures)
    }

    /// Starts `kmodtrace watch --tree`, and returns when it is armed.
    ///
    /// # Errors
    /// When it exits, or prints nothing, before it is armed.
    pub fn watch_tree(&mut self, arguments: &[&str]) -> Result<Tracer> {
        let mut argv = vec!["watch", "--tree"];
        argv.extend(arguments);
        self.captures += 1;
        Tracer::start(&argv, self.captures)
    }

    /// Starts `kmodtrace watch --utc`, which prints lines, and returns when it is armed.
    ///
    /// # Errors
    /// When it exits, or prints nothing, before it is armed.
    pub fn watch_lines(&mut self, arguments: &[&str]) -> Result<Tracer> {
        let mut argv = vec!["watch", "--utc"];
        argv.extend(arguments);
        self.captures += 1;
        Tracer::start(&argv, self.captures)
    }

    /// Starts `kmodtrace record` into a directory, and returns when it is armed.
    ///
    /// # Errors
    /// When it exits, or prints nothing, before it is armed.
    pub fn record(&mut self, directory: &str, arguments: &[&str]) -> Result<Tracer> {
        let mut argv = vec!["record", "--output", directory];
        argv.extend(arguments);
        self.captures += 1;
        Tracer::start(&argv, self.captures)
    }

    /// Runs a command under `kmodtrace run --json`. The events go to a file; stdout is that of the command.
    ///
    /// # Errors
    /// When it cannot be started or writes an event that is not JSON.
    pub fn trace_run(&mut self, arguments: &[&str], argv: &[&str]) -> Result<Capture> {
        self.captures += 1;
        let events = format!("/run/events{}.jsonl", self.captures);
        let mut arguments_with_command = vec!["run", "--json", "--output", &events];
        arguments_with_command.extend(arguments);
        arguments_with_command.push("--");
        arguments_with_command.extend(argv);
        let run = Tracer::spawn(&arguments_with_command, self.captures)?.wait()?;
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
    /// When a module is in use, or not loaded.
    pub fn unload(&mut self, names: &[&str]) -> Result<()> {
        for name in names {
            modules::remove(name).with_context(|| format!("cannot remove module {name}"))?;
            println!("removed module {name}");
        }
        Ok(())
    }

    /// Writes a file to modprobe's configuration. It is removed at the end of the scenario.
    ///
    /// # Errors
    /// When the name contains a slash, or the file cannot be written.
    pub fn modprobe_conf(&mut self, name: &str, text: &str) -> Result<()> {
        if name.contains('/') {
            bail!("invalid file name {name:?}: expected no slash");
        }
        self.write_file(&Path::new(MODPROBE_DIR).join(format!("{name}.conf")), text)
    }

    /// Writes a file that is removed at the end of the scenario.
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
    /// When the kernel log cannot be read.
    pub fn mark_log(&mut self) -> Result<LogMark> {
        LogMark::set()
    }

    /// Denies every module request, as an LSM does, until the value is dropped.
    ///
    /// # Errors
    /// When the kernel rejects the BPF program.
    pub fn refuse_requests(&mut self, refuser: Refuser) -> Result<Refusal> {
        Refusal::start(refuser)
    }

    /// Starts processes that perform their actions at the same moment.
    ///
    /// # Errors
    /// When a process cannot be started or does not become ready.
    pub fn actor_group(&mut self, actors: Vec<Actor>) -> Result<ActorGroup> {
        ActorGroup::start(actors)
    }

    /// Runs one actor immediately: a process that performs its action and exits.
    ///
    /// # Errors
    /// When it cannot be started, or reports no result.
    pub fn act(&mut self, actor: Actor) -> Result<Report> {
        actor::act_now(actor)
    }
}

impl Drop for Ctx {
    fn drop(&mut self) {
        for path in &self.written {
            if let Err(error) = fs::remove_file(path) {
                // The runner checks modprobe's configuration after each scenario, and fails the scenario then.
                println!("cannot remove {}: {error}", path.display());
            }
        }
    }
}
