//! The systemd units and the initramfs hook, on a system with systemd as pid 1.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::oracle_check::{number, text};
use super::record::{events, lost_records, requests_by_alias, spawn_requester};
use super::{Need, Scenario, System};
use crate::ctx::{Actor, Ctx, contains, ensure, equal};
use crate::oracle::{BOOT_ARGUMENTS, Event, EventKind, Oracle};

// At boot, udev loads modules that the cloud kernel does not have.
const SYSTEMD: &[Need] = &[
    Need::Kmodtrace,
    Need::System(System::Systemd),
    Need::OrdinaryFlavour,
    Need::KernelArgument(BOOT_ARGUMENTS[0]),
    Need::KernelArgument(BOOT_ARGUMENTS[1]),
    Need::KernelArgument(BOOT_ARGUMENTS[2]),
];
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

/// The page with the scores of systemd-analyze.
const PAGE: &str = include_str!("../../../docs/service.md");

/// Time limit for coldplug in an emulated guest.
const COLDPLUG_LIMIT: Duration = Duration::from_secs(60);

/// Time limit for the first container in an emulated guest.
const CONTAINER_LIMIT: Duration = Duration::from_secs(300);

/// A property of a unit.
fn property(ctx: &mut Ctx, unit: &str, name: &str) -> Result<String> {
    Ok(ctx.run(&["systemctl", "show", "--value", "--property", name, unit])?.ok()?.stdout.trim().to_owned())
}

/// A timestamp of a unit, in microseconds since boot.
fn timestamp(ctx: &mut Ctx, unit: &str, name: &str) -> Result<u64> {
    let text = property(ctx, unit, name)?;
    let timestamp = text.parse().with_context(|| format!("{name} of {unit} is {text:?}"))?;
    ensure(&format!("{name} of {unit} is set"), timestamp > 0)?;
    Ok(timestamp)
}

/// The messages of the recorder in the journal.
fn journal(ctx: &mut Ctx) -> Result<String> {
    Ok(ctx.run(&["journalctl", "--no-pager", "--output", "cat", "--unit", RECORDER])?.ok()?.stdout)
}

/// Waits until both units are active and udev has processed every device of the boot.
fn wait_until_up(ctx: &mut Ctx) -> Result<()> {
    for unit in [EARLY, RECORDER] {
        let state = ctx.run(&["systemctl", "is-active", unit])?;
        if state.code != 0 {
            let status = ctx.run(&["systemctl", "--no-pager", "--full", "status", unit])?;
            bail!("{unit} is {}: {}", state.stdout.trim(), status.stdout);
        }
    }
    let trigger = timestamp(ctx, "systemd-udev-trigger.service", "ExecMainStartTimestampMonotonic")?;
    let armed = timestamp(ctx, EARLY, "ExecMainExitTimestampMonotonic")?;
    ensure(&format!("armed at {armed}, before udev processes devices at {trigger}"), armed < trigger)?;
    ctx.run(&["udevadm", "settle", "--timeout=60"])?.ok()?;
    Ok(())
}

/// Waits for the recorded load of a module that udev loads at boot.
fn coldplugged(module: &str) -> Result<Value> {
    event_of("load", "module", module)
}

