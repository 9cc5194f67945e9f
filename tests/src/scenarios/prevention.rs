//! `kmodtrace block`, `surface` and `impact`: what is kept out stays out, the list of what can come is right, and who
//! would miss something is named.

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
    Scenario { name: "surface-keeps-out-what-nobody-needed", fresh_boot: true, needs: NEEDS, run: keeps_out },
    Scenario { name: "prevention-page-is-true", fresh_boot: true, needs: IPTABLES, run: page },
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

/// btrfs may have soft dependencies, with which modprobe ignores a bare `install btrfs /bin/false`: the lines hold all the same,
/// by alias, by name and by hand.
fn softdeps(ctx: &mut Ctx) -> Result<()> {
    blocked(ctx, "btrfs", |ctx| {
        ctx.act(Act::mount("btrfs"))?;
        ctx.run(&["modprobe", "btrfs"])?;
        that("btrfs is not loaded", !ctx.modules()?.contains_key("btrfs"))
    })?;
    ctx.modprobe_conf("common", "install btrfs /bin/false\n")?;
    ctx.act(Act::mount("btrfs"))?;
    // Some kernels' btrfs has none.
    let softdeps = std::fs::read_to_string(format!("/lib/modules/{}/modules.softdep", release(ctx)?))?;
    let has_some = softdeps.lines().any(|line| line.starts_with("softdep btrfs "));
    equal("what is commonly written does not keep it out", ctx.modules()?.contains_key("btrfs"), has_some)
}

fn release(ctx: &mut Ctx) -> Result<String> {
    Ok(ctx.run(&["uname", "-r"])?.ok()?.stdout.trim().to_owned())
}

/// Built-in code, unknown names and names that are none: each is said, nothing is written for it, and the code tells.
fn cannot(ctx: &mut Ctx) -> Result<()> {
    // What is built in differs from kernel to kernel.
    let list = std::fs::read_to_string(format!("/lib/modules/{}/modules.builtin", release(ctx)?))?;
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

/// Crypto sockets, and SCTP: the one was used while a recorder ran, the other never.
const USED: (u16, u32, u32) = (38, 5, 0);
const UNUSED: (u16, u32, u32) = (2, 1, 132);

fn ask(ctx: &mut Ctx, (family, kind, protocol): (u16, u32, u32)) -> Result<()> {
    ctx.act(Act::socket(family, kind, protocol).named("sensor").as_user(ALICE)).map(drop)
}

/// By captures it is known what nobody needed: that is kept out by one file, and what was needed goes on working.
fn keeps_out(ctx: &mut Ctx) -> Result<()> {
    const CAPTURES: &str = "/run/needs";
    const FILE: &str = "/etc/modprobe.d/00-kmodtrace-surface.conf";
    let recorder = ctx.record(CAPTURES, &[])?;
    ask(ctx, USED)?;
    equal("exit code of the recorder", recorder.stop()?.code, 0)?;

    let missed = ctx.run(&["kmodtrace", "impact", "af_alg", "sctp", CAPTURES])?;
    equal("exit code where somebody would miss it", missed.code, 1)?;
    contains("who would", &missed.stdout, "(alice): asked for net-pf-38, once")?;
    contains("who would not", &missed.stdout, "sctp: no process needed it in 1 host, 1 boot")?;
    equal("exit code where nobody would", ctx.run(&["kmodtrace", "impact", "sctp", CAPTURES])?.code, 0)?;

    let list = ctx.run(&["kmodtrace", "surface", "--json", "--all", CAPTURES])?.ok()?;
    let entries = list.stdout.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
    for (module, needed) in [("af_alg", "asked"), ("sctp", "never")] {
        let entry = entries.iter().find(|entry| entry["module"] == module);
        let entry = entry.ok_or_else(|| anyhow::anyhow!("{module} is not in the list"))?;
        equal(&format!("whether {module} was needed"), text(entry, "/needed"), needed)?;
    }
    contains("how much they know", &list.stderr, "the captures cover 1 host, 1 boot")?;

    let refused = ctx.run(&["kmodtrace", "surface", "--block", "--write", CAPTURES])?;
    equal("exit code with captures of a minute", refused.code, 125)?;
    contains("why", &refused.stderr, "less than a day does not show what is needed; --force goes on")?;
    that("nothing is written without evidence", !std::path::Path::new(FILE).exists())?;
    let shown = ctx.run(&["kmodtrace", "surface", "--block", "--force", CAPTURES])?.ok()?;
    that("nothing is written unasked", !std::path::Path::new(FILE).exists())?;
    let written = ctx.run(&["kmodtrace", "surface", "--block", "--force", "--write", CAPTURES])?.ok()?;
    contains("what is said", &written.stderr, &format!("wrote {FILE}"))?;
    equal("the file", std::fs::read_to_string(FILE)?, shown.stdout)?;

    ctx.unload(&["af_alg"])?;
    let tracer = ctx.watch(&[])?;
    ask(ctx, USED)?;
    ask(ctx, UNUSED)?;
    let capture = tracer.stop()?;
    let used = capture.request_for("net-pf-38")?;
    equal("what was needed", text(capture.result_of(used)?, "/status"), "loaded")?;
    let refused = capture.request_for("net-pf-2-proto-132")?;
    equal("what nobody needed", text(capture.result_of(refused)?, "/status"), "blocklisted")?;
    that("SCTP stays out", !ctx.modules()?.contains_key("sctp"))?;

    // With the lines in place there is nothing more to keep out.
    let again = ctx.run(&["kmodtrace", "surface", "--block", "--force", CAPTURES])?.ok()?;
    equal("the second file", again.stdout.as_str(), "")?;
    contains("what is said", &again.stderr, "there is nothing to keep out")
}

/// Every command of the page works, on a machine that has recorded somebody's look at the firewall.
fn page(ctx: &mut Ctx) -> Result<()> {
    const PAGE: &str = include_str!("../../../docs/prevention.md");
    let recorder = ctx.record("/var/log/kmodtrace", &[])?;
    ctx.run(&["iptables-legacy", "-t", "nat", "-L"])?.ok()?;
    equal("exit code of the recorder", recorder.stop()?.code, 0)?;
    let commands: Vec<&str> = PAGE.lines().filter_map(|line| line.strip_prefix("# kmodtrace ")).collect();
    that("the page has commands", commands.len() >= 7)?;
    for command in commands {
        // The captures are of a minute, on which the page's command refuses to act.
        let force = command.starts_with("surface --block").then_some("--force");
        let argv: Vec<&str> = ["kmodtrace"].into_iter().chain(command.split(' ')).chain(force).collect();
        let output = ctx.run(&argv)?;
        // Somebody would miss connection tracking.
        equal(command, output.code, u8::from(command.starts_with("impact")))?;
        that(&format!("{command} says something"), !(output.stdout.is_empty() && output.stderr.is_empty()))?;
    }
    std::fs::remove_file(file("iptable_nat"))?;
    let listed = ctx.run(&["kmodtrace", "surface", "--json", "--all", "/var/log/kmodtrace"])?.ok()?;
    let is_kept = |line: &str| line.contains("\"module\":\"iptable_nat\"") && !line.contains("\"needed\":\"never\"");
    that("what was needed is no candidate", listed.stdout.lines().any(is_kept))
}
