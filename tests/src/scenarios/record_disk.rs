//! Recordings on disks that fail, disappear or become read-only, with clock steps, and with recorders that are killed.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::oracle_check::text;
use super::record::{events, lost_records, requests_by_alias, spawn_requester};
use super::{Need, Scenario};
use crate::ctx::{Actor, Ctx, contains, ensure, equal};

const NEEDS: &[Need] = &[Need::Kmodtrace];
const DISK: &[Need] = &[Need::Kmodtrace, Need::Extras, Need::Program("mkfs.ext4")];

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "record-killed-leaves-intact-frames", fresh_boot: true, needs: NEEDS, run: killed },
    Scenario {
        name: "record-continues-after-directory-removal",
        fresh_boot: true,
        needs: NEEDS,
        run: directory_removed,
    },
    Scenario { name: "record-reports-clock-steps", fresh_boot: true, needs: NEEDS, run: clock_set },
    Scenario { name: "record-continues-on-a-read-only-disk", fresh_boot: true, needs: DISK, run: read_only },
    Scenario { name: "record-reports-disk-errors", fresh_boot: true, needs: DISK, run: failing },
];

/// Time limit until something is written, on a busy machine. Frames are closed after one second.
const WRITE_LIMIT: Duration = Duration::from_secs(60);

/// The interval at which it is checked.
const POLL: Duration = Duration::from_millis(200);

/// Waits until `is_done`.
fn await_that(what: &str, mut is_done: impl FnMut() -> Result<bool>) -> Result<()> {
    let limit = Instant::now() + WRITE_LIMIT;
    while !is_done()? {
        ensure(&format!("in time: {what}"), Instant::now() < limit)?;
        sleep(POLL);
    }
    Ok(())
}

/// Waits until the capture in a directory has a request with this name.
fn await_request(directory: &str, name: &str) -> Result<()> {
    await_that(&format!("{name} is written"), || Ok(!requests_by_alias(&events(directory)?, name).is_empty()))
}

/// Creates a directory.
fn directory(path: &str) -> Result<()> {
    fs::create_dir_all(path).with_context(|| format!("cannot create {path}"))
}

/// A killed recorder without `--pin` leaves all written frames, and the missing end is detected.
fn killed(ctx: &mut Ctx) -> Result<()> {
    const DIRECTORY: &str = "/run/captures";
    const REQUESTS: u32 = 40;
    let tracer = ctx.record(DIRECTORY, &[])?;
    let mut requester = spawn_requester("kill", REQUESTS)?;
    await_request(DIRECTORY, "fs-kill")?;
    tracer.kill()?;
    requester.wait().context("cannot wait for the requester")?;
    let first = events(DIRECTORY)?;
    let seen = requests_by_alias(&first, "fs-kill");
    ensure("some requests were written", !seen.is_empty())?;
    for n in 1..=seen.len() {
        ensure(&format!("fs-kill{n}, before the kill, is recorded"), seen.contains_key(&format!("fs-kill{n}")))?;
    }
    equal("exit code of verify", ctx.run(&["kmodtrace", "verify", "--ended", DIRECTORY])?.code, 1)?;

    ctx.act(Actor::mount("unseen"))?;
    let second = ctx.record(DIRECTORY, &[])?;
    ctx.act(Actor::mount("after"))?;
    equal("exit code", second.stop()?.code, 0)?;
    let all = events(DIRECTORY)?;
    let headers: Vec<&Value> = all.iter().filter(|event| event["type"] == "header").collect();
    equal("recordings", headers.len(), 2)?;
    ensure("they have different ids", headers[0]["recording"] != headers[1]["recording"])?;
    equal("before the kill", requests_by_alias(&all, "fs-kill"), seen)?;
    ensure("a request without a recorder is absent", requests_by_alias(&all, "fs-unseen").is_empty())?;
    ensure("the later request is recorded", requests_by_alias(&all, "fs-after").contains_key("fs-after"))?;
    // The first recording has no end.
    let verified = ctx.run(&["kmodtrace", "verify", "--ended", DIRECTORY])?;
    equal("exit code of verify", verified.code, 1)
}