/// Waits until an event is recorded that has this value.
fn event_of(kind: &str, key: &str, value: &str) -> Result<Value> {
    let deadline = Instant::now() + COLDPLUG_LIMIT;
    while Instant::now() < deadline {
        let found = events(CAPTURES)?.into_iter().find(|event| event["type"] == kind && event[key] == value);
        if let Some(event) = found {
            return Ok(event);
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    bail!("no {kind} of {value} was recorded")
}

/// Every recorded load by udev for a device of this machine names the device, or lists the candidates.
fn devices_are_named() -> Result<()> {
    let all = events(CAPTURES)?;
    let by_udev: Vec<&Value> =
        all.iter().filter(|event| event["type"] == "load" && event["origin"] == "udev").collect();
    let is_named = |load: &&&Value| {
        let device = &load["device"];
        let exists = |path: &Value| path.as_str().is_some_and(|path| Path::new(&format!("/sys{path}")).exists());
        exists(&device["devpath"]) || device["devpaths"].as_array().is_some_and(|paths| paths.iter().any(exists))
    };
    let named = by_udev.iter().filter(is_named).count();
    let unnamed: Vec<String> =
        by_udev.iter().filter(|load| !is_named(load)).map(|load| text(load, "/module")).collect();
    println!("{named} of {} loads by udev name a device; not named: {}", by_udev.len(), unnamed.join(" "));
    ensure("udev loads modules at boot", !by_udev.is_empty())?;
    ensure(
        &format!("{named} of {} loads by udev name a device, all but {}", by_udev.len(), unnamed.join(" ")),
        named * 10 >= by_udev.len() * 9,
    )
}

/// The request of the process in a container, which the container engine started at boot.
fn container_is_named(ctx: &mut Ctx) -> Result<()> {
    const UNIT: &str = "kmodtrace-container.service";
    let deadline = Instant::now() + CONTAINER_LIMIT;
    while matches!(property(ctx, UNIT, "ActiveState")?.as_str(), "activating" | "inactive") {
        ensure("the container has ended", Instant::now() < deadline)?;
        std::thread::sleep(Duration::from_secs(1));
    }
    let log = ctx.run(&["journalctl", "--no-pager", "--output", "cat", "--unit", UNIT])?.ok()?.stdout;
    println!("{log}");
    equal("result of the container", property(ctx, UNIT, "Result")?, "success")?;
    let request = event_of("request", "name", "net-pf-29")?;
    println!("{request}");
    let container = text(&request, "/process/container");
    ensure(&format!("the request names its container: {container:?}"), container.len() >= 12)?;
    equal("executable", text(&request, "/process/exe"), "/kmodtrace-guest")
}

/// A load or request: its kind, thread, and module or alias.
type Observed = (&'static str, u64, String);

/// All loads and requests of the captures, without the requests that the kernel did not admit, which its tracepoint does not show.
fn recorded() -> Result<Vec<Observed>> {
    let all = events(CAPTURES)?;
    let results: HashMap<String, String> = all
        .iter()
        .filter(|event| event["type"] == "result")
        .map(|event| (text(event, "/request"), text(event, "/status")))
        .collect();
    let observed = |event: &Value| {
        let tid = number(event, "/process/tid").unwrap_or(0);
        match event["type"].as_str()? {
            "load" => Some(("load", tid, text(event, "/module"))),
            "request" => {
                let status = results.get(&text(event, "/request")).map_or("", String::as_str);
                let is_admitted = !matches!(status, "denied" | "no-modprobe" | "throttled");
                is_admitted.then(|| ("request", tid, text(event, "/name")))
            }
            _ => None,
        }
    };
    Ok(all.iter().filter_map(observed).collect())
}

/// All loads and requests that the kernel's own tracepoints have shown since boot, with the microsecond since boot.
fn traced() -> Result<Vec<(u64, Observed)>> {
    let observed = |event: Event| {
        let tid = u64::from(event.tid);
        match event.kind {
            EventKind::Load { module, .. } => Some((event.boot_us, ("load", tid, module))),
            EventKind::Request { name, .. } => Some((event.boot_us, ("request", tid, name))),
            EventKind::Free { .. } => None,
        }
    };
    Ok(Oracle::of_boot().events()?.into_iter().filter_map(observed).collect())
}

/// How often each is in a list.
fn counted<'a>(list: impl Iterator<Item = &'a Observed>) -> BTreeMap<&'a Observed, u32> {
    let mut counts = BTreeMap::new();
    list.for_each(|observed| *counts.entry(observed).or_default() += 1);
    counts
}

/// Those that are in `one` more often than in `other`.
fn surplus<'a>(one: &BTreeMap<&'a Observed, u32>, other: &BTreeMap<&Observed, u32>) -> Vec<&'a Observed> {
    let is_surplus = |observed: &Observed, times: u32| other.get(observed).is_none_or(|others| *others < times);
    one.iter().filter(|(observed, times)| is_surplus(observed, **times)).map(|(observed, _)| *observed).collect()
}

