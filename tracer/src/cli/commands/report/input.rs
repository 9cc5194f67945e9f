//! Capture input of a report, with and without --follow.

use std::{path::PathBuf, time::Duration};

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::args::Args;
use crate::{
    cli::{
        io::capture_in::{Captures, read_captures_of},
        session::runtime,
    },
    report::Engine,
    stream::{Pipeline, follow},
};

/// Poll interval of --follow.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// Reads all captures, oldest first.
pub(super) fn read(args: &Args, files: &[PathBuf], engine: &mut Engine) -> anyhow::Result<Captures> {
    let boot_id = args.boot.boot_id(files)?;
    if !args.follow {
        return read_captures_of(files, boot_id.as_deref(), None, engine);
    }
    let wait = Wait::new()?;
    let mut pipeline = Pipeline::new(engine);
    boot_id.iter().for_each(|boot_id| pipeline.only_boot(boot_id));
    let files = follow(files, &mut pipeline, &mut || wait.wait())?;
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

    /// Waits for the poll interval; false after a signal.
    fn wait(&self) -> bool {
        let mut signals = self.signals.borrow_mut();
        let [interrupt, terminate] = &mut *signals;
        self.runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => false,
                _ = terminate.recv() => false,
                () = tokio::time::sleep(POLL_INTERVAL) => true,
            }
        })
    }
}
