//! `run` as a test: its policy, its time, and the exit code that comes of it all.

use std::{os::unix::process::ExitStatusExt, path::PathBuf, process::ExitStatus, time::Duration};

use super::{
    EXIT_ERROR, EXIT_SKIPPED, EXIT_TIMEOUT,
    outputs::Outputs,
    sudo::Unprivileged,
    until,
    verdict::{InstalledKernel, Sinks, VerdictArgs, exit_code},
};
use crate::{
    logging::{self, say},
    policy::{self, Judge, Policy},
    probe::ProbeError,
};

/// Options of `run` for tests.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Tests")]
pub(super) struct AssertArgs {
    /// Judge by this policy. Exit code: 0 it holds, 1 it is violated, 125 it cannot be said.
    #[arg(long, value_name = "FILE", id = "policy")]
    policy: Option<PathBuf>,
    /// Where the policy holds, end with the command's own exit code.
    #[arg(long, requires = "policy")]
    propagate: bool,
    /// Where tracing is not possible, do not run the command and end with 4 (kselftest's skip) instead of 125.
    #[arg(long)]
    skip_if_unsupported: bool,
    /// End the command after this time (90s, 10m, 1h30m) with SIGTERM, and 5 s later with SIGKILL; the exit code is 124.
    #[arg(long, value_name = "TIME", value_parser = until::duration)]
    timeout: Option<Duration>,
    #[command(flatten)]
    verdict: VerdictArgs,
}

/// What is asserted, with everything opened that the end needs.
pub(super) struct Assertion {
    policy: Option<Policy>,
    sinks: Sinks,
    propagate: bool,
    skip_if_unsupported: bool,
    /// How long the command may take.
    pub(super) timeout: Option<Duration>,
}

impl AssertArgs {
    /// Whether there is something to judge by.
    pub(super) const fn has_policy(&self) -> bool {
        self.policy.is_some()
    }

    /// Reads the policy and opens the outputs: a mistake is told before anything runs.
    pub(super) fn prepare(&self) -> anyhow::Result<Assertion> {
        Ok(Assertion {
            policy: self.policy.as_deref().map(policy::load).transpose()?,
            // Rights are given up meanwhile: who may write now may not be able to give a file its name at the end.
            sinks: self.verdict.open(Outputs::live(self.policy.as_slice())?)?,
            propagate: self.propagate,
            skip_if_unsupported: self.skip_if_unsupported,
            timeout: self.timeout,
        })
    }
}

impl Assertion {
    /// The judge of the command's events.
    pub(super) fn judge(&self) -> Option<Judge> {
        self.policy.clone().map(Judge::new)
    }

    /// Tracing could not begin. Gives the exit code when that is to be skipped, else the error back.
    pub(super) fn not_traced(mut self, error: anyhow::Error) -> anyhow::Result<u8> {
        if !self.skip_if_unsupported || !(error.is::<ProbeError>() || error.is::<Unprivileged>()) {
            return Err(error);
        }
        logging::error(&error);
        say("skipped: tracing is not possible here");
        if let Some(policy) = self.policy.take() {
            self.sinks.put(&policy::skipped(policy, &format!("tracing is not possible here: {error}")))?;
        }
        Ok(EXIT_SKIPPED)
    }

    /// The command could not be run; `code` says so.
    pub(super) fn not_run(self, judge: Option<Judge>, why: &str, code: u8) -> anyhow::Result<u8> {
        self.judged(judge, Some(format!("the command was not run: {why}")))?;
        Ok(code)
    }

    /// The command has ended, by itself or by its time.
    pub(super) fn ended(self, judge: Option<Judge>, status: ExitStatus, timed_out: bool) -> anyhow::Result<u8> {
        let propagate = self.propagate;
        let has_policy = self.policy.is_some();
        let cut = timed_out.then(|| "the command took too long and was ended".to_owned());
        let outcome = self.judged(judge, cut)?;
        Ok(match outcome {
            _ if timed_out => EXIT_TIMEOUT,
            // A command that was killed did not do what it was run for.
            Some(outcome) if !propagate && status.signal().is_none() => exit_code(outcome, 0),
            Some(outcome) => exit_code(outcome, code(status)),
            None if has_policy => EXIT_ERROR,
            None => code(status),
        })
    }

    fn judged(mut self, judge: Option<Judge>, doubt: Option<String>) -> anyhow::Result<Option<policy::Outcome>> {
        let Some(mut judge) = judge else { return Ok(None) };
        if let Some(doubt) = doubt {
            judge.doubt(&doubt);
        }
        let verdict = judge.finish(&InstalledKernel::running());
        self.sinks.put(&verdict)?;
        Ok(Some(verdict.outcome))
    }
}

/// Options of `watch` for policies.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Tests")]
pub(super) struct WatchedArgs {
    /// Judge by this policy, and say at once what is against it. Exit code: 0 it holds, 1 it is violated, 125 it cannot
    /// be said.
    #[arg(long, value_name = "FILE", id = "policy")]
    policy: Option<PathBuf>,
    #[command(flatten)]
    verdict: VerdictArgs,
}

impl WatchedArgs {
    /// Reads the policy and opens the outputs: a mistake is told before anything is watched.
    pub(super) fn prepare(&self) -> anyhow::Result<Watched> {
        let policy = self.policy.as_deref().map(policy::load).transpose()?;
        Ok(Watched {
            has_policy: policy.is_some(),
            policy,
            sinks: self.verdict.open(Outputs::live(self.policy.as_slice())?)?,
        })
    }
}

/// A policy that is watched.
pub(super) struct Watched {
    policy: Option<Policy>,
    has_policy: bool,
    sinks: Sinks,
}

impl Watched {
    /// The judge of all events.
    pub(super) fn judge(&mut self) -> Option<Judge> {
        self.policy.take().map(Judge::new)
    }

    /// Watching has ended: the exit code of the verdict, when there was a policy.
    pub(super) fn ended(mut self, judge: Option<Judge>) -> anyhow::Result<Option<u8>> {
        let Some(judge) = judge else { return Ok(self.has_policy.then_some(EXIT_ERROR)) };
        let verdict = judge.finish(&InstalledKernel::running());
        self.sinks.put(&verdict)?;
        Ok(Some(exit_code(verdict.outcome, 0)))
    }
}

/// The command's own code, or 128 and its signal.
fn code(status: ExitStatus) -> u8 {
    let code = match (status.code(), status.signal()) {
        (Some(code), _) => code,
        (None, Some(signal)) => 128 + signal,
        (None, None) => i32::from(EXIT_ERROR),
    };
    u8::try_from(code & 0xff).unwrap_or(EXIT_ERROR)
}
