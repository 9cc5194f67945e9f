//! Modules that the distribution's udev loads, and the devices for which it loads them.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::oracle_check::{expect_status, number, text, with_oracle};
use super::{Need, Scenario};
use crate::ctx::{Capture, Ctx, contains, ensure, equal};

const NEEDS: &[Need] = &[Need::Kmodtrace, Need::Extras];

pub(super) const SCENARIOS: &[Scenario] =
    &[Scenario { name: "udev-loads-for-a-device", fresh_boot: true, needs: NEEDS, run: devices }];

/// The power button, which exists on every machine with ACPI.
const BUTTON: &str = "/devices/LNXSYSTM:00/LNXPWRBN:00";

/// A device without an alias.
const OTHER: &str = "/sys/devices/virtual/mem/null";

/// The directory of the ACPI devices.
const ACPI: &str = "/sys/bus/acpi/devices";

/// Interrupt links: several devices with the same alias, for which there is no module.
const LINK: &str = "PNP0C0F";

/// Makes the kernel send an `add` uevent for a device.
fn send_uevent(device: &Path) -> Result<()> {
    fs::write(device.join("uevent"), "add").with_context(|| format!("cannot send a uevent for {}", device.display()))
}

fn devices(ctx: &mut Ctx) -> Result<()> {
    ctx.modprobe_conf("links", &format!("alias acpi:{LINK}:* dummy\n"))?;
    fs::create_dir_all("/run/udev").context("cannot create /run/udev")?;
    ctx.run(&["/lib/systemd/systemd-udevd", "--daemon"])?.ok()?;
    ctx.run(&["udevadm", "settle", "--timeout=20"])?.ok()?;
    let oracle = ctx.oracle()?;
    let tracer = ctx.watch(&[])?;
    let tree = ctx.watch_tree(&["--color", "never"])?;

    // Afterwards the tracer knows that it receives the messages of udev.
    send_uevent(Path::new(OTHER))?;
    ctx.run(&["udevadm", "settle", "--timeout=20"])?.ok()?;
    send_uevent(&Path::new("/sys").join(BUTTON.trim_start_matches('/')))?;
    ctx.run(&["udevadm", "settle", "--timeout=20"])?.ok()?;
    // Wait until the current worker is idle, so that the next load is separate.
    ctx.run(&["sleep", "2"])?.ok()?;
    // Stop the queue, so that udev processes the devices only when all uevents were sent.
    ctx.run(&["udevadm", "control", "--stop-exec-queue"])?.ok()?;
    let mut links = 0;
    for entry in fs::read_dir(ACPI).with_context(|| format!("cannot list {ACPI}"))? {
        let path = entry.with_context(|| format!("cannot list {ACPI}"))?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(LINK)) {
            send_uevent(&path)?;
            links += 1;
        }
    }
    ensure("the machine has interrupt links", links > 1)?;
    ctx.run(&["udevadm", "control", "--start-exec-queue"])?.ok()?;
    ctx.run(&["udevadm", "settle", "--timeout=20"])?.ok()?;
    ctx.run(&["sleep", "2"])?.ok()?;
    let (tree, capture) = (tree.stop()?, tracer.stop()?);
    with_oracle(&capture, &ctx.oracle_events(&oracle)?)?;

    let button = load_of(&capture, "button")?;
    let device = &button["device"];
    equal("device", text(device, "/devpath"), BUTTON)?;
    equal("alias", text(device, "/modalias"), "acpi:LNXPWRBN:")?;
    equal("subsystem", text(device, "/subsystem"), "acpi")?;
    equal("action", text(device, "/action"), "add")?;
    equal("candidates", number(device, "/candidates"), Some(1))?;
    equal("attribution", text(device, "/attribution"), "inferred")?;
    equal("rule", text(device, "/rule"), "uevent-modalias")?;
    contains("tree", &tree.other.join("\n"), &format!("{BUTTON} (add, acpi:LNXPWRBN:) (inferred: uevent-modalias)"))?;

    let device = &load_of(&capture, "dummy")?["device"];
    ensure("no device is reported", device["devpath"].is_null())?;
    equal("alias", text(device, "/modalias"), format!("acpi:{LINK}:"))?;
    equal("candidates", number(device, "/candidates"), Some(links))?;
    let listed = device["devpaths"].as_array().map_or(0, Vec::len);
    equal("listed candidates", u64::try_from(listed)?, links.min(16))?;
    equal("attribution", text(device, "/attribution"), "unknown")
}

/// The only load of a module, by udev. Checks that its loader ends as loaded.
fn load_of<'a>(capture: &'a Capture, module: &str) -> Result<&'a Value> {
    let mut loads = capture.of_type("load").filter(|load| load["module"] == module);
    let load = loads.next().with_context(|| format!("udev does not load {module}"))?;
    ensure("it is loaded once", loads.next().is_none())?;
    equal("origin", text(load, "/origin"), "udev")?;
    equal("reason", text(load, "/reason"), "alias")?;
    contains("program", &text(load, "/process/exe"), "udev")?;
    let mut results = capture.of_type("result").filter(|result| result["loader"]["pid"] == load["process"]["pid"]);
    expect_status(results.next().context("the worker has no result")?, "loaded", "exact")?;
    Ok(load)
}
