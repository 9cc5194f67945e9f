//! What was captured is told by an ordinary user: every module that arrived, and who is behind it.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::{Need, Scenario};
use crate::ctx::{Ctx, contains, equal, same_set, that};

pub(super) const SCENARIOS: &[Scenario] = &[Scenario {
    name: "report-tells-who-loaded-what",
    fresh_boot: true,
    needs: &[Need::Kmodtrace, Need::Program("iptables-legacy")],
    run: tells_who,
}];

const CAPTURE: &str = "/run/report-capture.jsonl";

fn tells_who(ctx: &mut Ctx) -> Result<()> {
    let before: BTreeSet<String> = ctx.modules()?.into_keys().collect();
    let record = "iptables-legacy -t nat -L >/dev/null; mount -t nosuchfs none /mnt; true";
    ctx.run(&["kmodtrace", "run", "--json", "-o", CAPTURE, "--", "sh", "-c", record])?.ok()?;
    ctx.run(&["chmod", "644", CAPTURE])?.ok()?;
    let arrived: BTreeSet<String> = ctx.modules()?.into_keys().filter(|name| !before.contains(name)).collect();

    let output = ctx.run_as(1000, &["kmodtrace", "report", "--json", "--by", "module", CAPTURE])?.ok()?;
    equal("what is missing", output.stderr.as_str(), "")?;
    let mut told = BTreeSet::new();
    for line in output.stdout.lines() {
        let row: Value = serde_json::from_str(line).context("a row is no JSON")?;
        if row["kind"] == "alias" {
            continue;
        }
        told.insert(row["name"].as_str().unwrap_or_default().to_owned());
        equal("how it ended", &row["results"], &serde_json::json!({"loaded": 1}))?;
        let others = row["others"].as_array().context("nobody is named")?;
        let by: Vec<&str> = others.iter().filter_map(|other| other["name"].as_str()).collect();
        let is_named = by.iter().all(|name| name.ends_with("/xtables-legacy-multi"));
        that(&format!("{} came by {by:?}: iptables", row["name"]), is_named && !by.is_empty())?;
    }
    same_set("modules", told, arrived)?;

    let table = ctx.run_as(1000, &["kmodtrace", "report", "--utc", CAPTURE])?.ok()?;
    contains("table", &table.stdout, "\"fs-nosuchfs\"")?;
    contains("table", &table.stdout, "not-found")
}
