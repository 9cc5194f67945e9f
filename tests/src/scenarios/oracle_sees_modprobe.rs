//! The framework tests itself, without the program under test: what a plain `modprobe` and a failed request leave in
//! the oracle, in `/proc/modules` and in the kernel log.

use anyhow::{Context as _, Result};

use super::Scenario;
use crate::ctx::{Act, Ctx, equal, that};
use crate::oracle::{What, loads, requests};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "oracle-sees-modprobe", fresh_boot: false, needs: &[], run: sees_modprobe },
    Scenario { name: "oracle-sees-every-actor", fresh_boot: false, needs: &[], run: sees_every_actor },
];

/// A `modprobe` by hand is a load and a free by two processes, and no request.
fn sees_modprobe(ctx: &mut Ctx) -> Result<()> {
    let oracle = ctx.oracle()?;
    let mut log = ctx.mark_log()?;
    that("dummy is not loaded before", !ctx.modules()?.contains_key("dummy"))?;

    ctx.run(&["modprobe", "dummy"])?.ok()?;
    let module = ctx.modules()?.remove("dummy").context("dummy is not in /proc/modules")?;
    equal("state of dummy", module.state.as_str(), "Live")?;
    ctx.run(&["rmmod", "dummy"])?.ok()?;
    that("dummy is gone after rmmod", !ctx.modules()?.contains_key("dummy"))?;

    let events = ctx.oracle_events(&oracle)?;
    equal("requests", requests(&events), Vec::<&str>::new())?;
    equal("loads", loads(&events), vec!["dummy"])?;
    let comms: Vec<_> = events.iter().filter_map(|event| event.comm.as_deref()).collect();
    equal("tasks", comms, vec!["modprobe", "rmmod"])?;
    equal("last event", &events[1].what, &What::Free { module: "dummy".to_owned() })?;
    log.note("oracle-sees-modprobe is done")?;
    that("the note is in the log", log.lines()?.iter().any(|line| line.contains("is done")))
}

/// Processes released at one moment are each seen by the oracle, under the pid they were started with.
fn sees_every_actor(ctx: &mut Ctx) -> Result<()> {
    // As many as the kernel lets run at once: it never sends one away, however slow the machine.
    const ACTORS: u32 = 50;
    let oracle = ctx.oracle()?;
    let acts = (0..ACTORS).map(|number| Act::mount(&format!("absent{number}")).named(&format!("actor{number}")));
    let reports = ctx.crowd(acts.collect())?.release()?;
    let no_device = rustix::io::Errno::NODEV.raw_os_error();
    that("every mount fails with ENODEV", reports.iter().all(|report| report.errno == no_device))?;

    let events = ctx.oracle_events(&oracle)?;
    let mut seen: Vec<(u32, String)> = Vec::new();
    for event in &events {
        if let What::Request { name, wait, .. } = &event.what {
            that("mount waits for its module", *wait)?;
            seen.push((event.tid, name.clone()));
        }
    }
    seen.sort_unstable();
    let mut wanted: Vec<(u32, String)> =
        reports.iter().enumerate().map(|(number, report)| (report.pid, format!("fs-absent{number}"))).collect();
    wanted.sort_unstable();
    equal("who asked for what", seen, wanted)?;

    let report = ctx.act(Act::mount("absent").named("quick").as_user(1000).logged_in_as(1000))?;
    equal("errno of a user's mount", report.errno, rustix::io::Errno::PERM.raw_os_error())?;
    equal("requests by a user who may not mount", requests(&ctx.oracle_events(&oracle)?).len(), reports.len())
}
