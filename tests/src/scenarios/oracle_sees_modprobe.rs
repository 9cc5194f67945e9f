//! Self-tests of the framework, without the program under test: a plain `modprobe` and failed requests, as seen by the oracle,
//! in `/proc/modules` and in the kernel log.

use anyhow::{Context as _, Result};

use super::Scenario;
use crate::ctx::{Actor, Ctx, ensure, equal};
use crate::oracle::{EventKind, loads, requests};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "oracle-sees-modprobe", fresh_boot: false, needs: &[], run: sees_modprobe },
    Scenario { name: "oracle-sees-every-actor", fresh_boot: false, needs: &[], run: sees_every_actor },
];

/// An explicit `modprobe` and `rmmod` are a load and a free by two processes, without a request.
fn sees_modprobe(ctx: &mut Ctx) -> Result<()> {
    let oracle = ctx.oracle()?;
    let mut log = ctx.mark_log()?;
    ensure("dummy is not loaded before", !ctx.modules()?.contains_key("dummy"))?;

    ctx.run(&["modprobe", "dummy"])?.ok()?;
    let module = ctx.modules()?.remove("dummy").context("dummy is not in /proc/modules")?;
    equal("state of dummy", module.state.as_str(), "Live")?;
    ctx.run(&["rmmod", "dummy"])?.ok()?;
    ensure("dummy is gone after rmmod", !ctx.modules()?.contains_key("dummy"))?;

    let events = ctx.oracle_events(&oracle)?;
    equal("requests", requests(&events), Vec::<&str>::new())?;
    equal("loads", loads(&events), vec!["dummy"])?;
    let comms: Vec<_> = events.iter().filter_map(|event| event.comm.as_deref()).collect();
    equal("tasks", comms, vec!["modprobe", "rmmod"])?;
    equal("last event", &events[1].kind, &EventKind::Free { module: "dummy".to_owned() })?;
    log.note("oracle-sees-modprobe is done")?;
    ensure("the note is in the log", log.lines()?.iter().any(|line| line.contains("is done")))
}

/// The oracle sees every process of a group, under the pid with which it was started.
fn sees_every_actor(ctx: &mut Ctx) -> Result<()> {
    // As many as the kernel admits at once, so that it gives none up on a slow machine.
    const ACTORS: u32 = 50;
    let oracle = ctx.oracle()?;
    let actors = (0..ACTORS).map(|number| Actor::mount(&format!("absent{number}")).named(&format!("actor{number}")));
    let reports = ctx.actor_group(actors.collect())?.release()?;
    let no_device = rustix::io::Errno::NODEV.raw_os_error();
    ensure("every mount fails with ENODEV", reports.iter().all(|report| report.errno == no_device))?;

    let events = ctx.oracle_events(&oracle)?;
    let mut seen: Vec<(u32, String)> = Vec::new();
    for event in &events {
        if let EventKind::Request { name, wait, .. } = &event.kind {
            ensure("mount waits for its module", *wait)?;
            seen.push((event.tid, name.clone()));
        }
    }
    seen.sort_unstable();
    let mut wanted: Vec<(u32, String)> =
        reports.iter().enumerate().map(|(number, report)| (report.pid, format!("fs-absent{number}"))).collect();
    wanted.sort_unstable();
    equal("requests by thread and alias", seen, wanted)?;

    let report = ctx.act(Actor::mount("absent").named("quick").as_user(1000).logged_in_as(1000))?;
    equal("errno of a user's mount", report.errno, rustix::io::Errno::PERM.raw_os_error())?;
    equal("requests by a user who may not mount", requests(&ctx.oracle_events(&oracle)?).len(), reports.len())
}
