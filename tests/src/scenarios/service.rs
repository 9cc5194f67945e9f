//! The units and the hook of the initial root, on a system whose pid 1 is systemd.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::agreement::text;
use super::record::{asked, asker, events, lost};
use super::{Need, Scenario, System};
use crate::ctx::{Act, Ctx, contains, equal, that};

// What udev loads at boot is for hardware that the cloud's kernel has no module for.
const SYSTEMD: &[Need] = &[Need::Kmodtrace, Need::System(System::Systemd), Need::OrdinaryFlavour];
const MEASURED: &[Need] = &[Need::Kmodtrace, Need::System(System::Systemd), Need::Release("6.1.")];
const INITRAMFS: &[Need] = &[Need::Kmodtrace, Need::System(System::Initramfs), Need::OrdinaryFlavour];

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "service-records-and-restarts", fresh_boot: true, needs: SYSTEMD, run: restarts },
    Scenario { name: "service-is-confined", fresh_boot: true, needs: MEASURED, run: confined },
    Scenario { name: "service-starts-in-the-initramfs", fresh_boot: true, needs: INITRAMFS, run: initramfs },
];

/// Where the unit records.
const CAPTURES: &str = "/var/log/kmodtrace";

const RECORDER: &str = "kmodtrace.service";
const EARLY: &str = "kmodtrace-early.service";

/// The systemd that the scores in the documentation are of.
const PAGE: &str = include_str!("../../../docs/service.md");

/// How long coldplug may take where everything is emulated.
const COLDPLUG_LIMIT: Duration = Duration::from_secs(60);

/// A property of a unit.
fn property(ctx: &mut Ctx, unit: &str, name: &str) -> Result<String> {
    Ok(ctx.run(&["systemctl", "show", "--value", "--property", name, unit])?.ok()?.stdout.trim().to_owned())
}

/// When something of a unit happened: microseconds since boot.
fn moment(ctx: &mut Ctx, unit: &str, name: &str) -> Result<u64> {
    let text = property(ctx, unit, name)?;
    let moment = text.parse().with_context(|| format!("{name} of {unit} is {text:?}"))?;
    that(&format!("{name} of {unit} has come"), moment > 0)?;
    Ok(moment)
}

/// What the recorder has said to the journal.
fn said(ctx: &mut Ctx) -> Result<String> {
    Ok(ctx.run(&["journalctl", "--no-pager", "--output", "cat", "--unit", RECORDER])?.ok()?.stdout)
}

/// Both units are up, and udev has dealt with every device that was there at boot.
fn up(ctx: &mut Ctx) -> Result<()> {
    for unit in [EARLY, RECORDER] {
        let state = ctx.run(&["systemctl", "is-active", unit])?;
        if state.code != 0 {
            let status = ctx.run(&["systemctl", "--no-pager", "--full", "status", unit])?;
            bail!("{unit} is {}: {}", state.stdout.trim(), status.stdout);
        }
    }
    let trigger = moment(ctx, "systemd-udev-trigger.service", "ExecMainStartTimestampMonotonic")?;
    let armed = moment(ctx, EARLY, "ExecMainExitTimestampMonotonic")?;
    that(&format!("armed at {armed}, before udev begins with devices at {trigger}"), armed < trigger)?;
    ctx.run(&["udevadm", "settle", "--timeout=60"])?.ok()?;
    Ok(())
}

