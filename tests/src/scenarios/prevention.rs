//! `kmodtrace block` and `surface`: what is kept out stays out, and the list of what can come is right.

use anyhow::Result;
use serde_json::Value;

use super::agreement::text;
use super::{Need, Scenario};
use crate::ctx::{Act, Ctx, contains, equal, that};
use crate::protocol::KMODTRACE_PATH;

const NEEDS: &[Need] = &[Need::Kmodtrace];
const IPTABLES: &[Need] = &[Need::Kmodtrace, Need::Program("iptables-legacy")];

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "block-keeps-the-outage-out", fresh_boot: true, needs: IPTABLES, run: outage },
    Scenario { name: "block-works-with-softdeps", fresh_boot: true, needs: NEEDS, run: softdeps },
    Scenario { name: "block-says-what-it-cannot", fresh_boot: false, needs: NEEDS, run: cannot },
    Scenario { name: "surface-foresees", fresh_boot: true, needs: NEEDS, run: surface },
];

/// The user whom nobody gave anything.
const ALICE: u32 = 1000;

/// Where --write puts the lines for a module.
fn file(name: &str) -> String {
    format!("/etc/modprobe.d/00-kmodtrace-block-{name}.conf")
}

/// Puts the lines in place, and removes them when `check` is done.
fn blocked(ctx: &mut Ctx, name: &str, check: impl FnOnce(&mut Ctx) -> Result<()>) -> Result<()> {
    let written = ctx.run(&["kmodtrace", "block", "--write", name])?.ok()?;
    contains("what is said", &written.stderr, &format!("wrote {}", file(name)))?;
    let checked = check(ctx);
    std::fs::remove_file(file(name))?;
    checked
}

/// With iptable_nat kept out, the same harmless look at the firewall loads no connection tracking.
fn outage(ctx: &mut Ctx) -> Result<()> {
    blocked(ctx, "iptable_nat", |ctx| {
        let tracer = ctx.watch(&[])?;
        let refused = ctx.run(&["iptables-legacy", "-t", "nat", "-L"])?;
        that("there is no such table now", refused.code != 0)?;
        let capture = tracer.stop()?;
        let request = capture.request_for("iptable_nat")?;
        equal("result", text(capture.result_of(request)?, "/status"), "blocklisted")?;
        equal("modules loaded for it", capture.modules_of(request).len(), 0)?;
        that("no connection tracking", !ctx.modules()?.contains_key("nf_conntrack"))?;
        let again = ctx.run(&["kmodtrace", "block", "--write", "iptable_nat"])?.ok()?;
        contains("what is said the second time", &again.stderr, "word for word")
    })?;
    ctx.run(&["iptables-legacy", "-t", "nat", "-L"])?.ok()?;
    that("without the lines it comes", ctx.modules()?.contains_key("nf_conntrack"))
}

/// btrfs has soft dependencies, with which modprobe ignores a bare `install btrfs /bin/false`: the lines hold all the same,
/// by alias, by name and by hand.
fn softdeps(ctx: &mut Ctx) -> Result<()> {
    blocked(ctx, "btrfs", |ctx| {
        ctx.act(Act::mount("btrfs"))?;
        ctx.run(&["modprobe", "btrfs"])?;
        that("btrfs is not loaded", !ctx.modules()?.contains_key("btrfs"))
    })?;
    let release = ctx.run(&["uname", "-r"])?.ok()?.stdout;
    let softdeps = std::fs::read_to_string(format!("/lib/modules/{}/modules.softdep", release.trim()))?;
    // Newer kernels have built in what btrfs wanted.
    let has_softdep = softdeps.lines().any(|line| line.starts_with("softdep btrfs "));
    ctx.modprobe_conf("common", "install btrfs /bin/false\n")?;
    ctx.act(Act::mount("btrfs"))?;
    equal("what is commonly written does not keep it out", ctx.modules()?.contains_key("btrfs"), has_softdep)
}

/// Built-in code, unknown names and names that are none: each is said, nothing is written for it, and the code tells.
fn cannot(ctx: &mut Ctx) -> Result<()> {
    // What is built in differs from kernel to kernel.
    let release = ctx.run(&["uname", "-r"])?.ok()?.stdout;
    let list = std::fs::read_to_string(format!("/lib/modules/{}/modules.builtin", release.trim()))?;
    let file = list.lines().next().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
    let built_in = file.trim_end_matches(".ko").replace('-', "_");
    let output = ctx.run(&["kmodtrace", "block", &built_in, "nosuchmodule", "x*"])?;
    equal("exit code", output.code, 1)?;
    equal("lines", output.stdout.as_str(), "")?;
    contains("built in", &output.stderr, &format!("{built_in} is built into this kernel"))?;
    contains("the way that is left", &output.stderr, "initcall_blacklist=")?;
    contains("unknown", &output.stderr, "nosuchmodule: no module of this kernel")?;
    contains("a pattern", &output.stderr, "no plain name")
}

/// What an ordinary user reads in the list is what then loads when that user asks.
fn surface(ctx: &mut Ctx) -> Result<()> {
    let output = ctx.run_as(ALICE, &[KMODTRACE_PATH, "surface", "--json"])?.ok()?;
    let entries = output.stdout.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
    that("there is a surface", entries.len() > 50)?;
    let sctp = entries.iter().find(|entry| entry["module"] == "sctp");
    let sctp = sctp.ok_or_else(|| anyhow::anyhow!("sctp is not in the list"))?;
    equal("who can ask", text(sctp, "/access"), "anyone")?;
    let foreseen: Vec<&str> = sctp["modules"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();

    let tracer = ctx.watch(&[])?;
    ctx.act(Act::socket(2, 1, 132).as_user(ALICE))?;
    let capture = tracer.stop()?;
    equal("modules", capture.modules(), foreseen)?;
    let after = ctx.run(&["kmodtrace", "surface", "--json"])?.ok()?;
    that("what is loaded is no surface any more", !after.stdout.contains("\"module\":\"sctp\""))
}
