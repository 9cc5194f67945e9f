//! Recordings on disks that fail, vanish or go read-only, by clocks that are set, and by recorders that are killed.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::agreement::text;
use super::record::{asked, asker, events, lost};
use super::{Need, Scenario};
use crate::ctx::{Act, Ctx, contains, equal, that};

const NEEDS: &[Need] = &[Need::Kmodtrace];
const DISK: &[Need] = &[Need::Kmodtrace, Need::Extras, Need::Program("mkfs.ext4")];

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "record-killed-leaves-whole-frames", fresh_boot: true, needs: NEEDS, run: killed },
    Scenario { name: "record-goes-on-when-its-directory-vanished", fresh_boot: true, needs: NEEDS, run: vanished },
    Scenario { name: "record-tells-that-the-clock-was-set", fresh_boot: true, needs: NEEDS, run: clock_set },
    Scenario { name: "record-goes-on-on-a-read-only-disk", fresh_boot: true, needs: DISK, run: read_only },
    Scenario { name: "record-says-that-the-disk-fails", fresh_boot: true, needs: DISK, run: failing },
];

/// A frame is closed, and written, when it is a second old.
const WRITTEN: Duration = Duration::from_secs(3);

/// Makes a directory.
fn directory(path: &str) -> Result<()> {
    fs::create_dir_all(path).with_context(|| format!("cannot create {path}"))
}

/// Without `--pin` a recorder that is killed leaves all that it had written, and the end that is missing is seen.
fn killed(ctx: &mut Ctx) -> Result<()> {
    const DIRECTORY: &str = "/run/captures";
    const REQUESTS: u32 = 40;
    let tracer = ctx.record(DIRECTORY, &[])?;
    let mut asker = asker("kill", REQUESTS)?;
    sleep(WRITTEN);
    tracer.kill()?;
    asker.wait().context("cannot wait for the asker")?;
    let first = events(DIRECTORY)?;
    let seen = asked(&first, "fs-kill");
    that("something was written", !seen.is_empty())?;
    for n in 1..=seen.len() {
        that(&format!("fs-kill{n}, before the kill, is there"), seen.contains_key(&format!("fs-kill{n}")))?;
    }
    equal("exit code of verify", ctx.run(&["kmodtrace", "verify", "--ended", DIRECTORY])?.code, 1)?;

    ctx.act(Act::mount("unseen"))?;
    let second = ctx.record(DIRECTORY, &[])?;
    ctx.act(Act::mount("after"))?;
    equal("exit code", second.stop()?.code, 0)?;
    let all = events(DIRECTORY)?;
    let headers: Vec<&Value> = all.iter().filter(|event| event["type"] == "header").collect();
    equal("recordings", headers.len(), 2)?;
    that("each is its own", headers[0]["recording"] != headers[1]["recording"])?;
    equal("before the kill", asked(&all, "fs-kill"), seen)?;
    that("what nobody recorded is not made up", asked(&all, "fs-unseen").is_empty())?;
    that("what came after", asked(&all, "fs-after").contains_key("fs-after"))?;
    // The gap: the first recording has no end.
    let verified = ctx.run(&["kmodtrace", "verify", "--ended", DIRECTORY])?;
    equal("exit code of verify", verified.code, 1)
}

/// A directory that is removed and made again under the recorder's feet: what was in it is gone, nothing else.
fn vanished(ctx: &mut Ctx) -> Result<()> {
    const DIRECTORY: &str = "/run/vanishing";
    directory(DIRECTORY)?;
    let tracer = ctx.record(DIRECTORY, &[])?;
    ctx.act(Act::mount("before"))?;
    sleep(WRITTEN);
    fs::remove_dir_all(DIRECTORY).context("cannot remove the directory")?;
    for n in 1..=5 {
        ctx.act(Act::mount(&format!("vanish{n}")))?;
    }
    sleep(WRITTEN);
    directory(DIRECTORY)?;
    ctx.act(Act::mount("vanish6"))?;
    sleep(WRITTEN);
    let capture = tracer.stop()?;
    equal("exit code", capture.code, 0)?;
    contains("what it says", &capture.stderr, "the file was removed: events wait")?;
    contains("what it says", &capture.stderr, "writing again")?;
    let events = events(DIRECTORY)?;
    equal("lost", lost(&events), 0)?;
    equal("requests since", asked(&events, "fs-vanish").len(), 6)?;
    // The first segment went with the directory, and that is reported.
    let verified = ctx.run(&["kmodtrace", "verify", DIRECTORY])?.ok()?;
    contains("what is missing", &verified.stdout, "the beginning of a recording was not given")?;
    equal("exit code where both ends are required", ctx.run(&["kmodtrace", "verify", "--ended", DIRECTORY])?.code, 1)?;
    Ok(())
}

