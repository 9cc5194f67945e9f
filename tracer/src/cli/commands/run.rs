//! `kmodtrace run -- CMD`: shows which modules a command makes the kernel load. The command keeps its standard
//! streams and its exit code; output goes to stderr or to a file.

use std::{
    ffi::OsString,
    io,
    path::Path,
    process::{Command, ExitCode, ExitStatus},
    time::Duration,
};

use anyhow::Context;
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{Instant, sleep_until},
};

use crate::{
    causes::with_causes,
    cli::{
        args::{
            policy::RunPolicyArgs,
            stop,
            trace::{Stream, TraceArgs},
        },
        session::{Session, runtime},
    },
    kernel::{
        account::Account,
        cgroup::{Joining, OwnCgroup},
        orphans,
        privileges::Capability,
        process,
    },
    logging::notice,
    output::escape_str,
    trace::{CommandCgroup, Scope},
};

/// Exit codes as of env(1) and timeout(1).
const EXIT_NOT_EXECUTABLE: u8 = 126;
const EXIT_NOT_FOUND: u8 = 127;

/// Time between SIGTERM and SIGKILL.
const TERM_GRACE: Duration = Duration::from_secs(5);

/// Arguments of `run`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit code: 0 the policy holds; 1 the policy is violated; 4 tracing is not possible \
    (--skip-if-unsupported); 124 --timeout ended; 125 error, or the verdict is undetermined; 126 the command cannot be \
    executed; 127 the command was not found; 128+N signal N ended the command.\n\n\
    Without --policy, or with --propagate if the policy holds, the exit code is that of the command.")]
pub struct Args {
    /// Show the requests and loads of all processes on this host, not only those of the command.
    #[arg(long)]
    host: bool,
    /// Run the command as USER (name or id), without privileges [default: the current user].
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// After the command has ended, wait at most TIME for its requests and loads that are in flight, e.g. 90s, 10m.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = stop::duration)]
    grace: Duration,
    #[command(flatten)]
    trace: TraceArgs,
    #[command(flatten)]
    policy: RunPolicyArgs,
    /// Command to run, with its arguments.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "CMD")]
    command: Vec<OsString>,
}

pub(in crate::cli) fn run(args: &Args, probe_log: bool) -> anyhow::Result<ExitCode> {
    let account = args.user.as_ref().map(|user| Account::find(Path::new("/"), user));
    let account = account.transpose().context("cannot run the command with --user")?;
    // Everything from the first unknown option on is taken as the command.
    let name = args.command.first().map(|name| name.to_string_lossy());
    if let Some(name) = name.filter(|name| name.starts_with('-')) {
        anyhow::bail!("unknown option {}: use `--` before the command", escape_str(&name));
    }
    let policy = args.policy.prepare()?;
    let code = runtime()?.block_on(async {
        // The terminal signals the command as well, and the command decides how to react.
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hangup = signal(SignalKind::hangup())?;
        let mut ended = signal(SignalKind::child())?;
        // Nothing is in scope until the command exists: this process has no other descendants that load modules.
        let command_only = |cgroup: Option<&OwnCgroup>| Scope::Command { cgroup: cgroup.map(CommandCgroup::from) };
        let scope = if args.host { Scope::Host } else { command_only(None) };
        let builder = args.trace.builder(probe_log).scope(scope).grace(args.grace);
        let started = Session::start(&args.trace, builder, Stream::Stderr, policy.judge()).await;
        let mut session = match started {
            Ok(session) => session,
            Err(error) => return policy.not_traced(error),
        };

        let cgroup = OwnCgroup::create().inspect_err(|error| unplaced(policy.timeout, &with_causes(error)));
        let mut cgroup = cgroup.ok();
        orphans::adopt_orphans().context("cannot follow what detaches itself from the command")?;
        let (program, arguments) = args.command.split_first().context("missing command: expected CMD")?;
        let mut command = Command::new(program);
        command.args(arguments);
        let joining = cgroup.as_ref().map(|cgroup| cgroup.join_before_exec(&mut command)).transpose()?;
        // Joining the cgroup needs privileges, therefore they are dropped afterwards.
        if let Some(account) = &account {
            account.run_as(&mut command);
        }
        let pid = match command.spawn() {
            Ok(child) => child.id(),
            Err(error) => {
                let code = if error.kind() == io::ErrorKind::NotFound { EXIT_NOT_FOUND } else { EXIT_NOT_EXECUTABLE };
                let why = format!("cannot run {}: {error}", program.display());
                notice(&format!("error: {why}"));
                let judge = if args.policy.has_policy() { session.finish().await? } else { None };
                return policy.not_run(judge, &why, code);
            }
        };
        if let Some(error) = joining.and_then(Joining::refused) {
            unplaced(policy.timeout, &format!("cannot move the command to a cgroup of its own: {error}"));
            cgroup = None;
        }
        // Signals must reach the command even if it has changed its user.
        let mut also = vec![Capability::Kill];
        // To remove the cgroup: the directory of the root cgroup is not writable, even for its owner.
        also.extend(cgroup.is_some().then_some(Capability::DacOverride));
        if args.policy.has_policy() {
            // To report the line of a script, the offset of the shell's open file is read.
            also.push(Capability::SysPtrace);
        }
        session.drop_privileges(&also)?;
        if !args.host {
            session.set_scope(command_only(cgroup.as_ref()));
        }

        let mut deadline = policy.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let mut timed_out = false;
        let status: ExitStatus = loop {
            tokio::select! {
                _ = ended.recv() => {
                    let reaped = orphans::reap_children(pid).context("cannot wait for the command")?;
                    if let Some(status) = reaped.command {
                        if reaped.is_last {
                            session.command_has_exited();
                        }
                        break status;
                    }
                }
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
        policy.ended(judge, status, timed_out)
    })?;
    Ok(ExitCode::from(code))
}

/// Reports that the command has no cgroup of its own. Its descent shows as well what belongs to it, but not all that has to end.
fn unplaced(timeout: Option<Duration>, why: &str) {
    match timeout {
        Some(_) => notice(&format!("warning: {why}; --timeout ends only the process of the command")),
        None => log::info!("{why}"),
    }
}

/// Signals the command and, where it has a cgroup of its own, all that it started.
fn end_all(pid: u32, cgroup: Option<&OwnCgroup>, signal: process::Signal) -> anyhow::Result<()> {
    let mut targets = match cgroup.map(OwnCgroup::processes) {
        Some(Ok(processes)) => processes,
        Some(Err(error)) => {
            log::info!("cannot list the processes of the command: {error}");
            Vec::new()
        }
        None => Vec::new(),
    };
    if !targets.contains(&pid) {
        targets.push(pid);
    }
    targets.into_iter().try_for_each(|target| process::send_signal(target, signal)).context("cannot signal the command")
}