/// If the directory is removed and created again while recording, only the events in it are lost.
fn directory_removed(ctx: &mut Ctx) -> Result<()> {
    const DIRECTORY: &str = "/run/vanishing";
    directory(DIRECTORY)?;
    let mut tracer = ctx.record(DIRECTORY, &[])?;
    ctx.act(Actor::mount("before"))?;
    await_request(DIRECTORY, "fs-before")?;
    fs::remove_dir_all(DIRECTORY).context("cannot remove the directory")?;
    for n in 1..=5 {
        ctx.act(Actor::mount(&format!("vanish{n}")))?;
    }
    tracer.await_message("the file was removed; events are buffered")?;
    directory(DIRECTORY)?;
    ctx.act(Actor::mount("vanish6"))?;
    tracer.await_message("writing resumed")?;
    let capture = tracer.stop()?;
    equal("exit code", capture.code, 0)?;
    let events = events(DIRECTORY)?;
    equal("lost", lost_records(&events), 0)?;
    equal("requests after the removal", requests_by_alias(&events, "fs-vanish").len(), 6)?;
    // The first segment was removed with the directory, which is reported.
    let verified = ctx.run(&["kmodtrace", "verify", DIRECTORY])?.ok()?;
    contains("message of verify", &verified.stdout, "the beginning of a recording is missing")?;
    equal("exit code where both ends are required", ctx.run(&["kmodtrace", "verify", "--ended", DIRECTORY])?.code, 1)?;
    Ok(())
}

/// A clock step is reported, and later events have the new time.
fn clock_set(ctx: &mut Ctx) -> Result<()> {
    const DIRECTORY: &str = "/run/captures";
    const STEP_NS: i64 = 3_600_000_000_000;
    let (watch, tracer) = (ctx.watch(&[])?, ctx.record(DIRECTORY, &[])?);
    ctx.act(Actor::mount("then"))?;
    ctx.run(&["sh", "-c", "date -s @$(($(date +%s) + 3600))"])?.ok()?;
    await_that("the step is written", || Ok(events(DIRECTORY)?.iter().any(|event| event["type"] == "clock")))?;
    ctx.act(Actor::mount("now"))?;
    equal("exit code", tracer.stop()?.code, 0)?;
    let events = events(DIRECTORY)?;
    let offset = |event: &Value| event["realtime_minus_boot_ns"].as_i64().context("no offset of the clocks");
    let header = events.iter().find(|event| event["type"] == "header").context("no header")?;
    let clock = events.iter().find(|event| event["type"] == "clock").context("no clock event")?;
    let step_ns = offset(clock)? - offset(header)?;
    ensure(&format!("a step of {step_ns} ns"), (step_ns - STEP_NS).abs() < 2_000_000_000)?;
    let time_of = |name: &str| -> Result<(String, u64)> {
        let request = events.iter().find(|event| event["name"] == name).with_context(|| format!("no {name}"))?;
        Ok((text(request, "/time"), request["boot_ns"].as_u64().context("no time")?))
    };
    let (then, now) = (time_of("fs-then")?, time_of("fs-now")?);
    // Every output has the new time.
    let watched = watch.stop()?;
    let shown = text(watched.request_for("fs-now")?, "/time");
    equal("hour of the event in watch", &shown[..13], &now.0[..13])?;
    equal("clock events in watch", watched.of_type("clock").count(), 1)?;
    // The step appears in the wall clock only.
    ensure("the boot clock was not set", now.1 - then.1 < 600_000_000_000)?;
    ensure(&format!("{} is before {}", then.0, now.0), then.0 < now.0)?;
    let wall = ctx.run(&["date", "-u", "+%Y-%m-%dT%H"])?.ok()?.stdout;
    ensure(&format!("{} has the time of the new clock, {wall}", now.0), now.0 > then.0 && now.0[..13] >= *wall.trim())?;
    ctx.run(&["kmodtrace", "verify", "--ended", DIRECTORY])?.ok()?;
    Ok(())
}

