//! The cost of tracers, measured in a guest: each tracer has one turn per round, with the same workload.

pub(in crate::guest) mod boot;
mod processes;
mod programs;
mod requests;
mod session;
mod tracer;
mod unrelated;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};

use crate::protocol::{Plan, Sample, TracerKind};

pub(super) use requests::run as ask;

/// The program that replaces modprobe as the kernel's helper.
const HELPER: &str = "/run/helper";

/// For the kernel it exits at once without a module, so that requests are as cheap as possible. Other calls, such as those
/// that print modprobe's configuration, are forwarded to modprobe.
const HELPER_SCRIPT: &str = "#!/bin/dash\n[ \"$1\" = -q ] && exit 1\nexec /sbin/modprobe \"$@\"\n";

/// Runs the plan in the argument, and prints samples.
pub(super) fn run(arguments: &[String]) -> Result<ExitCode> {
    let [plan] = arguments else { bail!("invalid arguments: expected PLAN") };
    let plan: Plan = serde_json::from_str(plan).context("invalid plan")?;
    prepare()?;
    for round in 1..=plan.rounds {
        // The order rotates, so that no tracer always runs first or last after boot.
        let first = usize::try_from(round).context("too many rounds")? % TracerKind::ALL.len();
        for kind in TracerKind::ALL.iter().cycle().skip(first).take(TracerKind::ALL.len()) {
            eprintln!("round {round}: {}", kind.name());
            let figures = session::run(*kind, &plan, round == 1);
            for (figure, value) in figures.with_context(|| format!("round {round}, {}", kind.name()))? {
                print(&Sample { round, tracer: kind.name().to_owned(), figure, value })?;
            }
        }
    }
    for (figure, value) in programs::run()? {
        print(&Sample { round: 1, tracer: TracerKind::Record.name().to_owned(), figure, value })?;
    }
    Ok(ExitCode::SUCCESS)
}

fn print(sample: &Sample) -> Result<()> {
    println!("{}", serde_json::to_string(sample).context("cannot serialize a sample")?);
    Ok(())
}

/// Makes requests fail as cheaply as possible.
fn prepare() -> Result<()> {
    // Otherwise the first request would load it.
    tracer::output(&["modprobe", "af_alg"])?;
    fs::write(HELPER, HELPER_SCRIPT).context("cannot write the helper")?;
    fs::set_permissions(HELPER, Permissions::from_mode(0o755)).context("cannot make the helper executable")?;
    fs::write("/proc/sys/kernel/modprobe", HELPER).context("cannot set kernel.modprobe")
}
