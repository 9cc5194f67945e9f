//! `kmodtrace why`: what it finds afterwards, without and with a recorder.

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::oracle_check::text;
use super::{Need, Scenario};
use crate::ctx::{Actor, Ctx, contains, ensure, equal};
use crate::protocol::KMODTRACE_PATH;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "why-finds-order-and-holders", fresh_boot: true, needs: &[Need::Kmodtrace], run: afterwards },
    Scenario { name: "why-shows-recorded-login", fresh_boot: true, needs: &[Need::Kmodtrace], run: recorded },
];

/// An unprivileged user.
const ALICE: u32 = 1000;

/// Where the service puts its captures.
const CAPTURES: &str = "/var/log/kmodtrace";

fn why(ctx: &mut Ctx, uid: u32, name: &str) -> Result<Value> {
    let output = ctx.run_as(uid, &[KMODTRACE_PATH, "why", "--json", name])?.ok()?;
    serde_json::from_str(&output.stdout).with_context(|| format!("not JSON: {}", output.stdout))
}

/// The findings with a rule.
fn by_rule<'a>(answer: &'a Value, rule: &str) -> Vec<&'a Value> {
    let findings = answer["findings"].as_array().into_iter().flatten();
    findings.filter(|finding| finding["rule"] == rule).collect()
}

/// After a load that nothing recorded: its place in the order, its holders, and how it can be removed; for an unprivileged user too.
fn afterwards(ctx: &mut Ctx) -> Result<()> {
    let before = why(ctx, 0, "sctp")?;
    equal("state before", text(&before, "/state"), "not-loaded")?;
    ctx.act(Actor::socket(2, 1, 132).as_user(ALICE))?;
    ctx.act(Actor::mount("udf"))?;
    for uid in [0, ALICE] {
        let answer = why(ctx, uid, "sctp")?;
        equal("state", text(&answer, "/state"), "loaded")?;
        ensure(
            "nothing is recorded",
            answer["findings"].as_array().is_some_and(|all| all.iter().all(|it| it["mark"] != "recorded")),
        )?;
        equal("number of places", by_rule(&answer, "order-of-modules").len(), 1)?;
        let times = by_rule(&answer, "sysfs-time");
        equal("number of times", times.len(), 1)?;
        contains("way", &answer["ways"].to_string(), "IPPROTO_SCTP")?;
        contains("who can cause it", &answer["ways"].to_string(), "anyone")?;
        contains("holder", &answer["holders"].to_string(), "SCTP")?;
        contains("note", &answer["notes"].to_string(), "nothing was recording on this host")?;
        contains("next", &answer["next"].to_string(), "kmodtrace block sctp")?;
    }
    // Its dependency arrived with it.
    let answer = why(ctx, 0, "libcrc32c")?;
    if text(&answer, "/state") == "loaded" && !by_rule(&answer, "dependency-order").is_empty() {
        contains("requester", &by_rule(&answer, "dependency-order")[0].to_string(), "sctp")?;
    }
    let human = ctx.run(&["kmodtrace", "why", "sctp"])?.ok()?.stdout;
    println!("{human}");
    ensure("it fits one screen", human.lines().count() <= 24)?;
    let answer = why(ctx, 0, "udf")?;
    equal("udf can be removed", &answer["removal"]["possible"], &Value::Bool(true))?;
    let command = text(&answer, "/removal/command");
    ctx.run(&["sh", "-c", &command])?.ok()?;
    equal("state after its removal", text(&why(ctx, 0, "udf")?, "/state"), "not-loaded")
}

/// A recorded chain comes first, with the user who logged in; reports have the login as a column, a group and a filter.
fn recorded(ctx: &mut Ctx) -> Result<()> {
    let tracer = ctx.record(CAPTURES, &[])?;
    ctx.act(Actor::socket(2, 1, 132).logged_in_as(ALICE))?;
    ctx.act(Actor::mount("udf"))?;
    tracer.stop()?;
    let answer = why(ctx, 0, "sctp")?;
    let chain = &answer["findings"][0];
    equal("mark", text(chain, "/mark"), "recorded")?;
    equal("rule", text(chain, "/rule"), "chain")?;
    contains("login", &text(chain, "/text"), "logged in as ")?;
    let by = ctx.run(&["kmodtrace", "report", "--boot", "--since", "boot", "--by", "login", "--csv"])?.ok()?.stdout;
    contains("group of the login", &by, "login,alice,2,")?;
    contains("group without a login", &by, "login,none,1,")?;
    for (filter, has_sctp) in [("alice", true), ("1000", true), ("none", false), ("!none", true)] {
        let rows = ctx.run(&["kmodtrace", "report", "--csv", "--login", filter])?.ok()?.stdout;
        equal("sctp is selected", rows.contains(",sctp,"), has_sctp)?;
    }
    let human = ctx.run(&["kmodtrace", "why", "sctp", "udf"])?.ok()?.stdout;
    println!("{human}");
    let none = ctx.run_as(ALICE, &[KMODTRACE_PATH, "report", "--boot=-1"])?;
    equal("exit code without an earlier boot", none.code, 125)
}
