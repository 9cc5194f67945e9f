//! `kmodtrace watch`: what makes the kernel load modules, as it happens.

use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};

use super::{
    assert::WatchedArgs,
    live::{LiveArgs, Stream},
    session::{Session, runtime},
    until::{self, Until, UntilArgs},
};
use crate::{logging::say, output::verdict::news, policy::Judge, trace::Scope};

/// Arguments of `watch`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    live: LiveArgs,
    #[command(flatten)]
    until: UntilArgs,
    #[command(flatten)]
    watched: WatchedArgs,
}

pub(super) fn run(args: &Args, probe_log: bool) -> anyhow::Result<ExitCode> {
    let mut watched = args.watched.prepare()?;
    runtime()?.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut session = Session::start(&args.live, probe_log, Scope::Host, Stream::Stdout, watched.judge()).await?;
        session.drop_privileges(&[])?;
        session.end_at(Until::new(&args.until)?);
        let mut ended = None;
        while ended.is_none() {
            tokio::select! {
                _ = interrupt.recv() => break,
                _ = terminate.recv() => break,
                go_on = session.step() => if !go_on? { break },
            }
            for line in news(&session.take_news()) {
                say(&line);
            }
            ended = session.reached();
        }
        let mut judge = session.finish().await?;
        // What was read last is told as well.
        for line in news(&judge.as_mut().map(Judge::take_news).unwrap_or_default()) {
            say(&line);
        }
        let verdict = watched.ended(judge)?;
        Ok(until::exit_code(ended, verdict.map_or(ExitCode::SUCCESS, ExitCode::from)))
    })
}
