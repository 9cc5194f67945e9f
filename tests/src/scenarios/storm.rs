//! Many at once, and gone at once: every request is accounted for, and blamed on the right one.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::agreement::{ended, is_admitted, number, text, with_oracle, with_oracle_but};
use super::{Need, Scenario};
use crate::ctx::{Act, Capture, Ctx, equal, that};
use crate::oracle::Event;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "storm-62-aliases", fresh_boot: false, needs: &[Need::Kmodtrace], run: distinct },
    Scenario { name: "storm-62-same-alias", fresh_boot: true, needs: &[Need::Kmodtrace], run: same },
    Scenario { name: "child-that-exits-at-once", fresh_boot: false, needs: &[Need::Kmodtrace], run: exits_at_once },
];

/// More than the 50 requests that the kernel lets run at a time.
const STORM: u32 = 62;

/// Whether the kernel gave a request one of its 50 places, as the oracle saw it. On a slow machine it gives up on some after
/// 5 s: those have no helper. That they were given up is inferred where their threads show it, and not known elsewhere.
fn got_a_place(capture: &Capture, request: &Value, oracle: &[Event]) -> Result<bool> {
    if is_admitted(oracle, request) {
        return Ok(true);
    }
    let result = capture.result_of(request)?;
    if text(result, "/status") != "unknown" {
        ended(result, "throttled", "inferred")?;
        equal("rule", text(result, "/rule"), "admission-timeout")?;
    }
    equal("helpers of a request without a place", capture.belonging_to(request, "helper").len(), 0)?;
    Ok(false)
}

/// Each asks for something else, which nobody provides.
fn distinct(ctx: &mut Ctx) -> Result<()> {
    let oracle = ctx.oracle()?;
    let tracer = ctx.watch(&[])?;
    let acts = (0..STORM).map(|n| Act::mount(&format!("storm{n}")).named(&format!("storm{n}")));
    let reports = ctx.crowd(acts.collect())?.release()?;
    let capture = tracer.stop()?;
    let events = ctx.oracle_events(&oracle)?;
    with_oracle(&capture, &events)?;

    equal("requests", capture.of_type("request").count(), reports.len())?;
    let mut helpers = BTreeMap::new();
    for report in &reports {
        let n = report.act.comm.trim_start_matches("storm");
        let request = capture.request_for(&format!("fs-storm{n}"))?;
        equal("pid", number(request, "/process/pid"), Some(u64::from(report.pid)))?;
        equal("comm", text(request, "/process/comm"), report.act.comm.as_str())?;
        if !got_a_place(&capture, request, &events)? {
            continue;
        }
        let [helper] = capture.belonging_to(request, "helper")[..] else { bail!("not one helper for {request}") };
        equal("what its helper was asked", text(helper, "/argv/3"), format!("fs-storm{n}"))?;
        let pid = number(helper, "/pid").context("a helper without pid")?;
        that("no helper serves two requests", helpers.insert(pid, n).is_none())?;
        ended(capture.result_of(request)?, "not-found", "inferred")?;
    }
    that("some had a helper", !helpers.is_empty())
}

/// What tells of attempts that failed, and of nothing else, is the one long program at a return. Where tasks are preempted
/// in the kernel (7 and later) and everything is slow, the kernel may skip it for a while; that is told.
const ATTEMPTS: &[&str] = &["sys_finit_fexit", "sys_init_fexit"];

/// All ask for the same: whose helper loads each module is the kernel's chance, and exactly one does.
fn same(ctx: &mut Ctx) -> Result<()> {
    let oracle = ctx.oracle()?;
    let tracer = ctx.watch(&[])?;
    let acts = (0..STORM).map(|n| Act::mount("udf").named(&format!("same{n}")));
    let reports = ctx.crowd(acts.collect())?.release()?;
    let capture = tracer.stop()?;
    let events = ctx.oracle_events(&oracle)?;
    with_oracle_but(&capture, &events, ATTEMPTS)?;

    let requests = capture.requests_for("fs-udf");
    that("somebody asked", !requests.is_empty())?;
    let pids: BTreeMap<u64, &str> =
        reports.iter().map(|report| (u64::from(report.pid), report.act.comm.as_str())).collect();
    let mut helpers = BTreeMap::new();
    let mut helped = 0;
    for request in &requests {
        let pid = number(request, "/process/pid").context("a request without pid")?;
        equal("comm", Some(text(request, "/process/comm").as_str()), pids.get(&pid).copied())?;
        if !got_a_place(&capture, request, &events)? {
            continue;
        }
        let [helper] = capture.belonging_to(request, "helper")[..] else { bail!("not one helper for {request}") };
        helped += 1;
        helpers.insert(number(helper, "/pid"), request["request"].clone());
        let status = text(capture.result_of(request)?, "/status");
        that(&format!("{status} is loaded or already-loaded"), status == "loaded" || status == "already-loaded")?;
    }
    equal("helpers", helpers.len(), helped)?;
    let mut loaders = BTreeMap::new();
    for load in capture.of_type("load") {
        let by = helpers.get(&number(load, "/process/pid"));
        equal("whose helper loaded it", Some(&load["request"]), by)?;
        that("each module arrives once", loaders.insert(text(load, "/module"), ()).is_none())?;
    }
    that("udf arrived", loaders.contains_key("udf"))
}

/// The requester is gone before any reader wakes: it is known as well as one that stays.
fn exits_at_once(ctx: &mut Ctx) -> Result<()> {
    let tracer = ctx.watch(&[])?;
    let reports =
        (0..10).map(|n| ctx.act(Act::mount("gonefs").named(&format!("gone{n}")))).collect::<Result<Vec<_>>>()?;
    let capture = tracer.stop()?;
    capture.expect_whole()?;
    let requests = capture.requests_for("fs-gonefs");
    equal("requests", requests.len(), reports.len())?;
    for (request, report) in requests.iter().zip(&reports) {
        equal("pid", number(request, "/process/pid"), Some(u64::from(report.pid)))?;
        equal("comm", text(request, "/process/comm"), report.act.comm.as_str())?;
        that("exe is known", !text(request, "/process/exe").is_empty())?;
        equal("last argument", text(request, "/process/argv/3"), "gonefs")?;
        that("ancestors are known", request["ancestors"].as_array().is_some_and(|list| !list.is_empty()))?;
    }
    Ok(())
}
