//! One bind of a crypto socket by an unprivileged user, and all resulting requests: those of the process, of kernel threads
//! that probe and test algorithms for it, and of the modules that these load.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::oracle_check::{number, text, with_oracle};
use super::{Need, Scenario};
use crate::ctx::{Actor, Capture, Ctx, contains, ensure, equal};
use crate::oracle::loads;

const NEEDS: &[Need] = &[Need::Kmodtrace];

pub(super) const SCENARIOS: &[Scenario] =
    &[Scenario { name: "cause-crypto-socket", fresh_boot: true, needs: NEEDS, run: crypto_socket }];

/// An unprivileged user.
const NOBODY: u32 = 65534;

fn crypto_socket(ctx: &mut Ctx) -> Result<()> {
    let oracle = ctx.oracle()?;
    let tracer = ctx.watch(&[])?;
    let tree = ctx.watch_tree(&["--color", "never"])?;
    let report = ctx.act(Actor::alg("skcipher", b"xts(twofish)").named("sensor").as_user(NOBODY))?;
    equal("errno of bind", report.errno, 0)?;
    // Self tests continue in kernel threads.
    ctx.run(&["sleep", "2"])?.ok()?;
    let tree = tree.stop()?;
    let capture = tracer.stop()?;
    let events = ctx.oracle_events(&oracle)?;
    let asked = with_oracle(&capture, &events)?;

    // Each request is traced back to the same process, through helpers and kernel threads.
    let by_threads = |request: &&Value| text(request, "/process/comm").starts_with("cryptomgr_");
    ensure("kernel threads made requests too", capture.of_type("request").any(|request| by_threads(&request)))?;
    for request in capture.of_type("request") {
        equal(&format!("root requester of {request}"), root_requester(&capture, request)?, u64::from(report.pid))?;
    }
    for load in capture.of_type("load") {
        equal(&format!("origin of {load}"), text(load, "/origin"), "request")?;
    }

    // The tree shows everything once.
    let shown = tree.other.join("\n");
    let mut shown_requests: BTreeMap<&str, usize> = BTreeMap::new();
    for line in shown.lines().filter(|line| line.contains("asked ") && line.contains('"')) {
        let name = line.split('"').nth(1).with_context(|| format!("no name in {line:?}"))?;
        *shown_requests.entry(name).or_default() += 1;
    }
    let mut wanted: BTreeMap<&str, usize> = BTreeMap::new();
    for name in &asked {
        *wanted.entry(name).or_default() += 1;
    }
    equal("requests of the tree", shown_requests, wanted)?;
    let modules = loads(&events);
    let by_sensor = format!("{} modules loaded by sensor({}): ", modules.len(), report.pid);
    contains("summary", &tree.stderr, &by_sensor)?;
    for module in modules {
        let lines = shown.lines().filter(|line| line.split_whitespace().any(|word| word == module));
        ensure(&format!("the tree shows {module} once"), lines.filter(|line| line.contains(" init ")).count() == 1)?;
    }
    Ok(())
}

/// The root requester, found through parent requests and creators of kernel threads.
fn root_requester(capture: &Capture, request: &Value) -> Result<u64> {
    let mut at = request;
    for _ in 0..16 {
        let behalf = &at["behalf"];
        if !behalf.is_null() {
            equal("attribution", text(behalf, "/attribution"), "inferred")?;
            equal("rule", text(behalf, "/rule"), "kthread-creator")?;
        }
        if let Some(parent) = at["parent_request"].as_str() {
            let wanted = if behalf.is_null() { "exact" } else { "inferred" };
            equal("attribution of the parent", text(at, "/parent_attribution/attribution"), wanted)?;
            let parent = capture.of_type("request").find(|other| other["request"] == parent);
            at = parent.with_context(|| format!("the parent of {at} is missing"))?;
        } else {
            return number(behalf, "/pid")
                .or_else(|| number(at, "/process/pid"))
                .context("the request has no requester");
        }
    }
    bail!("{request} has more than 16 ancestors")
}
