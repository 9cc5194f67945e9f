//! One bind of a crypto socket by a user without privileges, and all that the kernel does for it: requests of the
//! process, of kernel threads that probe and test algorithms for it, and of the modules that these load.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::agreement::{number, text, with_oracle};
use super::{Need, Scenario};
use crate::ctx::{Act, Capture, Ctx, contains, equal, that};
use crate::oracle::loads;

const NEEDS: &[Need] = &[Need::Kmodtrace];

pub(super) const SCENARIOS: &[Scenario] =
    &[Scenario { name: "cause-crypto-socket", fresh_boot: true, needs: NEEDS, run: crypto_socket }];

/// The user whom nobody gave anything.
const NOBODY: u32 = 65534;

fn crypto_socket(ctx: &mut Ctx) -> Result<()> {
    let oracle = ctx.oracle()?;
    let tracer = ctx.watch(&[])?;
    let tree = ctx.watch_tree(&["--color", "never"])?;
    let report = ctx.act(Act::alg("skcipher", b"xts(twofish)").named("sensor").as_user(NOBODY))?;
    equal("the algorithm is there", report.errno, 0)?;
    // Self tests go on in threads of the kernel.
    ctx.run(&["sleep", "2"])?.ok()?;
    let tree = tree.stop()?;
    let capture = tracer.stop()?;
    let events = ctx.oracle_events(&oracle)?;
    let asked = with_oracle(&capture, &events)?;

    // Each request leads back to the one process, through helpers and kernel threads.
    let by_threads = |request: &&Value| text(request, "/process/comm").starts_with("cryptomgr_");
    that("kernel threads asked too", capture.of_type("request").any(|request| by_threads(&request)))?;
    for request in capture.of_type("request") {
        equal(&format!("culprit of {request}"), culprit(&capture, request)?, u64::from(report.pid))?;
    }
    for load in capture.of_type("load") {
        equal(&format!("origin of {load}"), text(load, "/origin"), "request")?;
    }

    // In the tree everything is told once.
    let shown = tree.other.join("\n");
    let mut told: BTreeMap<&str, usize> = BTreeMap::new();
    for line in shown.lines().filter(|line| line.contains("asked ") && line.contains('"')) {
        let name = line.split('"').nth(1).with_context(|| format!("no name in {line:?}"))?;
        *told.entry(name).or_default() += 1;
    }
    let mut wanted: BTreeMap<&str, usize> = BTreeMap::new();
    for name in &asked {
        *wanted.entry(name).or_default() += 1;
    }
    equal("requests of the tree", told, wanted)?;
    let modules = loads(&events);
    let by_sensor = format!("{} modules loaded by sensor({}): ", modules.len(), report.pid);
    contains("summary", &tree.stderr, &by_sensor)?;
    for module in modules {
        let lines = shown.lines().filter(|line| line.split_whitespace().any(|word| word == module));
        that(&format!("the tree tells of {module} once"), lines.filter(|line| line.contains(" init ")).count() == 1)?;
    }
    Ok(())
}

/// The process at the beginning: through parent requests and the creators of kernel threads.
fn culprit(capture: &Capture, request: &Value) -> Result<u64> {
    let mut at = request;
    for _ in 0..16 {
        let behalf = &at["behalf"];
        if !behalf.is_null() {
            equal("certainty", text(behalf, "/attribution"), "inferred")?;
            equal("rule", text(behalf, "/rule"), "kthread-creator")?;
        }
        if let Some(parent) = at["parent_request"].as_str() {
            let wanted = if behalf.is_null() { "exact" } else { "inferred" };
            equal("certainty of the parent", text(at, "/parent_attribution/attribution"), wanted)?;
            let parent = capture.of_type("request").find(|other| other["request"] == parent);
            at = parent.with_context(|| format!("the parent of {at} is not told"))?;
        } else {
            return number(behalf, "/pid").or_else(|| number(at, "/process/pid")).context("nobody asked");
        }
    }
    bail!("no end above {request}")
}
