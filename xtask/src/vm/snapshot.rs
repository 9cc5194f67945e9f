//! A guest that has booted and waits for its orders, stored in a file. Restoring it replaces a boot.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use kmodtrace_tests::protocol::{Decoder, Frame, Orders};

use super::monitor::Monitor;
use super::packages::remove_dir;
use super::qemu::{Machine, Running};

/// The file with the state, in the directory of a run.
pub(super) const STATE: &str = "state";

/// How many frames an agent has sent when it waits for its orders.
pub(super) const FRAMES: u64 = 1;

/// A stored guest. Its directory is removed when the value is dropped.
#[derive(Debug)]
pub(super) struct Snapshot {
    dir: PathBuf,
    /// The size of the initramfs that it booted with.
    pub(super) initrd_bytes: u64,
    /// The kernel's release.
    pub(super) release: String,
    /// Time from the start of the kernel to the agent's first frame.
    pub(super) boot_ms: u64,
}

impl Snapshot {
    /// Boots a machine whose initramfs contains no orders, and stores it when the agent waits for them.
    pub(super) fn make(machine: &Machine<'_>, initrd_bytes: u64, limit: Duration) -> Result<Self> {
        let mut running = machine.start()?;
        let lines = running.lines()?;
        let deadline = Instant::now() + limit;
        let line = lines.recv_timeout(deadline.saturating_duration_since(Instant::now()));
        let line = line.context("the agent in the guest did not start")?;
        let (release, boot_ms) = match Decoder::default().line(&line)? {
            Frame::Hello { release, boot_ms } => (release, boot_ms),
            frame => bail!("the first frame is {frame:?}"),
        };
        Monitor::connect(machine.dir)?.store(STATE)?;
        running.kill()?;
        Ok(Self { dir: machine.dir.to_owned(), initrd_bytes, release, boot_ms })
    }

    /// Starts a guest with the stored state, and sends its orders.
    pub(super) fn restore(&self, machine: &Machine<'_>, orders: &Orders) -> Result<Running> {
        // QEMU runs in the directory of the run, and the file stays even if the snapshot is dropped.
        fs::hard_link(self.dir.join(STATE), machine.dir.join(STATE)).context("cannot link the state of the guest")?;
        let mut running = machine.start()?;
        let mut monitor = Monitor::connect(machine.dir)?;
        monitor.restore(STATE)?;
        // Not before: the state of the port replaces what it had received.
        monitor.resume()?;
        let mut line = serde_json::to_vec(orders).context("cannot write the orders")?;
        line.push(b'\n');
        running.send(&line)?;
        Ok(running)
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        // What is left is removed by a later run.
        let _ = remove_dir(&self.dir);
    }
}
