//! `kmodtrace explain`: its predictions are correct.

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::oracle_check::text;
use super::{Need, Scenario};
use crate::ctx::{Actor, Ctx, contains, ensure, equal};
use crate::protocol::KMODTRACE_PATH;

const NEEDS: &[Need] = &[Need::Kmodtrace];

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "explain-predicts-a-load", fresh_boot: true, needs: NEEDS, run: predicts },
    Scenario { name: "explain-shows-blocking-rules", fresh_boot: false, needs: NEEDS, run: blocking_rules },
    Scenario { name: "explain-unknown-name-fails", fresh_boot: false, needs: NEEDS, run: unknown_names },
];

/// An unprivileged user.
const ALICE: u32 = 1000;

/// A protocol that any user may request, and whose module has dependencies.
const SCTP: &str = "net-pf-2-proto-132";

/// Runs `explain` as alice, and returns its answer.
fn explain(ctx: &mut Ctx, name: &str) -> Result<Value> {
    let output = ctx.run_as(ALICE, &[KMODTRACE_PATH, "explain", "--json", name])?.ok()?;
    serde_json::from_str(&output.stdout).with_context(|| format!("not JSON: {}", output.stdout))
}

fn modules(answer: &Value) -> Vec<String> {
    let modules = answer["modules"].as_array().into_iter().flatten();
    modules.map(|step| text(step, "/module")).collect()
}

/// The modules and reasons that an unprivileged user gets are those of the trace that root makes afterwards.
fn predicts(ctx: &mut Ctx) -> Result<()> {
    let answer = explain(ctx, SCTP)?;
    equal("verdict", text(&answer, "/verdict"), "loads")?;
    contains("cause", &text(&answer, "/causes/0/action"), "IPPROTO_SCTP")?;
    equal("access", text(&answer, "/causes/0/access"), "anyone")?;
    ensure("it has dependencies", modules(&answer).len() > 1)?;

    let tracer = ctx.watch(&[])?;
    ctx.act(Actor::socket(2, 1, 132).as_user(ALICE))?;
    let capture = tracer.stop()?;
    let request = capture.request_for(SCTP)?;
    equal("modules", capture.modules_of(request), modules(&answer))?;
    let loads = capture.belonging_to(request, "load");
    for (load, step) in loads.into_iter().zip(answer["modules"].as_array().into_iter().flatten()) {
        equal("reason", &load["reason"], &step["reason"])?;
    }

    let after = explain(ctx, SCTP)?;
    equal("verdict afterwards", text(&after, "/verdict"), "already-loaded")
}

/// Each kind of blocking rule is reported with its line, as read by the guest's own modprobe.
fn blocking_rules(ctx: &mut Ctx) -> Result<()> {
    equal("verdict before", text(&explain(ctx, "net-pf-28")?, "/verdict"), "loads")?;
    ctx.modprobe_conf("explain", "install mpls_router /bin/false\nblacklist sctp\nalias net-pf-38 off\n")?;
    for (name, line) in [
        ("net-pf-28", "install mpls_router /bin/false"),
        (SCTP, "blacklist sctp"),
        ("net-pf-38", "alias net_pf_38 off"),
    ] {
        let answer = explain(ctx, name)?;
        equal("verdict", text(&answer, "/verdict"), "blocked")?;
        contains("block", &text(&answer, "/blocks/0"), line)?;
    }
    let human = ctx.run_as(ALICE, &[KMODTRACE_PATH, "explain", "net-pf-28", "mpls_router"])?.ok()?.stdout;
    contains("human form", &human, "blocked   install mpls_router /bin/false in /etc/modprobe.d/explain.conf:1")?;
    contains("aliases of the module", &human, "[net_pf_28]")
}

/// An unknown or malformed name gives exit code 1 and a sentence. Control characters in a name are escaped.
fn unknown_names(ctx: &mut Ctx) -> Result<()> {
    for name in ["no_such_module", "broken]", "x\u{1b}[2J\nhere      fine"] {
        let output = ctx.run_as(ALICE, &[KMODTRACE_PATH, "explain", name])?;
        equal("exit code", output.code, 1)?;
        equal("lines", output.stdout.lines().count(), 2)?;
        ensure("no control character", !output.stdout.contains('\u{1b}'))?;
    }
    let both = ctx.run_as(ALICE, &[KMODTRACE_PATH, "explain", SCTP, "no_such_module"])?;
    equal("exit code for one of two", both.code, 1)?;
    contains("the known one is explained", &both.stdout, "IPPROTO_SCTP")
}
