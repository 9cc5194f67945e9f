//! The processor time of a boot, with or without the recorder.

use std::fs;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::tracer::output;
use crate::protocol::BootCost;

/// The units of kmodtrace, and the one that ends last in the boot.
const RECORDER: &str = "kmodtrace.service";
const EARLY: &str = "kmodtrace-early.service";
const CONTAINER: &str = "kmodtrace-container.service";

/// Waits until the boot has ended, and prints what it has cost.
pub(in crate::guest) fn run() -> Result<ExitCode> {
    while matches!(property(CONTAINER, "ActiveState")?.as_str(), "inactive" | "activating") {
        thread::sleep(Duration::from_millis(200));
    }
    ensure!(property(CONTAINER, "Result")? == "success", "the container of the boot has failed");
    output(&["udevadm", "settle", "--timeout=300"])?;
    let stat = fs::read_to_string("/proc/stat").context("cannot read /proc/stat")?;
    let cost = BootCost {
        busy_ms: busy_ms(&stat).context("/proc/stat has no line cpu")?,
        recorder_ms: consumed_ms(RECORDER)?,
        arming_ms: consumed_ms(EARLY)?,
    };
    println!("{}", serde_json::to_string(&cost).context("cannot serialize the cost")?);
    Ok(ExitCode::SUCCESS)
}

fn property(unit: &str, name: &str) -> Result<String> {
    Ok(output(&["systemctl", "show", "--value", "--property", name, unit])?.trim().to_owned())
}

/// The processor time of a unit; 0 if it did not run.
fn consumed_ms(unit: &str) -> Result<u64> {
    let text = property(unit, "CPUUsageNSec")?;
    // `[not set]`, or the largest number, without a run.
    let ns = text.parse::<u64>().ok().filter(|ns| *ns != u64::MAX);
    Ok(ns.unwrap_or(0) / 1_000_000)
}

/// The time that the processor was busy since boot: `cpu USER NICE SYSTEM IDLE IOWAIT IRQ SOFTIRQ...` in ticks of 10 ms
/// (proc_stat(5)).
fn busy_ms(stat: &str) -> Option<u64> {
    let ticks: Vec<u64> =
        stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace().map_while(|word| word.parse().ok()).collect();
    let busy = [0, 1, 2, 5, 6].iter().map(|index| ticks.get(*index));
    Some(busy.sum::<Option<u64>>()? * 10)
}

#[cfg(test)]
mod tests {
    use super::busy_ms;

    /// Idle time is not busy.
    #[test]
    fn busy_time_is_read_from_stat() {
        assert_eq!(busy_ms("cpu  1 2 3 1000 100 4 5 0 0 0\ncpu0 1 2\n"), Some(150));
        assert_eq!(busy_ms("cpu  1 2 3\n"), None);
        assert_eq!(busy_ms("intr 1\n"), None);
    }
}