/// Mounts a file system on a loop device whose file is in `backing`.
fn disk(ctx: &mut Ctx, backing: &str, mount: &str) -> Result<()> {
    directory(mount)?;
    let file = format!("{backing}/disk");
    ctx.run(&["modprobe", "loop"])?.ok()?;
    ctx.run(&["truncate", "-s", "32M", &file])?.ok()?;
    ctx.run(&["mkfs.ext4", "-q", "-F", "-O", "^has_journal", "-E", "lazy_itable_init=0", &file])?.ok()?;
    ctx.run(&["mount", "-t", "ext4", "-o", "loop,errors=continue", &file, mount])?.ok()?;
    Ok(())
}

/// A disk that becomes read-only causes no loss: the open file is continued, and the next one starts when possible.
fn read_only(ctx: &mut Ctx) -> Result<()> {
    const DISK: &str = "/run/disk";
    directory("/run/backing")?;
    disk(ctx, "/run/backing", DISK)?;
    // ext4 warns when it writes back data after it became read-only.
    fs::write("/proc/sys/vm/dirty_writeback_centisecs", "0").context("cannot disable write-back")?;
    let mut tracer = ctx.record(DISK, &["--max-age", "2s"])?;
    ctx.act(Actor::mount("disk1"))?;
    await_request(DISK, "fs-disk1")?;
    // This makes all disks read-only, even with open files.
    fs::write("/proc/sysrq-trigger", "u").context("cannot make the disks read-only")?;
    await_that("the disk is read-only", || Ok(fs::write(Path::new(DISK).join("probe"), "").is_err()))?;
    for n in 2..=20 {
        ctx.act(Actor::mount(&format!("disk{n}")))?;
    }
    tracer.await_message("Read-only file system (os error 30); continuing in the old one")?;
    ctx.run(&["mount", "-o", "remount,rw", DISK])?.ok()?;
    ctx.act(Actor::mount("disk21"))?;
    let headers = |events: &[Value]| events.iter().filter(|event| event["type"] == "header").count();
    await_that("a new file is started", || Ok(headers(&events(DISK)?) > 1))?;
    let capture = tracer.stop()?;
    equal("exit code", capture.code, 0)?;
    let events = events(DISK)?;
    equal("lost", lost_records(&events), 0)?;
    let asked = requests_by_alias(&events, "fs-disk");
    equal("requests", asked.len(), 21)?;
    ensure("each once, and ended", asked.values().all(|found| *found == (1, 1)))?;
    ctx.run(&["kmodtrace", "verify", "--ended", DISK])?.ok()?;
    ctx.run(&["umount", DISK])?.ok()?;
    Ok(())
}

/// A disk that accepts writes and then fails to store them: the recorder reports it, and continues.
fn failing(ctx: &mut Ctx) -> Result<()> {
    const BACKING: &str = "/run/backing";
    const DISK: &str = "/run/disk";
    directory(BACKING)?;
    ctx.run(&["mount", "-t", "tmpfs", "-o", "size=8m", "backing", BACKING])?.ok()?;
    disk(ctx, BACKING, DISK)?;
    let mut tracer = ctx.record(DISK, &[])?;
    ctx.act(Actor::mount("fail1"))?;
    await_request(DISK, "fs-fail1")?;
    // The loop device cannot allocate new blocks.
    ctx.run(&["sh", "-c", "cat /dev/zero > /run/backing/filler"])?;
    for n in 2..=40 {
        ctx.act(Actor::mount(&format!("fail{n}")))?;
    }
    // EIO, or ENOSPC with newer loop devices.
    tracer.await_message("cannot sync the capture: ")?;
    ctx.run(&["rm", "/run/backing/filler"])?.ok()?;
    ctx.act(Actor::mount("fail41"))?;
    let capture = tracer.stop()?;
    equal("exit code", capture.code, 0)?;
    ensure(
        "the error of the disk",
        ["(os error 5)", "(os error 28)"].iter().any(|error| capture.stderr.contains(error)),
    )?;
    ctx.run(&["sync"])?;
    let events = events(DISK)?;
    let asked = requests_by_alias(&events, "fs-fail");
    ensure("the request before the failure is recorded", asked.contains_key("fs-fail1"))?;
    ctx.run(&["umount", DISK])?.ok()?;
    Ok(())
}
