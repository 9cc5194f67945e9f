//! `kmodtrace run -- CMD`: what a command makes the kernel load. The command keeps its standard
//! streams and its exit code; the findings go to stderr or to a file.

use std::{
    ffi::OsString,
    io,
    path::Path,
    process::{ExitCode, ExitStatus},
    time::Duration,
};

use anyhow::Context;
use tokio::{
    process::Command,
    signal::unix::{SignalKind, signal},
    time::{Instant, sleep_until},
};

use super::{
    assert::AssertArgs,
    live::{LiveArgs, Stream},
    session::{Session, runtime},
};
use crate::{
    event::ProcessId,
    kernel::{account::Account, cgroup::OwnCgroup, privileges::Capability, process},
    logging::say,
    output::escape_str,
    trace::Scope,
};

/// Exit codes of env(1), timeout(1) and their kin.
const EXIT_NOT_EXECUTABLE: u8 = 126;
const EXIT_NOT_FOUND: u8 = 127;

/// How long a command that was told to end may take for it.
const TERM_GRACE: Duration = Duration::from_secs(5);

/// Arguments of `run`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    live: LiveArgs,
    /// Show what the whole machine makes the kernel load meanwhile, not the command alone.
    #[arg(long)]
    host: bool,
    /// Run the command as this user (name or id), without privileges; tracing itself keeps its own.
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    #[command(flatten)]
    assert: AssertArgs,
    /// The command and its arguments.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "CMD")]
    command: Vec<OsString>,
}

pub(super) fn run(args: &Args, probe_log: bool) -> anyhow::Result<ExitCode> {
    let account = args.user.as_ref().map(|user| Account::find(Path::new("/"), user));
    let account = account.transpose().context("cannot run the command as another user")?;
    // A misspelt option is no command.
    let name = args.command.first().map(|name| name.to_string_lossy());
    if let Some(name) = name.filter(|name| name.starts_with('-')) {
        anyhow::bail!("{} is no option of `kmodtrace run`, and no command", escape_str(&name));
    }
    let assertion = args.assert.prepare()?;
    let code = runtime()?.block_on(async {
        // A terminal sends its signals to the command as well, which decides what they mean.
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hangup = signal(SignalKind::hangup())?;
        // Until the command exists nothing is in scope.
        let nothing = Scope::Command { process: ProcessId { pid: 0, start_ns: u64::MAX }, cgroup: None };
        let scope = if args.host { Scope::Host } else { nothing };
        let started = Session::start(&args.live, probe_log, scope, Stream::Stderr, assertion.judge()).await;
        let mut session = match started {
            Ok(session) => session,
            Err(error) => return assertion.not_traced(error),
        };

        let cgroup = OwnCgroup::create().inspect_err(|error| log::info!("{error}; following by ancestry alone")).ok();
        let (program, arguments) = args.command.split_first().context("no command was given")?;
        let mut command = Command::new(program);
        command.args(arguments);
        if let Some(cgroup) = &cgroup {
            cgroup.join_before_exec(command.as_std_mut())?;
        }
        // After the cgroup, which takes privileges to join.
        if let Some(account) = &account {
            account.run_as(command.as_std_mut());
        }
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => {
                let code = if error.kind() == io::ErrorKind::NotFound { EXIT_NOT_FOUND } else { EXIT_NOT_EXECUTABLE };
                let why = format!("cannot run {}: {error}", program.display());
                say(&format!("error: {why}"));
                let judge = if args.assert.has_policy() { session.finish().await? } else { None };
                return assertion.not_run(judge, &why, code);
            }
        };
        // The command has what it was given; signals for it must reach it, whoever it has become.
        let mut also = vec![Capability::Kill];
        if args.assert.has_policy() {
            // A verdict names the line of the script: that is in the shell's open files.
            also.push(Capability::SysPtrace);
        }
        session.drop_privileges(&also)?;
        let pid = child.id().context("the command ended before it began")?;
        if !args.host {
            let process = process::id_of(pid).with_context(|| format!("cannot identify the command, pid {pid}"))?;
            session.set_scope(Scope::Command {
                process,
                cgroup: cgroup.as_ref().map(|cgroup| (cgroup.path(), cgroup.id())),
            });
        }

        let mut deadline = assertion.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let mut timed_out = false;
        let status: ExitStatus = loop {
            tokio::select! {
                status = child.wait() => break status.context("cannot wait for the command")?,
                () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                    let signal = if timed_out { process::Signal::KILL } else { process::Signal::TERM };
                    end_all(pid, cgroup.as_ref(), signal)?;
                    deadline = (!timed_out).then(|| Instant::now() + TERM_GRACE);
                    timed_out = true;
                }
                _ = interrupt.recv() => {}
                _ = terminate.recv() => process::send_signal(pid, process::Signal::TERM)?,
                _ = hangup.recv() => process::send_signal(pid, process::Signal::HUP)?,
                go_on = session.step() => { go_on?; }
            }
        };
        let judge = session.finish().await?;
        assertion.ended(judge, status, timed_out)
    })?;
    Ok(ExitCode::from(code))
}

/// Signals the command and, where it has a cgroup of its own, all that it started.
fn end_all(pid: u32, cgroup: Option<&OwnCgroup>, signal: process::Signal) -> anyhow::Result<()> {
    let mut targets = match cgroup.map(OwnCgroup::processes) {
        Some(Ok(processes)) => processes,
        Some(Err(error)) => {
            log::info!("what the command started is not known: {error}");
            Vec::new()
        }
        None => Vec::new(),
    };
    if !targets.contains(&pid) {
        targets.push(pid);
    }
    targets.into_iter().try_for_each(|target| process::send_signal(target, signal)).context("cannot end the command")
}
