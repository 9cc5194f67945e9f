//! Many concurrent requests, and requesters that exit immediately: every request is reported with the correct requester.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::oracle_check::{expect_status, is_admitted, number, text, with_oracle, with_oracle_except};
use super::{Need, Scenario};
use crate::ctx::{Actor, Capture, Ctx, ensure, equal};
use crate::oracle::Event;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "storm-62-aliases", fresh_boot: false, needs: &[Need::Kmodtrace], run: distinct },
    Scenario { name: "storm-62-same-alias", fresh_boot: true, needs: &[Need::Kmodtrace], run: same },
    Scenario { name: "child-that-exits-at-once", fresh_boot: false, needs: &[Need::Kmodtrace], run: exits_at_once },
];

/// More than the 50 requests that the kernel admits at a time.
const STORM: u32 = 62;

/// Whether the kernel admitted a request, according to the oracle. On a slow machine it gives some up after 5 s, which then have
/// no helper. Their outcome is inferred if the thread shows it, and unknown otherwise.
fn is_admitted_or_timed_out(capture: &Capture, request: &Value, oracle: &[Event]) -> Result<bool> {
    if is_admitted(oracle, request) {
        return Ok(true);
    }
    let result = capture.result_of(request)?;
    if text(result, "/status") != "unknown" {
        expect_status(result, "throttled", "inferred")?;
        equal("rule", text(result, "/rule"), "admission-timeout")?;
    }
    equal("helpers of a request that was not admitted", capture.belonging_to(request, "helper").len(), 0)?;
    Ok(false)
}

/// Each process requests a different alias, for which there is no module.
fn distinct(ctx: &mut Ctx) -> Result<()> {
    let oracle = ctx.oracle()?;
    let tracer = ctx.watch(&[])?;
    let actors = (0..STORM).map(|n| Actor::mount(&format!("storm{n}")).named(&format!("storm{n}")));
    let reports = ctx.actor_group(actors.collect())?.release()?;
    let capture = tracer.stop()?;
    let events = ctx.oracle_events(&oracle)?;
    with_oracle(&capture, &events)?;

    equal("requests", capture.of_type("request").count(), reports.len())?;
    let mut helpers = BTreeMap::new();
    for report in &reports {
        let n = report.actor.comm.trim_start_matches("storm");
        let request = capture.request_for(&format!("fs-storm{n}"))?;
        equal("pid", number(request, "/process/pid"), Some(u64::from(report.pid)))?;
        equal("comm", text(request, "/process/comm"), report.actor.comm.as_str())?;
        if !is_admitted_or_timed_out(&capture, request, &events)? {
            continue;
        }
        let [helper] = capture.belonging_to(request, "helper")[..] else { bail!("expected one helper for {request}") };
        equal("alias of its helper", text(helper, "/argv/3"), format!("fs-storm{n}"))?;
        let pid = number(helper, "/pid").context("a helper without pid")?;
        ensure("no helper serves two requests", helpers.insert(pid, n).is_none())?;
        expect_status(capture.result_of(request)?, "not-found", "inferred")?;
    }
    ensure("some requests had a helper", !helpers.is_empty())
}

/// The programs that report failed attempts are the only long ones at a function's return. On preemptible kernels (7 and later)
/// that run slowly, the kernel may skip them; this is reported as missed runs.
const ATTEMPTS: &[&str] = &["sys_finit_fexit", "sys_init_fexit"];

/// All processes request the same alias: exactly one helper loads each module, and any helper may be the one.
fn same(ctx: &mut Ctx) -> Result<()> {
    let oracle = ctx.oracle()?;
    let tracer = ctx.watch(&[])?;
    let actors = (0..STORM).map(|n| Actor::mount("udf").named(&format!("same{n}")));
    let reports = ctx.actor_group(actors.collect())?.release()?;
    let capture = tracer.stop()?;
    let events = ctx.oracle_events(&oracle)?;
    with_oracle_except(&capture, &events, ATTEMPTS)?;

    let requests = capture.requests_for("fs-udf");
    ensure("there are requests", !requests.is_empty())?;
    let pids: BTreeMap<u64, &str> =
        reports.iter().map(|report| (u64::from(report.pid), report.actor.comm.as_str())).collect();
    let mut helpers = BTreeMap::new();
    let mut helped = 0;
    for request in &requests {
        let pid = number(request, "/process/pid").context("a request without pid")?;
        equal("comm", Some(text(request, "/process/comm").as_str()), pids.get(&pid).copied())?;
        if !is_admitted_or_timed_out(&capture, request, &events)? {
            continue;
        }
        let [helper] = capture.belonging_to(request, "helper")[..] else { bail!("expected one helper for {request}") };
        helped += 1;
        helpers.insert(number(helper, "/pid"), request["request"].clone());
        let status = text(capture.result_of(request)?, "/status");
        ensure(&format!("{status} is loaded or already-loaded"), status == "loaded" || status == "already-loaded")?;
    }
    equal("helpers", helpers.len(), helped)?;
    let mut loaders = BTreeMap::new();
    for load in capture.of_type("load") {
        let by = helpers.get(&number(load, "/process/pid"));
        equal("request of the helper that loaded it", Some(&load["request"]), by)?;
        ensure("each module is loaded once", loaders.insert(text(load, "/module"), ()).is_none())?;
    }
    ensure("udf is loaded", loaders.contains_key("udf"))
}

/// A requester that exits before the reader wakes is reported as completely as one that keeps running.
fn exits_at_once(ctx: &mut Ctx) -> Result<()> {
    let tracer = ctx.watch(&[])?;
    let reports =
        (0..10).map(|n| ctx.act(Actor::mount("gonefs").named(&format!("gone{n}")))).collect::<Result<Vec<_>>>()?;
    let capture = tracer.stop()?;
    capture.expect_complete()?;
    let requests = capture.requests_for("fs-gonefs");
    equal("requests", requests.len(), reports.len())?;
    for (request, report) in requests.iter().zip(&reports) {
        equal("pid", number(request, "/process/pid"), Some(u64::from(report.pid)))?;
        equal("comm", text(request, "/process/comm"), report.actor.comm.as_str())?;
        ensure("exe is known", !text(request, "/process/exe").is_empty())?;
        equal("last argument", text(request, "/process/argv/3"), "gonefs")?;
        ensure("ancestors are known", request["ancestors"].as_array().is_some_and(|list| !list.is_empty()))?;
    }
    Ok(())
}
