//! `kmodtrace block`, `surface` and `impact`: blocked modules are not loaded, the list of loadable modules is correct, and the
//! users of a module are named.

use anyhow::Result;
use serde_json::Value;

use super::oracle_check::text;
use super::{Need, Scenario};
use crate::ctx::{Actor, Ctx, contains, ensure, equal};
use crate::protocol::KMODTRACE_PATH;

const NEEDS: &[Need] = &[Need::Kmodtrace];
const IPTABLES: &[Need] = &[Need::Kmodtrace, Need::Program("iptables-legacy")];

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "block-prevents-the-outage", fresh_boot: true, needs: IPTABLES, run: outage },
    Scenario { name: "block-works-with-softdeps", fresh_boot: true, needs: NEEDS, run: softdeps },
    Scenario { name: "block-reports-impossible-names", fresh_boot: false, needs: NEEDS, run: impossible_names },
    Scenario { name: "surface-predicts-loads", fresh_boot: true, needs: NEEDS, run: surface },
    Scenario { name: "surface-blocks-unused-modules", fresh_boot: true, needs: NEEDS, run: blocks_unused },
    Scenario { name: "prevention-page-commands-work", fresh_boot: true, needs: IPTABLES, run: page },
];

/// An unprivileged user.
const ALICE: u32 = 1000;

/// The file that --write creates for a module.
fn file(name: &str) -> String {
    format!("/etc/modprobe.d/00-kmodtrace-block-{name}.conf")
}

/// Installs the rules, and removes them after `check`.
fn blocked(ctx: &mut Ctx, name: &str, check: impl FnOnce(&mut Ctx) -> Result<()>) -> Result<()> {
    let written = ctx.run(&["kmodtrace", "block", "--write", name])?.ok()?;
    contains("message", &written.stderr, &format!("wrote {}", file(name)))?;
    let checked = check(ctx);
    std::fs::remove_file(file(name))?;
    checked
}

/// With iptable_nat blocked, listing the firewall rules loads no connection tracking.
fn outage(ctx: &mut Ctx) -> Result<()> {
    blocked(ctx, "iptable_nat", |ctx| {
        let tracer = ctx.watch(&[])?;
        let refused = ctx.run(&["iptables-legacy", "-t", "nat", "-L"])?;
        ensure("the table is not available", refused.code != 0)?;
        let capture = tracer.stop()?;
        let request = capture.request_for("iptable_nat")?;
        equal("result", text(capture.result_of(request)?, "/status"), "blocklisted")?;
        equal("modules loaded for it", capture.modules_of(request).len(), 0)?;
        ensure("no connection tracking", !ctx.modules()?.contains_key("nf_conntrack"))?;
        let again = ctx.run(&["kmodtrace", "block", "--write", "iptable_nat"])?.ok()?;
        contains("what is said the second time", &again.stderr, "already up to date")
    })?;
    ctx.run(&["iptables-legacy", "-t", "nat", "-L"])?.ok()?;
    ensure("it is loaded without the rules", ctx.modules()?.contains_key("nf_conntrack"))
}

/// btrfs may have soft dependencies, with which modprobe ignores a plain `install btrfs /bin/false`. The rules of `block` work
/// nevertheless, for requests and for an explicit modprobe.
fn softdeps(ctx: &mut Ctx) -> Result<()> {
    blocked(ctx, "btrfs", |ctx| {
        ctx.act(Actor::mount("btrfs"))?;
        ctx.run(&["modprobe", "btrfs"])?;
        ensure("btrfs is not loaded", !ctx.modules()?.contains_key("btrfs"))
    })?;
    ctx.modprobe_conf("common", "install btrfs /bin/false\n")?;
    ctx.act(Actor::mount("btrfs"))?;
    // On some kernels, btrfs has none.
    let softdeps = std::fs::read_to_string(format!("/lib/modules/{}/modules.softdep", release(ctx)?))?;
    let has_some = softdeps.lines().any(|line| line.starts_with("softdep btrfs "));
    equal("the common rule does not block it", ctx.modules()?.contains_key("btrfs"), has_some)
}

