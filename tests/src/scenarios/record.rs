//! Recordings: recorders that are killed, overloaded, started twice, or run out of disk space.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::oracle_check::text;
use super::{Need, Scenario};
use crate::ctx::{Actor, Ctx, contains, ensure, equal};

const NEEDS: &[Need] = &[Need::Kmodtrace];

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "record-is-complete", fresh_boot: true, needs: NEEDS, run: complete },
    Scenario { name: "record-pinned-survives-sigkill", fresh_boot: true, needs: NEEDS, run: |ctx| killed(ctx, 5) },
    Scenario { name: "record-pinned-counts-overflow", fresh_boot: true, needs: NEEDS, run: overflow },
    Scenario { name: "record-arm-before-the-recorder", fresh_boot: true, needs: NEEDS, run: armed },
    Scenario { name: "record-survives-a-full-disk", fresh_boot: true, needs: NEEDS, run: full_disk },
];

const DIRECTORY: &str = "/run/captures";

/// The events of all captures in a directory, in order; for a torn file, those of its intact frames.
pub(super) fn events(directory: &str) -> Result<Vec<Value>> {
    let mut paths = fs::read_dir(directory)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>())
        .with_context(|| format!("cannot list {directory}"))?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "zst"));
    paths.sort();
    let mut events = Vec::new();
    for path in paths {
        let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut decoded = Vec::new();
        let read = zstd::Decoder::new(bytes.as_slice()).and_then(|mut decoder| decoder.read_to_end(&mut decoded));
        println!("{}: {} bytes, read: {read:?}", path.display(), bytes.len());
        for line in String::from_utf8_lossy(&decoded).lines() {
            // The last line of a torn frame.
            let Ok(event) = serde_json::from_str(line) else { break };
            events.push(event);
        }
    }
    Ok(events)
}

/// For each alias with a prefix: the number of requests, and the number of those that have a result.
pub(super) fn requests_by_alias(events: &[Value], prefix: &str) -> BTreeMap<String, (u32, u32)> {
    let of = |kind: &'static str| events.iter().filter(move |event| event["type"] == kind);
    let mut found: BTreeMap<String, (u32, u32)> = BTreeMap::new();
    for request in of("request").filter(|event| text(event, "/name").starts_with(prefix)) {
        let results = of("result").filter(|result| result["request"] == request["request"]).count();
        let entry = found.entry(text(request, "/name")).or_default();
        entry.0 += 1;
        entry.1 += u32::from(results > 0);
    }
    found
}

/// Starts a shell that requests `PREFIX1` to `PREFIXn`, one after another.
pub(super) fn spawn_requester(prefix: &str, count: u32) -> Result<Child> {
    let script =
        format!("n=1; while [ $n -le {count} ]; do mount -t {prefix}$n none /mnt; n=$((n + 1)); done 2>/dev/null");
    Command::new("sh").args(["-c", &script]).spawn().context("cannot start the requester")
}

pub(super) fn lost_records(events: &[Value]) -> u64 {
    events.iter().filter(|event| event["type"] == "loss").filter_map(|event| event["count"].as_u64()).sum()
}

/// A recording that ends normally is complete, and a second recorder is rejected meanwhile.
fn complete(ctx: &mut Ctx) -> Result<()> {
    let tracer = ctx.record(DIRECTORY, &[])?;
    let second = ctx.run(&["kmodtrace", "record", "--output", DIRECTORY])?;
    equal("exit code of the second", second.code, 125)?;
    contains("its error", &second.stderr, "another kmodtrace records into /run/captures")?;
    ctx.act(Actor::mount("whole1"))?;
    equal("exit code", tracer.stop()?.code, 0)?;

    let events = events(DIRECTORY)?;
    equal("requests", requests_by_alias(&events, "fs-whole"), BTreeMap::from([("fs-whole1".to_owned(), (1, 1))]))?;
    equal("first", text(&events[0], "/type"), "header")?;
    let types: Vec<String> = events.iter().rev().take(2).map(|event| text(event, "/type")).collect();
    equal("last, from the end", types, ["seal", "end"])?;
    let verified = ctx.run(&["kmodtrace", "verify", "--ended", DIRECTORY])?.ok()?;
    contains("verdict", &verified.stdout, "intact: nothing is missing, nothing was lost")
}

/// A pinned recorder that is killed repeatedly, at different moments, loses nothing.
fn killed(ctx: &mut Ctx, rounds: u32) -> Result<()> {
    const REQUESTS: u32 = 80;
    let mut tracer = ctx.record(DIRECTORY, &["--pin"])?;
    let mut requester = spawn_requester("kill", REQUESTS)?;
    for round in 0..rounds {
        // The moments differ from round to round, within and across frames.
        sleep(Duration::from_millis(150 + 370 * u64::from(round * round % 5)));
        tracer.kill()?;
        sleep(Duration::from_millis(200));
        tracer = ctx.record(DIRECTORY, &["--pin"])?;
    }
    ensure("the requester exited", requester.wait().context("cannot wait for the requester")?.code().is_some())?;
    // No recorder runs now.
    tracer.kill()?;
    ctx.act(Actor::mount("killlast"))?;
    let last = ctx.record(DIRECTORY, &["--pin"])?.stop()?;
    contains("message of the last recorder", &last.stderr, "resumed: pinned programs kept recording")?;
    ctx.run(&["kmodtrace", "record", "--unpin"])?.ok()?;

    let events = events(DIRECTORY)?;
    equal("lost", lost_records(&events), 0)?;
    let asked = requests_by_alias(&events, "fs-kill");
    for name in (1..=REQUESTS).map(|n| format!("fs-kill{n}")).chain(["fs-killlast".to_owned()]) {
        let (requests, results) = asked.get(&name).copied().unwrap_or_default();
        ensure(&format!("{name}: {requests} requests, {results} of them ended"), requests > 0 && results > 0)?;
    }
    ensure("nothing is pinned any more", !fs::exists("/sys/fs/bpf/kmodtrace").context("cannot look")?)
}

