//! Processes that make the kernel ask for a module: one at once, one at a given moment, or many at the same moment.
//!
//! Each is a process of its own with a name of its own, executed and not merely forked, so that pid, name, arguments
//! and user are known beforehand and can be compared with what the tracer says.

use std::fs;
use std::io::{BufRead as _, BufReader, PipeWriter};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, ChildStdout, Stdio};

use anyhow::{Context as _, Result, bail};

use super::command::prepare;
use crate::guest::{Deed, READY};
use crate::protocol::GUEST_PATH;

const ACTORS_DIR: &str = "/run/actors";

/// What a process is to do, and as whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Act {
    /// The name the process carries.
    pub comm: String,
    /// The user it runs as.
    pub uid: u32,
    /// The user that logged in, as the audit system keeps it through `su` and `sudo`.
    pub loginuid: Option<u32>,
    /// What it does.
    pub deed: Deed,
}

impl Act {
    /// A process of root named `requester` that opens a socket.
    #[must_use]
    pub fn socket(family: u16, kind: u32, protocol: u32) -> Self {
        Self::new(Deed::Socket { family, kind, protocol })
    }

    /// A process of root named `requester` that mounts a file system: the kernel asks for `fs-TYPE`.
    #[must_use]
    pub fn mount(fs: &str) -> Self {
        Self::new(Deed::Mount { fs: fs.to_owned() })
    }

    /// A process of root named `requester` that binds a socket to an algorithm.
    #[must_use]
    pub fn alg(kind: &str, name: &[u8]) -> Self {
        Self::new(Deed::Alg { kind: kind.to_owned(), name: name.to_vec() })
    }

    /// A process of root named `requester` that does something.
    #[must_use]
    pub fn new(deed: Deed) -> Self {
        Self { comm: "requester".to_owned(), uid: 0, loginuid: None, deed }
    }

    /// Under another name, of at most 15 bytes.
    #[must_use]
    pub fn named(mut self, comm: &str) -> Self {
        comm.clone_into(&mut self.comm);
        self
    }

    /// In a login session of a user, whoever it runs as.
    #[must_use]
    pub fn logged_in_as(mut self, uid: u32) -> Self {
        self.loginuid = Some(uid);
        self
    }

    /// As another user.
    #[must_use]
    pub fn as_user(mut self, uid: u32) -> Self {
        self.uid = uid;
        self
    }
}

/// How an act went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The process that did it.
    pub pid: u32,
    /// What it was to do.
    pub act: Act,
    /// What the system call gave: 0, or an errno.
    pub errno: i32,
}

/// Processes that wait to act.
#[derive(Debug)]
pub struct Crowd {
    actors: Vec<Actor>,
    gate: Option<PipeWriter>,
}

/// One started process.
#[derive(Debug)]
struct Actor {
    act: Act,
    child: Child,
    says: BufReader<ChildStdout>,
}

impl Crowd {
    /// Starts them all and returns when each waits at the gate.
    pub(super) fn start(acts: Vec<Act>) -> Result<Self> {
        let (gate, open) = std::io::pipe().context("cannot make a gate")?;
        let mut actors = Vec::new();
        for act in acts {
            let at_gate = gate.try_clone().context("cannot share the gate")?;
            actors.push(Actor::start(act, Some(Stdio::from(at_gate)))?);
        }
        for actor in &mut actors {
            let line = actor.hear()?;
            if line != READY {
                bail!("{} said {line:?} instead of {READY:?}", actor.act.comm);
            }
        }
        println!("{} processes wait at the gate", actors.len());
        Ok(Self { actors, gate: Some(open) })
    }

    /// Their process ids, in the order of their acts.
    #[must_use]
    pub fn pids(&self) -> Vec<u32> {
        self.actors.iter().map(|actor| actor.child.id()).collect()
    }

    /// Opens the gate, and waits until all have acted and ended.
    ///
    /// # Errors
    /// When one says nothing of how it went.
    pub fn release(mut self) -> Result<Vec<Report>> {
        // The end of the file is what they wait for.
        drop(self.gate.take());
        let actors = std::mem::take(&mut self.actors);
        let reports = actors.into_iter().map(Actor::finish).collect::<Result<Vec<_>>>()?;
        println!("all have acted: {reports:?}");
        Ok(reports)
    }
}

/// Lets a process act at once and end.
pub(super) fn act_now(act: Act) -> Result<Report> {
    let report = Actor::start(act, None)?.finish()?;
    println!("acted: {report:?}");
    Ok(report)
}

impl Actor {
    fn start(act: Act, gate: Option<Stdio>) -> Result<Self> {
        if act.comm.len() > 15 || act.comm.contains('/') {
            bail!("{:?} cannot be a task's name", act.comm);
        }
        fs::create_dir_all(ACTORS_DIR).with_context(|| format!("cannot create {ACTORS_DIR}"))?;
        let program = Path::new(ACTORS_DIR).join(&act.comm);
        // A task is named after the file it executes, link or not.
        if !program.exists() {
            symlink(GUEST_PATH, &program).with_context(|| format!("cannot link {}", program.display()))?;
        }
        let program = program.to_str().context("the actors' directory has an odd name")?;
        let mut command = prepare(program, Some(act.uid));
        command.arg("act");
        if let Some(gate) = gate {
            command.arg("--wait").stdin(gate);
        }
        if let Some(uid) = act.loginuid {
            command.arg(format!("--login={uid}"));
        }
        command.args(act.deed.arguments()).stdout(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("cannot start {program}"))?;
        let says = BufReader::new(child.stdout.take().context("no pipe to an actor")?);
        Ok(Self { act, child, says })
    }

    fn hear(&mut self) -> Result<String> {
        let mut line = String::new();
        self.says.read_line(&mut line).with_context(|| format!("cannot hear {}", self.act.comm))?;
        Ok(line.trim_end().to_owned())
    }

    fn finish(mut self) -> Result<Report> {
        let line = self.hear()?;
        let status = self.child.wait().with_context(|| format!("cannot wait for {}", self.act.comm))?;
        let errno = line.strip_prefix("errno ").and_then(|errno| errno.parse().ok());
        let errno = errno.with_context(|| format!("{} said {line:?} and ended with {status}", self.act.comm))?;
        Ok(Report { pid: self.child.id(), act: self.act, errno })
    }
}