fn release(ctx: &mut Ctx) -> Result<String> {
    Ok(ctx.run(&["uname", "-r"])?.ok()?.stdout.trim().to_owned())
}

/// Built-in code, unknown names and patterns: each is reported, no rule is printed for it, and the exit code is 1.
fn impossible_names(ctx: &mut Ctx) -> Result<()> {
    // Built-in code differs between kernels.
    let list = std::fs::read_to_string(format!("/lib/modules/{}/modules.builtin", release(ctx)?))?;
    let file = list.lines().next().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
    let built_in = file.trim_end_matches(".ko").replace('-', "_");
    let output = ctx.run(&["kmodtrace", "block", &built_in, "nosuchmodule", "x*"])?;
    equal("exit code", output.code, 1)?;
    equal("lines", output.stdout.as_str(), "")?;
    contains("built in", &output.stderr, &format!("{built_in} is built into this kernel"))?;
    contains("the alternative", &output.stderr, "initcall_blacklist=")?;
    contains("unknown", &output.stderr, "nosuchmodule: no module of this kernel")?;
    contains("a pattern", &output.stderr, "expected the name of a module")
}

/// The modules that the list shows to an unprivileged user are those that a request of this user loads.
fn surface(ctx: &mut Ctx) -> Result<()> {
    let output = ctx.run_as(ALICE, &[KMODTRACE_PATH, "surface", "--json"])?.ok()?;
    let entries = output.stdout.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
    ensure("the list is not empty", entries.len() > 50)?;
    let sctp = entries.iter().find(|entry| entry["module"] == "sctp");
    let sctp = sctp.ok_or_else(|| anyhow::anyhow!("sctp is not in the list"))?;
    equal("access", text(sctp, "/access"), "anyone")?;
    let predicted: Vec<&str> = sctp["modules"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();

    let tracer = ctx.watch(&[])?;
    ctx.act(Actor::socket(2, 1, 132).as_user(ALICE))?;
    let capture = tracer.stop()?;
    equal("modules", capture.modules(), predicted)?;
    let after = ctx.run(&["kmodtrace", "surface", "--json"])?.ok()?;
    ensure("a loaded module is not listed any more", !after.stdout.contains("\"module\":\"sctp\""))
}

/// Crypto sockets are used while a recorder runs, SCTP is not.
const USED: (u16, u32, u32) = (38, 5, 0);
const UNUSED: (u16, u32, u32) = (2, 1, 132);

fn ask(ctx: &mut Ctx, (family, kind, protocol): (u16, u32, u32)) -> Result<()> {
    ctx.act(Actor::socket(family, kind, protocol).named("sensor").as_user(ALICE)).map(drop)
}

/// One file blocks all modules that were unused in the captures; used modules still work.
fn blocks_unused(ctx: &mut Ctx) -> Result<()> {
    const CAPTURES: &str = "/run/needs";
    const FILE: &str = "/etc/modprobe.d/00-kmodtrace-surface.conf";
    let recorder = ctx.record(CAPTURES, &[])?;
    ask(ctx, USED)?;
    equal("exit code of the recorder", recorder.stop()?.code, 0)?;

    let missed = ctx.run(&["kmodtrace", "impact", "af_alg", "sctp", CAPTURES])?;
    equal("exit code for a used module", missed.code, 1)?;
    contains("user of af_alg", &missed.stdout, "(alice): asked for net-pf-38, once")?;
    contains("users of sctp", &missed.stdout, "sctp: no process needed it in 1 host, 1 boot")?;
    equal("exit code for an unused module", ctx.run(&["kmodtrace", "impact", "sctp", CAPTURES])?.code, 0)?;

    let list = ctx.run(&["kmodtrace", "surface", "--json", "--all", CAPTURES])?.ok()?;
    let entries = list.stdout.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
    for (module, needed) in [("af_alg", "asked"), ("sctp", "never")] {
        let entry = entries.iter().find(|entry| entry["module"] == module);
        let entry = entry.ok_or_else(|| anyhow::anyhow!("{module} is not in the list"))?;
        equal(&format!("use of {module}"), text(entry, "/needed"), needed)?;
    }
    contains("coverage", &list.stderr, "the captures cover 1 host, 1 boot")?;

    let refused = ctx.run(&["kmodtrace", "surface", "--block", "--write", CAPTURES])?;
    equal("exit code with captures of a minute", refused.code, 125)?;
    contains("reason", &refused.stderr, "less than a day; --force overrides")?;
    ensure("nothing is written without evidence", !std::path::Path::new(FILE).exists())?;
    let shown = ctx.run(&["kmodtrace", "surface", "--block", "--force", CAPTURES])?.ok()?;
    ensure("nothing is written without --write", !std::path::Path::new(FILE).exists())?;
    let written = ctx.run(&["kmodtrace", "surface", "--block", "--force", "--write", CAPTURES])?.ok()?;
    contains("message", &written.stderr, &format!("wrote {FILE}"))?;
    equal("the file", std::fs::read_to_string(FILE)?, shown.stdout)?;

    ctx.unload(&["af_alg"])?;
    let tracer = ctx.watch(&[])?;
    ask(ctx, USED)?;
    ask(ctx, UNUSED)?;
    let capture = tracer.stop()?;
    let used = capture.request_for("net-pf-38")?;
    equal("outcome for the used module", text(capture.result_of(used)?, "/status"), "loaded")?;
    let refused = capture.request_for("net-pf-2-proto-132")?;
    equal("outcome for the unused module", text(capture.result_of(refused)?, "/status"), "blocklisted")?;
    ensure("SCTP is not loaded", !ctx.modules()?.contains_key("sctp"))?;

    // With the rules installed, nothing is left to block.
    let again = ctx.run(&["kmodtrace", "surface", "--block", "--force", CAPTURES])?.ok()?;
    equal("the second file", again.stdout.as_str(), "")?;
    contains("message", &again.stderr, "nothing to block")
}

/// Every command of docs/prevention.md works on a machine that has recorded a listing of the firewall rules.
fn page(ctx: &mut Ctx) -> Result<()> {
    const PAGE: &str = include_str!("../../../docs/prevention.md");
    let recorder = ctx.record("/var/log/kmodtrace", &[])?;
    ctx.run(&["iptables-legacy", "-t", "nat", "-L"])?.ok()?;
    equal("exit code of the recorder", recorder.stop()?.code, 0)?;
    let commands: Vec<&str> = PAGE.lines().filter_map(|line| line.strip_prefix("# kmodtrace ")).collect();
    ensure("the page has commands", commands.len() >= 7)?;
    for command in commands {
        // The captures cover only a minute, which the command of the page rejects without --force.
        let force = command.starts_with("surface --block").then_some("--force");
        let argv: Vec<&str> = ["kmodtrace"].into_iter().chain(command.split(' ')).chain(force).collect();
        let output = ctx.run(&argv)?;
        // impact finds a user of connection tracking.
        equal(command, output.code, u8::from(command.starts_with("impact")))?;
        ensure(&format!("{command} prints something"), !(output.stdout.is_empty() && output.stderr.is_empty()))?;
    }
    std::fs::remove_file(file("iptable_nat"))?;
    let listed = ctx.run(&["kmodtrace", "surface", "--json", "--all", "/var/log/kmodtrace"])?.ok()?;
    let is_kept = |line: &str| line.contains("\"module\":\"iptable_nat\"") && !line.contains("\"needed\":\"never\"");
    ensure("a used module is not listed as unused", listed.stdout.lines().any(is_kept))
}
