//! `kmodtrace report` by an unprivileged user: every loaded module with its requester.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::{Need, Scenario};
use crate::ctx::{Ctx, contains, ensure, equal, same_set};

pub(super) const SCENARIOS: &[Scenario] = &[Scenario {
    name: "report-names-requesters",
    fresh_boot: true,
    needs: &[Need::Kmodtrace, Need::Program("iptables-legacy")],
    run: names_requesters,
}];

const CAPTURE: &str = "/run/report-capture.jsonl";

fn names_requesters(ctx: &mut Ctx) -> Result<()> {
    let before: BTreeSet<String> = ctx.modules()?.into_keys().collect();
    let record = "iptables-legacy -t nat -L >/dev/null; mount -t nosuchfs none /mnt; true";
    ctx.run(&["kmodtrace", "run", "--json", "-o", CAPTURE, "--", "sh", "-c", record])?.ok()?;
    ctx.run(&["chmod", "644", CAPTURE])?.ok()?;
    let arrived: BTreeSet<String> = ctx.modules()?.into_keys().filter(|name| !before.contains(name)).collect();

    let output = ctx.run_as(1000, &["kmodtrace", "report", "--json", "--by", "module", CAPTURE])?.ok()?;
    equal("warnings", output.stderr.as_str(), "")?;
    let mut reported = BTreeSet::new();
    for line in output.stdout.lines() {
        let row: Value = serde_json::from_str(line).context("a row is not JSON")?;
        if row["kind"] == "alias" {
            continue;
        }
        reported.insert(row["name"].as_str().unwrap_or_default().to_owned());
        equal("results", &row["results"], &serde_json::json!({"loaded": 1}))?;
        let others = row["others"].as_array().context("the row has no requester")?;
        let by: Vec<&str> = others.iter().filter_map(|other| other["name"].as_str()).collect();
        let is_named = by.iter().all(|name| name.ends_with("/xtables-legacy-multi"));
        ensure(&format!("requesters of {}: {by:?}", row["name"]), is_named && !by.is_empty())?;
    }
    same_set("modules", reported, arrived)?;

    let table = ctx.run_as(1000, &["kmodtrace", "report", "--utc", CAPTURE])?.ok()?;
    contains("table", &table.stdout, "\"fs-nosuchfs\"")?;
    contains("table", &table.stdout, "not-found")
}
