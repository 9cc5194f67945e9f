//! Policy options of `run` and `watch`, and the resulting exit codes.

use std::{os::unix::process::ExitStatusExt, path::PathBuf, process::ExitStatus, time::Duration};

use super::{
    stop,
    verdict::{InstalledKernel, VerdictArgs, VerdictOutputs, exit_code},
};
use crate::{
    cli::{EXIT_ERROR, EXIT_SKIPPED, EXIT_TIMEOUT, io::output_files::OutputFiles, sudo::Unprivileged},
    logging::{self, notice},
    policy::{self, Judge, Policy},
    probe::ProbeError,
};

/// Policy and timeout options of `run`.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Tests")]
pub(in crate::cli) struct RunPolicyArgs {
    /// Evaluate a policy; its verdict decides the exit code.
    #[arg(long, value_name = "FILE", id = "policy")]
    policy: Option<PathBuf>,
    /// If the policy holds, exit with the exit code of the command.
    #[arg(long, requires = "policy")]
    propagate: bool,
    /// If tracing is not possible, exit with 4 (kselftest skip) instead of 125, without running the command.
    #[arg(long)]
    skip_if_unsupported: bool,
    /// Send SIGTERM after TIME, e.g. 90s, 10m, and SIGKILL 5 s later; exit code 124 [default: no limit].
    #[arg(long, value_name = "TIME", value_parser = stop::duration)]
    timeout: Option<Duration>,
    #[command(flatten)]
    verdict: VerdictArgs,
}

/// The policy of `run`, with its outputs open.
pub(in crate::cli) struct RunPolicy {
    policy: Option<Policy>,
    outputs: VerdictOutputs,
    propagate: bool,
    skip_if_unsupported: bool,
    /// Time limit of the command.
    pub(in crate::cli) timeout: Option<Duration>,
}

impl RunPolicyArgs {
    /// Whether a policy was given.
    pub(in crate::cli) const fn has_policy(&self) -> bool {
        self.policy.is_some()
    }

    /// Reads the policy and opens the outputs, so that mistakes are reported before the command runs.
    pub(in crate::cli) fn prepare(&self) -> anyhow::Result<RunPolicy> {
        Ok(RunPolicy {
            policy: self.policy.as_deref().map(policy::load).transpose()?,
            // Not renamed at the end: privileges are dropped in between, so renaming could fail then.
            outputs: self.verdict.open(OutputFiles::live(self.policy.as_slice())?)?,
            propagate: self.propagate,
            skip_if_unsupported: self.skip_if_unsupported,
            timeout: self.timeout,
        })
    }
}

impl RunPolicy {
    /// The policy evaluator for the events of the command.
    pub(in crate::cli) fn judge(&self) -> Option<Judge> {
        self.policy.clone().map(Judge::new)
    }

    /// After tracing failed to start: the exit code with --skip-if-unsupported, else the error.
    pub(in crate::cli) fn not_traced(mut self, error: anyhow::Error) -> anyhow::Result<u8> {
        if !self.skip_if_unsupported || !(error.is::<ProbeError>() || error.is::<Unprivileged>()) {
            return Err(error);
        }
        logging::error(&error);
        notice("skipped: tracing is not possible here");
        if let Some(policy) = self.policy.take() {
            self.outputs.write(&policy::skipped(policy, &format!("tracing is not possible here: {error}")))?;
        }
        Ok(EXIT_SKIPPED)
    }

    /// After the command failed to start with exit code `code`.
    pub(in crate::cli) fn not_run(self, judge: Option<Judge>, why: &str, code: u8) -> anyhow::Result<u8> {
        self.judged(judge, Some(format!("the command was not run: {why}")))?;
        Ok(code)
    }

    /// The exit code after the command ended or was stopped by --timeout.
    pub(in crate::cli) fn ended(self, judge: Option<Judge>, status: ExitStatus, timed_out: bool) -> anyhow::Result<u8> {
        let propagate = self.propagate;
        let has_policy = self.policy.is_some();
        let cut = timed_out.then(|| "the command was stopped by --timeout".to_owned());
        let outcome = self.judged(judge, cut)?;
        Ok(match outcome {
            _ if timed_out => EXIT_TIMEOUT,
            // A killed command did not complete its test, therefore its exit code takes precedence.
            Some(outcome) if !propagate && status.signal().is_none() => exit_code(outcome, 0),
            Some(outcome) => exit_code(outcome, code(status)),
            None if has_policy => EXIT_ERROR,
            None => code(status),
        })
    }

    fn judged(mut self, judge: Option<Judge>, doubt: Option<String>) -> anyhow::Result<Option<policy::Outcome>> {
        let Some(mut judge) = judge else { return Ok(None) };
        if let Some(doubt) = doubt {
            judge.add_undetermined(&doubt);
        }
        let verdict = judge.finish(&InstalledKernel::running());
        self.outputs.write(&verdict)?;
        Ok(Some(verdict.outcome))
    }
}

/// Policy options of `watch`.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Tests")]
pub(in crate::cli) struct WatchPolicyArgs {
    /// Evaluate a policy and report each violation immediately; its verdict decides the exit code.
    #[arg(long, value_name = "FILE", id = "policy")]
    policy: Option<PathBuf>,
    #[command(flatten)]
    verdict: VerdictArgs,
}

impl WatchPolicyArgs {
    /// Reads the policy and opens the outputs, so that mistakes are reported before tracing starts.
    pub(in crate::cli) fn prepare(&self) -> anyhow::Result<WatchPolicy> {
        let policy = self.policy.as_deref().map(policy::load).transpose()?;
        Ok(WatchPolicy {
            has_policy: policy.is_some(),
            policy,
            outputs: self.verdict.open(OutputFiles::live(self.policy.as_slice())?)?,
        })
    }
}

/// The policy of `watch`, with its outputs open.
pub(in crate::cli) struct WatchPolicy {
    policy: Option<Policy>,
    has_policy: bool,
    outputs: VerdictOutputs,
}

impl WatchPolicy {
    /// The policy evaluator for all events.
    pub(in crate::cli) fn judge(&mut self) -> Option<Judge> {
        self.policy.take().map(Judge::new)
    }

    /// The exit code of the verdict, if there is a policy.
    pub(in crate::cli) fn ended(mut self, judge: Option<Judge>) -> anyhow::Result<Option<u8>> {
        let Some(judge) = judge else { return Ok(self.has_policy.then_some(EXIT_ERROR)) };
        let verdict = judge.finish(&InstalledKernel::running());
        self.outputs.write(&verdict)?;
        Ok(Some(exit_code(verdict.outcome, 0)))
    }
}

/// The exit code of the command, or 128 plus the signal that ended it.
fn code(status: ExitStatus) -> u8 {
    let code = match (status.code(), status.signal()) {
        (Some(code), _) => code,
        (None, Some(signal)) => 128 + signal,
        (None, None) => i32::from(EXIT_ERROR),
    };
    u8::try_from(code & 0xff).unwrap_or(EXIT_ERROR)
}
