//! `kmodtrace run -- CMD`: what a command makes the kernel load. The command keeps its standard
//! streams and its exit code; the findings go to stderr or to a file.

use std::{
    ffi::OsString,
    io,
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{ExitCode, ExitStatus},
};

use anyhow::Context;
use tokio::{
    process::Command,
    signal::unix::{SignalKind, signal},
};

use super::{
    live::{LiveArgs, Stream},
    trace::{Trace, runtime},
};
use crate::{
    event::ProcessId,
    kernel::{account::Account, cgroup::OwnCgroup, privileges::Capability, process},
    logging::say,
    session::Scope,
};

/// Exit codes of env(1), timeout(1) and their kin.
const EXIT_NOT_EXECUTABLE: u8 = 126;
const EXIT_NOT_FOUND: u8 = 127;

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
    /// The command and its arguments.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "CMD")]
    command: Vec<OsString>,
}

pub(super) fn run(args: &Args, probe_log: bool) -> anyhow::Result<ExitCode> {
    let account = args.user.as_ref().map(|user| Account::find(Path::new("/"), user));
    let account = account.transpose().context("cannot run the command as another user")?;
    runtime()?.block_on(async {
        // A terminal sends its signals to the command as well, which decides what they mean.
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hangup = signal(SignalKind::hangup())?;
        // Until the command exists nothing is in scope.
        let nothing = Scope::Command { process: ProcessId { pid: 0, start_ns: u64::MAX }, cgroup: None };
        let scope = if args.host { Scope::Host } else { nothing };
        let mut trace = Trace::start(&args.live, probe_log, scope, Stream::Stderr)?;

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
                say(&format!("error: cannot run {}: {error}", program.display()));
                return Ok(ExitCode::from(code));
            }
        };
        // The command has what it was given; signals for it must reach it, whoever it has become.
        trace.drop_privileges(&[Capability::Kill])?;
        let pid = child.id().context("the command ended before it began")?;
        if !args.host {
            let process = process::id_of(pid).with_context(|| format!("cannot identify the command, pid {pid}"))?;
            trace.set_scope(Scope::Command {
                process,
                cgroup: cgroup.as_ref().map(|cgroup| (cgroup.path(), cgroup.id())),
            });
        }

        let status = loop {
            tokio::select! {
                status = child.wait() => break status.context("cannot wait for the command")?,
                _ = interrupt.recv() => {}
                _ = terminate.recv() => process::send_signal(pid, process::Signal::TERM)?,
                _ = hangup.recv() => process::send_signal(pid, process::Signal::HUP)?,
                go_on = trace.step() => { go_on?; }
            }
        };
        trace.finish().await?;
        Ok(exit_code(status))
    })
}

/// The command's own code, or 128 and its signal.
fn exit_code(status: ExitStatus) -> ExitCode {
    let code = match (status.code(), status.signal()) {
        (Some(code), _) => code,
        (None, Some(signal)) => 128 + signal,
        (None, None) => i32::from(super::EXIT_ERROR),
    };
    ExitCode::from(u8::try_from(code & 0xff).unwrap_or(super::EXIT_ERROR))
}
