//! What tracers cost, measured in a guest: each has its turn in each round, with the same work to watch.

mod asking;
mod elsewhere;
mod processes;
mod programs;
mod session;
mod tracer;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};

use crate::protocol::{Plan, Sample, Who};

pub(super) use asking::run as ask;

/// What the kernel runs in place of modprobe.
const HELPER: &str = "/run/helper";

/// It finds no module and ends at once when the kernel asks, so that requests are as cheap as they can be. Whoever asks for
/// modprobe's configuration gets it.
const HELPER_SCRIPT: &str = "#!/bin/dash\n[ \"$1\" = -q ] && exit 1\nexec /sbin/modprobe \"$@\"\n";

/// Runs the plan that the argument is; prints samples.
pub(super) fn run(arguments: &[String]) -> Result<ExitCode> {
    let [plan] = arguments else { bail!("bench PLAN") };
    let plan: Plan = serde_json::from_str(plan).context("odd plan")?;
    prepare()?;
    for round in 1..=plan.rounds {
        // Another one begins in each round: none always has the youngest or the oldest kernel.
        let first = usize::try_from(round).context("too many rounds")? % Who::ALL.len();
        for who in Who::ALL.iter().cycle().skip(first).take(Who::ALL.len()) {
            eprintln!("round {round}: {}", who.name());
            let figures = session::run(*who, &plan, round == 1);
            for (figure, value) in figures.with_context(|| format!("round {round}, {}", who.name()))? {
                say(&Sample { round, who: who.name().to_owned(), figure, value })?;
            }
        }
    }
    for (figure, value) in programs::run()? {
        say(&Sample { round: 1, who: Who::Record.name().to_owned(), figure, value })?;
    }
    Ok(ExitCode::SUCCESS)
}

fn say(sample: &Sample) -> Result<()> {
    println!("{}", serde_json::to_string(sample).context("a figure has no JSON form")?);
    Ok(())
}

/// Lets requests fail as cheaply as they can.
fn prepare() -> Result<()> {
    // Else the first request would load it.
    tracer::output(&["modprobe", "af_alg"])?;
    fs::write(HELPER, HELPER_SCRIPT).context("cannot write the helper")?;
    fs::set_permissions(HELPER, Permissions::from_mode(0o755)).context("cannot make the helper executable")?;
    fs::write("/proc/sys/kernel/modprobe", HELPER).context("cannot set kernel.modprobe")
}
