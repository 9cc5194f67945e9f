//! Captures of a report: those that have ended, and those that still grow.

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{
    super::{
        captures::{self, Captures},
        session::runtime,
    },
    args::Args,
};
use crate::{
    report::Engine,
    stream::{Pipeline, follow},
};

/// How often a capture that is followed is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// Reads everything that was named, oldest first.
pub(super) fn read(args: &Args, engine: &mut Engine) -> anyhow::Result<Captures> {
    if !args.follow {
        return captures::read(&args.files, None, engine);
    }
    let wait = Wait::new()?;
    let mut pipeline = Pipeline::new(engine);
    let files = follow(&args.files, &mut pipeline, &mut || wait.goes_on())?;
    let (_, issues) = pipeline.finish()?;
    Ok(Captures { files, issues })
}

/// Waits for captures to grow.
struct Wait {
    runtime: tokio::runtime::Runtime,
    signals: std::cell::RefCell<[Signal; 2]>,
}

impl Wait {
    fn new() -> anyhow::Result<Self> {
        let runtime = runtime()?;
        let signals = runtime
            .block_on(async { anyhow::Ok([signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?]) })?;
        Ok(Self { runtime, signals: std::cell::RefCell::new(signals) })
    }

    /// Waits a moment; false when it is to end.
    fn goes_on(&self) -> bool {
        let mut signals = self.signals.borrow_mut();
        let [interrupt, terminate] = &mut *signals;
        self.runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => false,
                _ = terminate.recv() => false,
                () = tokio::time::sleep(LOOK) => true,
            }
        })
    }
}