/// A wall clock that is set is told, and what comes then has the new time.
fn clock_set(ctx: &mut Ctx) -> Result<()> {
    const DIRECTORY: &str = "/run/captures";
    const STEP_NS: i64 = 3_600_000_000_000;
    let tracer = ctx.record(DIRECTORY, &[])?;
    ctx.act(Act::mount("then"))?;
    ctx.run(&["sh", "-c", "date -s @$(($(date +%s) + 3600))"])?.ok()?;
    sleep(WRITTEN);
    ctx.act(Act::mount("now"))?;
    equal("exit code", tracer.stop()?.code, 0)?;
    let events = events(DIRECTORY)?;
    let difference = |event: &Value| event["realtime_minus_boot_ns"].as_i64().context("no difference of the clocks");
    let header = events.iter().find(|event| event["type"] == "header").context("no header")?;
    let clock = events.iter().find(|event| event["type"] == "clock").context("the clock that was set is not told")?;
    let step_ns = difference(clock)? - difference(header)?;
    that(&format!("a step of {step_ns} ns"), (step_ns - STEP_NS).abs() < 2_000_000_000)?;
    let asked_at = |name: &str| -> Result<(String, u64)> {
        let request = events.iter().find(|event| event["name"] == name).with_context(|| format!("no {name}"))?;
        Ok((text(request, "/time"), request["boot_ns"].as_u64().context("no time")?))
    };
    let (then, now) = (asked_at("fs-then")?, asked_at("fs-now")?);
    // Both clocks of an event tell the same story: the minutes that did not pass stand in one alone.
    that("the boot clock was not set", now.1 - then.1 < 600_000_000_000)?;
    that(&format!("{} is before {}", then.0, now.0), then.0 < now.0)?;
    let wall = ctx.run(&["date", "-u", "+%Y-%m-%dT%H"])?.ok()?.stdout;
    that(&format!("{} is by the new clock, {wall}", now.0), now.0 > then.0 && now.0[..13] >= *wall.trim())?;
    ctx.run(&["kmodtrace", "verify", "--ended", DIRECTORY])?.ok()?;
    Ok(())
}

/// A file system of its own, on a loop device whose file is in `backing`.
fn disk(ctx: &mut Ctx, backing: &str, mount: &str) -> Result<()> {
    directory(mount)?;
    let file = format!("{backing}/disk");
    ctx.run(&["modprobe", "loop"])?.ok()?;
    ctx.run(&["truncate", "-s", "32M", &file])?.ok()?;
    ctx.run(&["mkfs.ext4", "-q", "-F", "-O", "^has_journal", "-E", "lazy_itable_init=0", &file])?.ok()?;
    ctx.run(&["mount", "-t", "ext4", "-o", "loop,errors=continue", &file, mount])?.ok()?;
    Ok(())
}

/// A disk that the kernel makes read-only costs nothing: a file that is open goes on, and the next one begins when it can.
fn read_only(ctx: &mut Ctx) -> Result<()> {
    const DISK: &str = "/run/disk";
    directory("/run/backing")?;
    disk(ctx, "/run/backing", DISK)?;
    // ext4 warns where it is to write back what came after it was made read-only.
    fs::write("/proc/sys/vm/dirty_writeback_centisecs", "0").context("cannot stop the writing back")?;
    let tracer = ctx.record(DISK, &["--max-age", "2s"])?;
    ctx.act(Act::mount("disk1"))?;
    sleep(WRITTEN);
    // All disks at once, whoever writes to them.
    fs::write("/proc/sysrq-trigger", "u").context("cannot make the disks read-only")?;
    sleep(Duration::from_secs(1));
    that("the disk is read-only", fs::write(Path::new(DISK).join("probe"), "").is_err())?;
    for n in 2..=20 {
        ctx.act(Act::mount(&format!("disk{n}")))?;
    }
    sleep(WRITTEN);
    ctx.run(&["mount", "-o", "remount,rw", DISK])?.ok()?;
    ctx.act(Act::mount("disk21"))?;
    sleep(WRITTEN);
    let capture = tracer.stop()?;
    equal("exit code", capture.code, 0)?;
    contains("what it says", &capture.stderr, "Read-only file system (os error 30): going on in the old one")?;
    let events = events(DISK)?;
    let headers = events.iter().filter(|event| event["type"] == "header").count();
    that("a new file was begun again", headers > 1)?;
    equal("lost", lost(&events), 0)?;
    let asked = asked(&events, "fs-disk");
    equal("requests", asked.len(), 21)?;
    that("each once, and ended", asked.values().all(|found| *found == (1, 1)))?;
    ctx.run(&["kmodtrace", "verify", "--ended", DISK])?.ok()?;
    ctx.run(&["umount", DISK])?.ok()?;
    Ok(())
}

/// A disk that takes what is written and then fails to keep it: the recorder says so, and goes on.
fn failing(ctx: &mut Ctx) -> Result<()> {
    const BACKING: &str = "/run/backing";
    const DISK: &str = "/run/disk";
    directory(BACKING)?;
    ctx.run(&["mount", "-t", "tmpfs", "-o", "size=8m", "backing", BACKING])?.ok()?;
    disk(ctx, BACKING, DISK)?;
    let tracer = ctx.record(DISK, &[])?;
    ctx.act(Act::mount("fail1"))?;
    sleep(WRITTEN);
    // No block that is new gets a place: the loop device fails to write it.
    ctx.run(&["sh", "-c", "cat /dev/zero > /run/backing/filler"])?;
    for n in 2..=40 {
        ctx.act(Act::mount(&format!("fail{n}")))?;
    }
    sleep(WRITTEN);
    ctx.run(&["rm", "/run/backing/filler"])?.ok()?;
    ctx.act(Act::mount("fail41"))?;
    sleep(WRITTEN);
    let capture = tracer.stop()?;
    equal("exit code", capture.code, 0)?;
    // EIO; newer loop devices pass on ENOSPC instead.
    contains("what it says", &capture.stderr, "the capture may not outlast a crash of the machine: ")?;
    that("the disk's error", ["(os error 5)", "(os error 28)"].iter().any(|error| capture.stderr.contains(error)))?;
    ctx.run(&["sync"])?;
    let events = events(DISK)?;
    let asked = asked(&events, "fs-fail");
    that("what was asked before it failed is there", asked.contains_key("fs-fail1"))?;
    ctx.run(&["umount", DISK])?.ok()?;
    Ok(())
}
