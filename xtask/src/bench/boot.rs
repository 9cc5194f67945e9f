//! The cost of the recorder during a boot with systemd, udev and a container: boots with and without it, in turn.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use kmodtrace_tests::guest::System;
use kmodtrace_tests::protocol::{BootCost, GUEST_PATH};
use serde::{Deserialize, Serialize};

use super::stats::{Figure, float};
use crate::build;
use crate::vm::{Choice, Guest, Set, Sink};

/// The kernel line.
const KERNEL: &str = "6.12";

/// The time limit of a boot.
const LIMIT: Duration = Duration::from_secs(900);

/// Switches the units of kmodtrace off (kernel-command-line(7)).
const WITHOUT: &str = "systemd.mask=kmodtrace.service systemd.mask=kmodtrace-early.service";

/// All figures.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Boot {
    pub(super) kernel: String,
    /// The accelerator of the guest.
    pub(super) accelerator: String,
    pub(super) rounds: u32,
    /// Processor time of the whole boot, ms.
    pub(super) busy_with_ms: Figure,
    pub(super) busy_without_ms: Figure,
    /// Processor time of the recorder and of the unit that arms the programs, ms.
    pub(super) recorder_ms: Figure,
    pub(super) arming_ms: Figure,
    /// Share of the recorder in the boot, %.
    pub(super) recorder_percent: Figure,
}

/// Boots in turn with and without the recorder.
pub(super) fn run(rounds: u32) -> Result<Boot> {
    build::run()?;
    let guest = Guest::prepare(KERNEL, Choice::default())?.with_extras(Set::System)?.with_timeout(LIMIT);
    let guest = guest.with_kernel_arguments(System::Systemd.argument());
    let (kernel, accelerator) = (guest.release().to_owned(), guest.accelerator().to_owned());
    let mut with = Vec::new();
    let mut without = Vec::new();
    for round in 1..=rounds {
        eprintln!("round {round}: boot with the recorder");
        with.push(boot(&guest)?);
        eprintln!("round {round}: boot without it");
        without.push(boot(&guest.clone().with_kernel_arguments(WITHOUT))?);
    }
    if without.iter().any(|cost| cost.recorder_ms > 0) || with.iter().any(|cost| cost.recorder_ms == 0) {
        bail!("the recorder ran in the wrong boots: {with:?}, {without:?}");
    }
    let figure = |costs: &[BootCost], value: fn(&BootCost) -> f64| {
        Figure::of(&costs.iter().map(value).collect::<Vec<_>>()).context("no round")
    };
    Ok(Boot {
        kernel,
        accelerator,
        rounds,
        busy_with_ms: figure(&with, |cost| float(cost.busy_ms))?,
        busy_without_ms: figure(&without, |cost| float(cost.busy_ms))?,
        recorder_ms: figure(&with, |cost| float(cost.recorder_ms))?,
        arming_ms: figure(&with, |cost| float(cost.arming_ms))?,
        recorder_percent: figure(&with, |cost| 100.0 * float(cost.recorder_ms) / float(cost.busy_ms))?,
    })
}

fn boot(guest: &Guest) -> Result<BootCost> {
    let mut printed = Printed(Vec::new());
    let code = guest.run_command(&[GUEST_PATH.to_owned(), "bench-boot".to_owned()], &mut printed)?;
    if code != 0 {
        bail!("the bench in the guest failed with exit code {code}");
    }
    serde_json::from_slice(&printed.0).with_context(|| format!("invalid cost: {}", String::from_utf8_lossy(&printed.0)))
}

/// What the guest prints.
struct Printed(Vec<u8>);

impl Sink for Printed {
    fn stdout(&mut self, bytes: &[u8]) -> Result<()> {
        self.0.extend(bytes);
        Ok(())
    }

    fn stderr(&mut self, bytes: &[u8]) -> Result<()> {
        eprint!("{}", String::from_utf8_lossy(bytes));
        Ok(())
    }
}