/// The load of a module that udev loads at boot, once it is in a capture.
fn coldplugged(module: &str) -> Result<Value> {
    let deadline = Instant::now() + COLDPLUG_LIMIT;
    while Instant::now() < deadline {
        let found = events(CAPTURES)?.into_iter().find(|event| event["type"] == "load" && event["module"] == module);
        if let Some(load) = found {
            return Ok(load);
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    bail!("no load of {module} is recorded")
}

/// Ends the recorder, and lets `verify` judge what it wrote.
fn stop_and_verify(ctx: &mut Ctx) -> Result<Vec<Value>> {
    ctx.run(&["systemctl", "stop", RECORDER])?.ok()?;
    ctx.run(&["kmodtrace", "verify", "--ended", CAPTURES])?.ok()?;
    ctx.run(&["kmodtrace", "report", "--by", "module", CAPTURES])?.ok()?;
    events(CAPTURES)
}

/// Loads at boot are recorded with who loaded, and a restart, with requests going on, misses nothing.
fn restarts(ctx: &mut Ctx) -> Result<()> {
    const REQUESTS: u32 = 60;
    up(ctx)?;
    let button = coldplugged("button")?;
    equal("origin", text(&button, "/origin"), "udev")?;
    contains("loader", &text(&button, "/process/exe"), "udev")?;
    equal("unit of the loader", text(&button, "/process/unit"), "systemd-udevd.service")?;

    // A unit that is confined too well would say so here, and record less.
    let first = said(ctx)?;
    that("nothing is missing in the unit", !first.contains("warning") && first.contains("armed: every"))?;

    let before = property(ctx, RECORDER, "MainPID")?;
    let mut asker = asker("again", REQUESTS)?;
    for _ in 0..2 {
        ctx.run(&["systemctl", "restart", RECORDER])?.ok()?;
    }
    asker.wait().context("cannot wait for the asker")?;
    that("another process records", property(ctx, RECORDER, "MainPID")? != before)?;
    contains("what it says", &said(ctx)?, "resumed: the programs went on recording")?;
    // Nobody asks systemd to stop it this time.
    Command::new("kill").args(["-9", &property(ctx, RECORDER, "MainPID")?]).status().context("cannot kill it")?;
    ctx.act(Act::mount("unattended"))?;
    let deadline = Instant::now() + COLDPLUG_LIMIT;
    while ctx.run(&["systemctl", "is-active", RECORDER])?.code != 0 {
        that("it comes back", Instant::now() < deadline)?;
        std::thread::sleep(Duration::from_secs(1));
    }
    equal("restarts by systemd", property(ctx, RECORDER, "NRestarts")?, "1")?;

    ctx.run(&["systemctl", "stop", RECORDER])?.ok()?;
    let all = events(CAPTURES)?;
    equal("lost", lost(&all), 0)?;
    let again = asked(&all, "fs-again");
    for n in 1..=REQUESTS {
        let (requests, results) = again.get(&format!("fs-again{n}")).copied().unwrap_or_default();
        that(&format!("fs-again{n}: {requests} requests, {results} of them ended"), requests > 0 && results > 0)?;
    }
    let request = all.iter().find(|event| event["name"] == "fs-again1").context("no request")?;
    that(&format!("the stack has names in {request}"), request["stack"][0]["symbol"].is_string())?;
    that("what was asked while nobody recorded", asked(&all, "fs-unattended").contains_key("fs-unattended"))?;

    // Stopped for good, as the page says.
    ctx.run(&["systemctl", "disable", "--now", EARLY, RECORDER])?.ok()?;
    ctx.run(&["kmodtrace", "record", "--unpin"])?.ok()?;
    that("nothing is pinned any more", !Path::new("/sys/fs/bpf/kmodtrace").exists())
}

/// The score of a unit is the one that the page tells, and the journal vouches for what was recorded.
fn confined(ctx: &mut Ctx) -> Result<()> {
    up(ctx)?;
    let mut scores = Vec::new();
    for unit in [RECORDER, EARLY] {
        let analysed = ctx.run(&["systemd-analyze", "security", "--no-pager", unit])?.ok()?.stdout;
        let line = analysed.lines().last().unwrap_or_default();
        let (_, score) = line.rsplit_once(": ").with_context(|| format!("odd analysis: {line:?}"))?;
        scores.push(score.split_whitespace().next().unwrap_or_default().to_owned());
    }
    contains("docs/service.md", PAGE, &format!("gives {} of 10", scores[0]))?;
    contains("docs/service.md", PAGE, &format!("{} for the early unit", scores[1]))?;

    let drop_in = format!("/etc/systemd/system/{RECORDER}.d");
    fs::create_dir_all(&drop_in).with_context(|| format!("cannot create {drop_in}"))?;
    let command = "/usr/bin/kmodtrace record --pin --anchor journald --output /var/log/kmodtrace";
    ctx.write_file(&Path::new(&drop_in).join("anchor.conf"), &format!("[Service]\nExecStart=\nExecStart={command}\n"))?;
    ctx.run(&["systemctl", "daemon-reload"])?.ok()?;
    ctx.run(&["systemctl", "restart", RECORDER])?.ok()?;
    ctx.act(Act::mount("anchored"))?;
    let all = stop_and_verify(ctx)?;
    that("what was asked", asked(&all, "fs-anchored").contains_key("fs-anchored"))?;
    let seal = all.last().context("nothing was recorded")?;
    equal("last", text(seal, "/type"), "seal")?;
    let hash = format!("KMODTRACE_SHA256={}", text(seal, "/sha256"));
    let journal = ctx.run(&["journalctl", "--no-pager", "--output", "json", &hash])?.ok()?.stdout;
    let entry: Value =
        serde_json::from_str(journal.trim()).context("the journal has not one entry for the last seal")?;
    equal("its number", text(&entry, "/KMODTRACE_SEQ"), seal["seq"].to_string())?;
    equal("unit that the journal names", text(&entry, "/_SYSTEMD_UNIT"), RECORDER)?;
    let mut headers = all.iter().rev().filter(|event| event["type"] == "header");
    let header = headers.next().context("no header")?;
    equal("recording", text(&entry, "/KMODTRACE_RECORDING"), text(header, "/recording"))
}

/// What udev loads in the initial root is recorded with who loaded it.
fn initramfs(ctx: &mut Ctx) -> Result<()> {
    up(ctx)?;
    contains("what the recorder says", &said(ctx)?, "resumed: the programs went on recording")?;
    let log = ctx.run(&["dmesg"])?.ok()?.stdout;
    contains("the kernel's log", &log, "kmodtrace: armed")?;
    let button = coldplugged("button")?;
    equal("origin", text(&button, "/origin"), "udev")?;
    let loaded = button["boot_ns"].as_u64().context("no time")? / 1000;
    let shown = ctx.run(&["systemctl", "show", "--value", "--property", "UserspaceTimestampMonotonic"])?.ok()?.stdout;
    let systemd: u64 = shown.trim().parse().with_context(|| format!("systemd began at {shown:?}"))?;
    that(&format!("loaded at {loaded}, before systemd began, at {systemd}"), loaded < systemd)?;
    let all = stop_and_verify(ctx)?;
    equal("lost", lost(&all), 0)
}
