//! The agent: reads its orders, executes them, and reports the results.

use std::fs;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::port::Port;
use super::{command, shell, suite};
use crate::protocol::{Chunk, Counts, Frame, Job, ORDERS_PATH, Orders};

/// The size of the parts into which long texts are split.
const CHUNK_BYTES: usize = 4096;

/// Executes the orders.
pub(super) fn run() -> Result<ExitCode> {
    let port = Port::open()?;
    let code = match work(&port) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            port.send(&Frame::AgentError { message: format!("{error:#}") })?;
            ExitCode::FAILURE
        }
    };
    port.drain()?;
    Ok(code)
}

fn work(port: &Port) -> Result<()> {
    port.send(&Frame::Hello { release: release(), boot_ms: boot_ms()? })?;
    let orders = orders(port)?;
    let counts = match orders.job {
        Job::Command { argv } => {
            let code = command::run(port, &argv)?;
            port.send(&Frame::Exit { code })?;
            Counts::default()
        }
        Job::Shell { rows, columns, term } => {
            shell::run(rows, columns, &term)?;
            Counts::default()
        }
        Job::Scenarios { names, timeout_s } => suite::run(port, &names, Duration::from_secs(timeout_s))?,
    };
    send_kernel_log(port)?;
    port.send(&Frame::End { counts })
}

/// The orders: from the initramfs, or, in a guest that is restored from a snapshot, from the host through the port.
fn orders(port: &Port) -> Result<Orders> {
    let text = match fs::read(ORDERS_PATH) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => port.read_line()?,
        Err(error) => return Err(error).with_context(|| format!("cannot read {ORDERS_PATH}")),
    };
    serde_json::from_slice(&text).with_context(|| format!("invalid orders {:?}", String::from_utf8_lossy(&text)))
}

/// Sends the kernel log, so that the host has it even where the console showed only part of it.
fn send_kernel_log(port: &Port) -> Result<()> {
    let output = std::process::Command::new("/usr/bin/busybox").arg("dmesg").output().context("cannot read the log")?;
    for part in output.stdout.chunks(CHUNK_BYTES) {
        port.send(&Frame::Kmsg { data: Chunk::new(part) })?;
    }
    Ok(())
}

fn release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

/// Milliseconds since boot.
fn boot_ms() -> Result<u64> {
    let text = fs::read_to_string("/proc/uptime").context("cannot read the uptime")?;
    let digits: String = text.chars().take_while(|character| *character != ' ').filter(char::is_ascii_digit).collect();
    // The file gives hundredths of a second.
    Ok(digits.parse::<u64>().context("invalid uptime")? * 10)
}
