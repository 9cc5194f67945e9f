//! Processes that make the kernel request a module: one immediately, one at a given moment, or many at the same moment.
//!
//! Each is a process of its own with a chosen name. It is executed, not only forked, so its pid, name, arguments and user are
//! known in advance and can be compared with the trace.

use std::fs;
use std::io::{BufRead as _, BufReader, PipeWriter};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, ChildStdout, Stdio};

use anyhow::{Context as _, Result, bail};

use super::command::prepare;
use crate::guest::{Action, READY};
use crate::protocol::GUEST_PATH;

const ACTORS_DIR: &str = "/run/actors";

/// A process to be started: its action, its name and its user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// The name of the process (`comm`).
    pub comm: String,
    /// The user it runs as.
    pub uid: u32,
    /// The audit login uid, which `su` and `sudo` do not change.
    pub loginuid: Option<u32>,
    /// What it does.
    pub action: Action,
}

impl Actor {
    /// A process of root named `requester` that opens a socket.
    #[must_use]
    pub fn socket(family: u16, kind: u32, protocol: u32) -> Self {
        Self::new(Action::Socket { family, kind, protocol })
    }

    /// A process of root named `requester` that mounts a file system: the kernel requests `fs-TYPE`.
    #[must_use]
    pub fn mount(fs: &str) -> Self {
        Self::new(Action::Mount { fs: fs.to_owned() })
    }

    /// A process of root named `requester` that binds a socket to an algorithm.
    #[must_use]
    pub fn alg(kind: &str, name: &[u8]) -> Self {
        Self::new(Action::Alg { kind: kind.to_owned(), name: name.to_vec() })
    }

    /// A process of root named `requester` with any action.
    #[must_use]
    pub fn new(action: Action) -> Self {
        Self { comm: "requester".to_owned(), uid: 0, loginuid: None, action }
    }

    /// Sets the name, of at most 15 bytes.
    #[must_use]
    pub fn named(mut self, comm: &str) -> Self {
        comm.clone_into(&mut self.comm);
        self
    }

    /// Sets the login uid, independently of the user it runs as.
    #[must_use]
    pub fn logged_in_as(mut self, uid: u32) -> Self {
        self.loginuid = Some(uid);
        self
    }

    /// Sets the user.
    #[must_use]
    pub fn as_user(mut self, uid: u32) -> Self {
        self.uid = uid;
        self
    }
}

/// The result of an action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The process that performed it.
    pub pid: u32,
    /// The actor.
    pub actor: Actor,
    /// The result of the system call: 0 or an errno.
    pub errno: i32,
}

/// Processes that wait for a common start signal.
#[derive(Debug)]
pub struct ActorGroup {
    running: Vec<Running>,
    gate: Option<PipeWriter>,
}

/// One started process.
#[derive(Debug)]
struct Running {
    actor: Actor,
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl ActorGroup {
    /// Starts all actors, and returns when each of them waits at the gate.
    pub(super) fn start(actors: Vec<Actor>) -> Result<Self> {
        let (gate, open) = std::io::pipe().context("cannot make a gate")?;
        let mut running = Vec::new();
        for actor in actors {
            let at_gate = gate.try_clone().context("cannot share the gate")?;
            running.push(Running::start(actor, Some(Stdio::from(at_gate)))?);
        }
        for process in &mut running {
            let line = process.read_line()?;
            if line != READY {
                bail!("{} printed {line:?} instead of {READY:?}", process.actor.comm);
            }
        }
        println!("{} processes wait at the gate", running.len());
        Ok(Self { running, gate: Some(open) })
    }

    /// Their process ids, in the order of the actors.
    #[must_use]
    pub fn pids(&self) -> Vec<u32> {
        self.running.iter().map(|process| process.child.id()).collect()
    }

    /// Opens the gate, and waits until all processes have performed their actions and exited.
    ///
    /// # Errors
    /// When a process reports no result.
    pub fn release(mut self) -> Result<Vec<Report>> {
        // The processes wait for the end of this pipe.
        drop(self.gate.take());
        let running = std::mem::take(&mut self.running);
        let reports = running.into_iter().map(Running::finish).collect::<Result<Vec<_>>>()?;
        println!("results: {reports:?}");
        Ok(reports)
    }
}

/// Runs one actor immediately, to its end.
pub(super) fn act_now(actor: Actor) -> Result<Report> {
    let report = Running::start(actor, None)?.finish()?;
    println!("result: {report:?}");
    Ok(report)
}

impl Running {
    fn start(actor: Actor, gate: Option<Stdio>) -> Result<Self> {
        if actor.comm.len() > 15 || actor.comm.contains('/') {
            bail!("invalid task name {:?}: expected at most 15 bytes without a slash", actor.comm);
        }
        fs::create_dir_all(ACTORS_DIR).with_context(|| format!("cannot create {ACTORS_DIR}"))?;
        let program = Path::new(ACTORS_DIR).join(&actor.comm);
        // The kernel names a task after the path that it executes, even if that is a link.
        if !program.exists() {
            symlink(GUEST_PATH, &program).with_context(|| format!("cannot link {}", program.display()))?;
        }
        let program = program.to_str().context("the directory of the actors is not UTF-8")?;
        let mut command = prepare(program, Some(actor.uid));
        command.arg("act");
        if let Some(gate) = gate {
            command.arg("--wait").stdin(gate);
        }
        if let Some(uid) = actor.loginuid {
            command.arg(format!("--login={uid}"));
        }
        command.args(actor.action.arguments()).stdout(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("cannot start {program}"))?;
        let stdout = BufReader::new(child.stdout.take().context("no pipe to an actor")?);
        Ok(Self { actor, child, stdout })
    }

    fn read_line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.stdout.read_line(&mut line).with_context(|| format!("cannot read the output of {}", self.actor.comm))?;
        Ok(line.trim_end().to_owned())
    }

    fn finish(mut self) -> Result<Report> {
        let line = self.read_line()?;
        let status = self.child.wait().with_context(|| format!("cannot wait for {}", self.actor.comm))?;
        let errno = line.strip_prefix("errno ").and_then(|errno| errno.parse().ok());
        let errno = errno.with_context(|| format!("{} printed {line:?} and ended with {status}", self.actor.comm))?;
        Ok(Report { pid: self.child.id(), actor: self.actor, errno })
    }
}