/// Every load and request that the kernel's own tracepoints have shown since the recorder was armed is recorded once, with the same
/// thread, and nothing else is.
fn agrees_with_boot_trace() -> Result<()> {
    let first = events(CAPTURES)?.into_iter().next().context("the capture is empty")?;
    let armed_ns = number(&first, "/boot_ns").context("the header has no time")?;
    let before = traced()?;
    let since_armed: Vec<&Observed> =
        before.iter().filter(|(boot_us, _)| boot_us * 1000 > armed_ns).map(|(_, observed)| observed).collect();
    println!("{} loads and requests since the recorder was armed, of {} since boot", since_armed.len(), before.len());
    ensure("the boot has loads and requests", since_armed.len() > 10)?;
    let deadline = Instant::now() + COLDPLUG_LIMIT;
    loop {
        let recorded = recorded()?;
        let after = traced()?;
        let recorded = counted(recorded.iter());
        let unseen = surplus(&recorded, &counted(after.iter().map(|(_, observed)| observed)));
        ensure(&format!("the kernel's tracepoints show what is recorded: {unseen:?}"), unseen.is_empty())?;
        let missing = surplus(&counted(since_armed.iter().copied()), &recorded);
        if missing.is_empty() {
            return Ok(());
        }
        ensure(&format!("what the kernel's tracepoints show is recorded: {missing:?}"), Instant::now() < deadline)?;
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// Stops the recorder, and verifies its captures.
fn stop_and_verify(ctx: &mut Ctx) -> Result<Vec<Value>> {
    ctx.run(&["systemctl", "stop", RECORDER])?.ok()?;
    ctx.run(&["kmodtrace", "verify", "--ended", CAPTURES])?.ok()?;
    ctx.run(&["kmodtrace", "report", "--by", "module", CAPTURES])?.ok()?;
    events(CAPTURES)
}

/// Loads at boot are recorded with the loader, and restarts during requests lose nothing.
fn restarts(ctx: &mut Ctx) -> Result<()> {
    const REQUESTS: u32 = 60;
    wait_until_up(ctx)?;
    let button = coldplugged("button")?;
    equal("origin", text(&button, "/origin"), "udev")?;
    contains("loader", &text(&button, "/process/exe"), "udev")?;
    equal("unit of the loader", text(&button, "/process/unit"), "systemd-udevd.service")?;
    container_is_named(ctx)?;
    devices_are_named()?;
    agrees_with_boot_trace()?;

    // For information: the figures depend on the host.
    println!(
        "processor time of the units: {} and {} ns",
        property(ctx, RECORDER, "CPUUsageNSec")?,
        property(ctx, EARLY, "CPUUsageNSec")?
    );
    println!("{}", fs::read_to_string("/proc/stat")?.lines().next().unwrap_or_default());

    // A unit that is confined too strictly would print warnings here, and record less.
    let first = journal(ctx)?;
    ensure("the unit has all hooks", !first.contains("warning") && first.contains("armed: every"))?;

    let before = property(ctx, RECORDER, "MainPID")?;
    let mut requester = spawn_requester("again", REQUESTS)?;
    for _ in 0..2 {
        ctx.run(&["systemctl", "restart", RECORDER])?.ok()?;
    }
    requester.wait().context("cannot wait for the requester")?;
    ensure("another process records", property(ctx, RECORDER, "MainPID")? != before)?;
    contains("message", &journal(ctx)?, "resumed: pinned programs kept recording")?;
    // Kill it without systemctl.
    Command::new("kill").args(["-9", &property(ctx, RECORDER, "MainPID")?]).status().context("cannot kill it")?;
    ctx.act(Actor::mount("unattended"))?;
    let deadline = Instant::now() + COLDPLUG_LIMIT;
    while ctx.run(&["systemctl", "is-active", RECORDER])?.code != 0 {
        ensure("systemd restarts it", Instant::now() < deadline)?;
        std::thread::sleep(Duration::from_secs(1));
    }
    equal("restarts by systemd", property(ctx, RECORDER, "NRestarts")?, "1")?;

    ctx.run(&["systemctl", "stop", RECORDER])?.ok()?;
    let all = events(CAPTURES)?;
    equal("lost", lost_records(&all), 0)?;
    let again = requests_by_alias(&all, "fs-again");
    for n in 1..=REQUESTS {
        let (requests, results) = again.get(&format!("fs-again{n}")).copied().unwrap_or_default();
        ensure(&format!("fs-again{n}: {requests} requests, {results} of them ended"), requests > 0 && results > 0)?;
    }
    let request = all.iter().find(|event| event["name"] == "fs-again1").context("no request")?;
    ensure(&format!("the stack has names in {request}"), request["stack"][0]["symbol"].is_string())?;
    ensure(
        "the request without a recorder is recorded later",
        requests_by_alias(&all, "fs-unattended").contains_key("fs-unattended"),
    )?;

    // Stop it permanently, as described in docs/service.md.
    ctx.run(&["systemctl", "disable", "--now", EARLY, RECORDER])?.ok()?;
    ctx.run(&["kmodtrace", "record", "--unpin"])?.ok()?;
    ensure("nothing is pinned any more", !Path::new("/sys/fs/bpf/kmodtrace").exists())
}

/// The score of each unit is the one in the page, and the journal contains the hash of the last seal.
fn confined(ctx: &mut Ctx) -> Result<()> {
    wait_until_up(ctx)?;
    let mut scores = Vec::new();
    for unit in [RECORDER, EARLY] {
        let analysed = ctx.run(&["systemd-analyze", "security", "--no-pager", unit])?.ok()?.stdout;
        let line = analysed.lines().last().unwrap_or_default();
        let (_, score) = line.rsplit_once(": ").with_context(|| format!("invalid analysis: {line:?}"))?;
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
    ctx.act(Actor::mount("anchored"))?;
    let all = stop_and_verify(ctx)?;
    ensure("the request is recorded", requests_by_alias(&all, "fs-anchored").contains_key("fs-anchored"))?;
    let seal = all.last().context("the capture is empty")?;
    equal("last", text(seal, "/type"), "seal")?;
    let hash = format!("KMODTRACE_SHA256={}", text(seal, "/sha256"));
    let journal = ctx.run(&["journalctl", "--no-pager", "--output", "json", &hash])?.ok()?.stdout;
    let entry: Value = serde_json::from_str(journal.trim())
        .context("the journal does not have exactly one entry for the last seal")?;
    equal("its number", text(&entry, "/KMODTRACE_SEQ"), seal["seq"].to_string())?;
    equal("unit in the journal", text(&entry, "/_SYSTEMD_UNIT"), RECORDER)?;
    let mut headers = all.iter().rev().filter(|event| event["type"] == "header");
    let header = headers.next().context("no header")?;
    equal("recording", text(&entry, "/KMODTRACE_RECORDING"), text(header, "/recording"))
}

/// Loads by udev in the initramfs are recorded with the loader.
fn initramfs(ctx: &mut Ctx) -> Result<()> {
    wait_until_up(ctx)?;
    contains("message of the recorder", &journal(ctx)?, "resumed: pinned programs kept recording")?;
    let log = ctx.run(&["dmesg"])?.ok()?.stdout;
    contains("the kernel's log", &log, "kmodtrace: armed")?;
    let button = coldplugged("button")?;
    equal("origin", text(&button, "/origin"), "udev")?;
    let loaded = button["boot_ns"].as_u64().context("no time")? / 1000;
    let shown = ctx.run(&["systemctl", "show", "--value", "--property", "UserspaceTimestampMonotonic"])?.ok()?.stdout;
    let systemd: u64 = shown.trim().parse().with_context(|| format!("invalid start time of systemd: {shown:?}"))?;
    ensure(&format!("loaded at {loaded}, before systemd started, at {systemd}"), loaded < systemd)?;
    let all = stop_and_verify(ctx)?;
    equal("lost", lost_records(&all), 0)
}
