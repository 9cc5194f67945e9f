//! `kmodtrace watch`: shows module requests and loads of this host as they happen.

use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};

use crate::{
    cli::{
        args::{
            policy::WatchPolicyArgs,
            stop::{self, StopArgs, StopConditions},
            trace::{Stream, TraceArgs},
        },
        session::{Session, runtime},
    },
    logging::notice,
    output::verdict::news,
    policy::Judge,
};

/// Arguments of `watch`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit code: 0 stopped by a signal or a stop condition, and the policy holds; 1 the policy is violated; \
    124 --duration ended before --exit-on; 125 error, or the verdict is undetermined."
)]
pub struct Args {
    #[command(flatten)]
    stop: StopArgs,
    #[command(flatten)]
    trace: TraceArgs,
    #[command(flatten)]
    policy: WatchPolicyArgs,
}

pub(in crate::cli) fn run(args: &Args, probe_log: bool) -> anyhow::Result<ExitCode> {
    let mut policy = args.policy.prepare()?;
    runtime()?.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut session =
            Session::start(&args.trace, args.trace.builder(probe_log), Stream::Stdout, policy.judge()).await?;
        session.drop_privileges(&[])?;
        session.end_at(StopConditions::new(&args.stop)?);
        let mut ended = None;
        while ended.is_none() {
            tokio::select! {
                _ = interrupt.recv() => break,
                _ = terminate.recv() => break,
                go_on = session.step() => if !go_on? { break },
            }
            for line in news(&session.take_news()) {
                notice(&line);
            }
            ended = session.reached();
        }
        let mut judge = session.finish().await?;
        // The last batch can contain findings, too.
        for line in news(&judge.as_mut().map(Judge::take_news).unwrap_or_default()) {
            notice(&line);
        }
        let verdict = policy.ended(judge)?;
        Ok(stop::exit_code(ended, verdict.map_or(ExitCode::SUCCESS, ExitCode::from)))
    })
}