/// Records that did not fit into the ring without a reader are counted exactly: recorded and lost requests add up to all.
fn overflow(ctx: &mut Ctx) -> Result<()> {
    // The recorder may be stopped before or after its first read of the loss counters, so this is repeated.
    (0..3).try_for_each(|round| overflow_once(ctx, &format!("{DIRECTORY}{round}")))
}

fn overflow_once(ctx: &mut Ctx, directory: &str) -> Result<()> {
    const REQUESTS: u32 = 60;
    let options = ["--pin", "--ring-kib", "64"];
    ctx.record(directory, &options)?.kill()?;
    spawn_requester("over", REQUESTS)?.wait().context("cannot wait for the requester")?;
    let first = ctx.record(directory, &options)?.stop()?;
    contains("message", &first.stderr, "resumed: pinned programs kept recording")?;
    let once = events(directory)?;
    let request_losses: u64 = once
        .iter()
        .filter(|event| event["type"] == "loss" && event["cause"] == "ring-request")
        .filter_map(|event| event["count"].as_u64())
        .sum();
    ensure("the ring overflowed", request_losses > 0)?;
    let recorded = requests_by_alias(&once, "fs-over");
    ensure("each once", recorded.values().all(|(requests, _)| *requests == 1))?;
    equal("recorded and lost requests", recorded.len() as u64 + request_losses, u64::from(REQUESTS))?;

    // The same loss is not reported again.
    ctx.record(directory, &options)?.stop()?;
    equal("lost in all", lost_records(&events(directory)?), lost_records(&once))?;
    ctx.run(&["kmodtrace", "record", "--unpin"])?.ok()?;
    Ok(())
}

/// Requests between `--arm` and the start of the recorder are recorded with their requester.
fn armed(ctx: &mut Ctx) -> Result<()> {
    let armed = ctx.run(&["kmodtrace", "record", "--arm"])?.ok()?;
    contains("message", &armed.stderr, "armed: events from now on wait")?;
    ctx.act(Actor::mount("early").named("earlybird"))?;
    let again = ctx.run(&["kmodtrace", "record", "--arm"])?.ok()?;
    contains("second message", &again.stderr, "armed before")?;
    equal("exit code", ctx.record(DIRECTORY, &["--pin"])?.stop()?.code, 0)?;
    ctx.run(&["kmodtrace", "record", "--unpin"])?.ok()?;

    let events = events(DIRECTORY)?;
    equal("requests", requests_by_alias(&events, "fs-early"), BTreeMap::from([("fs-early".to_owned(), (1, 1))]))?;
    let request = events.iter().find(|event| event["name"] == "fs-early").context("no request")?;
    equal("comm", text(request, "/process/comm"), "earlybird")
}

/// A full disk causes no loss if space becomes available again, and the capture is complete.
fn full_disk(ctx: &mut Ctx) -> Result<()> {
    ctx.run(&["mkdir", "-p", "/run/small"])?.ok()?;
    ctx.run(&["mount", "-t", "tmpfs", "-o", "size=128k", "small", "/run/small"])?.ok()?;
    let tracer = ctx.record("/run/small", &[])?;
    ctx.act(Actor::mount("room1"))?;
    // Fill the disk completely.
    ctx.run(&["sh", "-c", "cat /dev/zero > /run/small/filler"])?;
    for n in 2..=40 {
        ctx.act(Actor::mount(&format!("room{n}")))?;
    }
    sleep(Duration::from_secs(2));
    ctx.run(&["rm", "/run/small/filler"])?.ok()?;
    ctx.act(Actor::mount("room41"))?;
    sleep(Duration::from_secs(1));
    let capture = tracer.stop()?;
    equal("exit code", capture.code, 0)?;
    contains("message", &capture.stderr, "events are buffered")?;
    contains("message", &capture.stderr, "writing resumed")?;

    let events = events("/run/small")?;
    equal("lost", lost_records(&events), 0)?;
    let asked = requests_by_alias(&events, "fs-room");
    equal("requests", asked.len(), 41)?;
    ensure("each once, and ended", asked.values().all(|found| *found == (1, 1)))?;
    ctx.run(&["kmodtrace", "verify", "--ended", "/run/small"])?.ok()?;
    ctx.run(&["umount", "/run/small"])?.ok()?;
    Ok(())
}
