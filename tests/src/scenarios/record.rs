//! Recordings: what a recorder that is killed, starved or doubled leaves behind.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::agreement::text;
use super::{Need, Scenario};
use crate::ctx::{Act, Ctx, contains, equal, that};

const NEEDS: &[Need] = &[Need::Kmodtrace];

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "record-is-whole", fresh_boot: true, needs: NEEDS, run: whole },
    Scenario { name: "record-pinned-survives-sigkill", fresh_boot: true, needs: NEEDS, run: |ctx| killed(ctx, 5) },
    Scenario { name: "record-pinned-counts-what-did-not-fit", fresh_boot: true, needs: NEEDS, run: overflown },
    Scenario { name: "record-armed-before-it-runs", fresh_boot: true, needs: NEEDS, run: armed },
    Scenario { name: "record-waits-for-a-full-disk", fresh_boot: true, needs: NEEDS, run: full_disk },
];

const DIRECTORY: &str = "/run/captures";

/// The events of all captures in a directory, in order; of a file that a crash has torn, those of its whole frames.
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

/// How often each alias of a kind was asked for, and how often its request ended.
pub(super) fn asked(events: &[Value], prefix: &str) -> BTreeMap<String, (u32, u32)> {
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

/// Asks for `PREFIX1` to `PREFIXn`, one after the other.
pub(super) fn asker(prefix: &str, count: u32) -> Result<Child> {
    let script =
        format!("n=1; while [ $n -le {count} ]; do mount -t {prefix}$n none /mnt; n=$((n + 1)); done 2>/dev/null");
    Command::new("sh").args(["-c", &script]).spawn().context("cannot start the shell that asks")
}

pub(super) fn lost(events: &[Value]) -> u64 {
    events.iter().filter(|event| event["type"] == "loss").filter_map(|event| event["count"].as_u64()).sum()
}

/// What was recorded in order is whole, and a second recorder is kept out meanwhile.
fn whole(ctx: &mut Ctx) -> Result<()> {
    let tracer = ctx.record(DIRECTORY, &[])?;
    let second = ctx.run(&["kmodtrace", "record", "--output", DIRECTORY])?;
    equal("exit code of the second", second.code, 125)?;
    contains("its error", &second.stderr, "another kmodtrace records into /run/captures")?;
    ctx.act(Act::mount("whole1"))?;
    equal("exit code", tracer.stop()?.code, 0)?;

    let events = events(DIRECTORY)?;
    equal("asked", asked(&events, "fs-whole"), BTreeMap::from([("fs-whole1".to_owned(), (1, 1))]))?;
    equal("first", text(&events[0], "/type"), "header")?;
    let types: Vec<String> = events.iter().rev().take(2).map(|event| text(event, "/type")).collect();
    equal("last, from the end", types, ["seal", "end"])?;
    let verified = ctx.run(&["kmodtrace", "verify", "--ended", DIRECTORY])?.ok()?;
    contains("verdict", &verified.stdout, "intact: nothing is missing, nothing was lost")
}

/// A pinned recorder that is killed at any moment, again and again, misses nothing.
fn killed(ctx: &mut Ctx, rounds: u32) -> Result<()> {
    const REQUESTS: u32 = 80;
    let mut tracer = ctx.record(DIRECTORY, &["--pin"])?;
    let mut asker = asker("kill", REQUESTS)?;
    for round in 0..rounds {
        // Moments that differ from round to round, within and across frames.
        sleep(Duration::from_millis(150 + 370 * u64::from(round * round % 5)));
        tracer.kill()?;
        sleep(Duration::from_millis(200));
        tracer = ctx.record(DIRECTORY, &["--pin"])?;
    }
    that("the asker ended well", asker.wait().context("cannot wait for the asker")?.code().is_some())?;
    // Nobody listens now.
    tracer.kill()?;
    ctx.act(Act::mount("killlast"))?;
    let last = ctx.record(DIRECTORY, &["--pin"])?.stop()?;
    contains("what the last one says", &last.stderr, "resumed: the programs went on recording")?;
    ctx.run(&["kmodtrace", "record", "--unpin"])?.ok()?;

    let events = events(DIRECTORY)?;
    equal("lost", lost(&events), 0)?;
    let asked = asked(&events, "fs-kill");
    for name in (1..=REQUESTS).map(|n| format!("fs-kill{n}")).chain(["fs-killlast".to_owned()]) {
        let (requests, results) = asked.get(&name).copied().unwrap_or_default();
        that(&format!("{name}: {requests} requests, {results} of them ended"), requests > 0 && results > 0)?;
    }
    that("nothing is pinned any more", !fs::exists("/sys/fs/bpf/kmodtrace").context("cannot look")?)
}

/// What did not fit into the ring while nobody listened is told exactly: records that came and losses are all there were.
fn overflown(ctx: &mut Ctx) -> Result<()> {
    // Whether the recorder is stopped before or after its first look at the losses is chance.
    (0..3).try_for_each(|round| overflown_once(ctx, &format!("{DIRECTORY}{round}")))
}

fn overflown_once(ctx: &mut Ctx, directory: &str) -> Result<()> {
    const REQUESTS: u32 = 60;
    let options = ["--pin", "--ring-kib", "64"];
    ctx.record(directory, &options)?.kill()?;
    asker("over", REQUESTS)?.wait().context("cannot wait for the asker")?;
    let first = ctx.record(directory, &options)?.stop()?;
    contains("what it says", &first.stderr, "resumed: the programs went on recording")?;
    let once = events(directory)?;
    let request_losses: u64 = once
        .iter()
        .filter(|event| event["type"] == "loss" && event["cause"] == "ring-request")
        .filter_map(|event| event["count"].as_u64())
        .sum();
    that("something did not fit", request_losses > 0)?;
    let came = asked(&once, "fs-over");
    that("each once", came.values().all(|(requests, _)| *requests == 1))?;
    equal("came and lost together", came.len() as u64 + request_losses, u64::from(REQUESTS))?;

    // What was told is not told again.
    ctx.record(directory, &options)?.stop()?;
    equal("lost in all", lost(&events(directory)?), lost(&once))?;
    ctx.run(&["kmodtrace", "record", "--unpin"])?.ok()?;
    Ok(())
}

/// What happened between `--arm` and the recorder is recorded, with who asked.
fn armed(ctx: &mut Ctx) -> Result<()> {
    let armed = ctx.run(&["kmodtrace", "record", "--arm"])?.ok()?;
    contains("what it says", &armed.stderr, "armed: what happens from now on waits")?;
    ctx.act(Act::mount("early").named("earlybird"))?;
    let again = ctx.run(&["kmodtrace", "record", "--arm"])?.ok()?;
    contains("what it says again", &again.stderr, "armed before")?;
    equal("exit code", ctx.record(DIRECTORY, &["--pin"])?.stop()?.code, 0)?;
    ctx.run(&["kmodtrace", "record", "--unpin"])?.ok()?;

    let events = events(DIRECTORY)?;
    equal("asked", asked(&events, "fs-early"), BTreeMap::from([("fs-early".to_owned(), (1, 1))]))?;
    let request = events.iter().find(|event| event["name"] == "fs-early").context("no request")?;
    equal("who", text(request, "/process/comm"), "earlybird")
}

/// A disk that is full costs nothing once there is room again, and the capture is whole.
fn full_disk(ctx: &mut Ctx) -> Result<()> {
    ctx.run(&["mkdir", "-p", "/run/small"])?.ok()?;
    ctx.run(&["mount", "-t", "tmpfs", "-o", "size=128k", "small", "/run/small"])?.ok()?;
    let tracer = ctx.record("/run/small", &[])?;
    ctx.act(Act::mount("room1"))?;
    // To the last byte.
    ctx.run(&["sh", "-c", "cat /dev/zero > /run/small/filler"])?;
    for n in 2..=40 {
        ctx.act(Act::mount(&format!("room{n}")))?;
    }
    sleep(Duration::from_secs(2));
    ctx.run(&["rm", "/run/small/filler"])?.ok()?;
    ctx.act(Act::mount("room41"))?;
    sleep(Duration::from_secs(1));
    let capture = tracer.stop()?;
    equal("exit code", capture.code, 0)?;
    contains("what it says", &capture.stderr, "events wait")?;
    contains("what it says", &capture.stderr, "writing again")?;

    let events = events("/run/small")?;
    equal("lost", lost(&events), 0)?;
    let asked = asked(&events, "fs-room");
    equal("requests", asked.len(), 41)?;
    that("each once, and ended", asked.values().all(|found| *found == (1, 1)))?;
    ctx.run(&["kmodtrace", "verify", "--ended", "/run/small"])?.ok()?;
    ctx.run(&["umount", "/run/small"])?.ok()?;
    Ok(())
}
