//! Runs scenarios one after another, each with a timeout, and checks that none leaves anything behind.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::cleanup::{self, State};
use super::command::ENVIRONMENT;
use super::port::Port;
use crate::protocol::{Counts, EXAMPLE_PATH, Frame, GUEST_PATH, KMODTRACE_PATH, Outcome, Status};
use crate::scenarios::{self, Need, Scenario};

const OUTPUT: &str = "/run/scenario.out";
const REASON: &str = "/run/scenario.reason";

/// The interval at which a running scenario is polled.
const POLL: Duration = Duration::from_millis(10);

/// How much of the end of a failed scenario's output is sent.
const SENT_BYTES: usize = 128 * 1024;

/// Runs the named scenarios.
pub(super) fn run(port: &Port, names: &[String], limit: Duration) -> Result<Counts> {
    let mut counts = Counts::default();
    let mut before = State::read()?;
    for name in names {
        port.send(&Frame::TestStart { name: name.clone() })?;
        let started = Instant::now();
        let (mut status, mut reason) = verdict(name, limit)?;
        let left = cleanup::restore(&before)?;
        let is_fresh = scenarios::find(name).is_some_and(|scenario| scenario.fresh_boot);
        if !left.is_empty() && !is_fresh && status == Status::Passed {
            (status, reason) = (Status::Failed, format!("left behind: {}", left.join(", ")));
        }
        if !left.is_empty() {
            // Do not report the same leftovers for the next scenario.
            before = State::read()?;
        }
        counts.add(status);
        let duration_ms =
            u64::try_from(started.elapsed().as_millis()).context("the duration of a scenario does not fit")?;
        let output = if status == Status::Failed { read_output()? } else { String::new() };
        port.send(&Frame::TestEnd(Outcome { name: name.clone(), status, reason, duration_ms, output }))?;
    }
    Ok(counts)
}

fn verdict(name: &str, limit: Duration) -> Result<(Status, String)> {
    fs::write(OUTPUT, "").context("cannot reset the output")?;
    let Some(scenario) = scenarios::find(name) else {
        return Ok((Status::Failed, format!("unknown scenario {name:?}")));
    };
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    if !scenario.applies_to(&release) {
        return Ok((Status::Skipped, format!("does not apply to kernel {release}")));
    }
    if let Some(missing) = missing_need(scenario) {
        return Ok((Status::Failed, missing));
    }
    match fs::remove_file(REASON) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).context("cannot reset the reason");
        }
        _ => {}
    }
    let output = File::options().append(true).open(OUTPUT).context("cannot open the output")?;
    let mut child = Command::new(GUEST_PATH)
        .args(["scenario", name, REASON])
        .env_clear()
        .envs(ENVIRONMENT.iter().copied())
        .stdin(Stdio::null())
        .stderr(output.try_clone().context("cannot share the output")?)
        .stdout(output)
        .spawn()
        .context("cannot start the scenario")?;
    let status = wait(&mut child, limit)?;
    cleanup::end_session(child.id())?;
    Ok(match status {
        None => {
            child.wait().context("cannot wait for the scenario")?;
            (Status::Failed, format!("still running after {} s", limit.as_secs()))
        }
        Some(status) if status.success() => (Status::Passed, String::new()),
        Some(status) => {
            let reason = fs::read_to_string(REASON);
            (Status::Failed, reason.unwrap_or_else(|_| format!("ended with {status} without a reason")))
        }
    })
}

fn wait(child: &mut Child, limit: Duration) -> Result<Option<ExitStatus>> {
    let deadline = Instant::now() + limit;
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait().context("cannot wait for the scenario")? {
            return Ok(Some(status));
        }
        thread::sleep(POLL);
    }
    Ok(None)
}

/// The first requirement of the scenario that this guest does not meet.
fn missing_need(scenario: &Scenario) -> Option<String> {
    scenario.needs.iter().find_map(|need| match need {
        Need::Kmodtrace => (!Path::new(KMODTRACE_PATH).exists())
            .then(|| "kmodtrace is not in the guest: build target/dist/kmodtrace first".to_owned()),
        Need::Program(name) => {
            let dirs = ["/usr/sbin", "/usr/bin"];
            let found = dirs.iter().any(|dir| Path::new(dir).join(name).exists());
            (!found).then(|| format!("{name} is not in the guest"))
        }
        Need::Example => (!Path::new(EXAMPLE_PATH).exists()).then(|| format!("{EXAMPLE_PATH} is not in the guest")),
        Need::KernelArgument(argument) => {
            let line = fs::read_to_string("/proc/cmdline").unwrap_or_default();
            let found = line.split_whitespace().any(|word| word == *argument);
            (!found).then(|| format!("the kernel was booted without {argument}"))
        }
        Need::System(system) => (!system.is_up()).then(|| format!("pid 1 is not that of {}", system.argument())),
        Need::Extras
        | Need::Tracers
        | Need::Kernel(..)
        | Need::KernelBefore(..)
        | Need::Release(_)
        | Need::OrdinaryFlavour => None,
    })
}

fn read_output() -> Result<String> {
    let bytes = fs::read(OUTPUT).with_context(|| format!("cannot read {OUTPUT}"))?;
    let from = bytes.len().saturating_sub(SENT_BYTES);
    Ok(String::from_utf8_lossy(&bytes[from..]).into_owned())
}
