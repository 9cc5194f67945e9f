//! `kmodtrace watch` for people: lines, collapsed storms, running requests, filters, and stop conditions.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::{Need, Scenario};
use crate::ctx::{Actor, Capture, Ctx, contains, ensure, equal};

const NEEDS: &[Need] = &[Need::Kmodtrace];

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "watch-outage-in-lines", fresh_boot: true, needs: IPTABLES, run: outage },
    Scenario { name: "watch-storm-is-collapsed", fresh_boot: false, needs: NEEDS, run: storm },
    Scenario { name: "watch-shows-running-requests", fresh_boot: false, needs: NEEDS, run: still_running },
    Scenario { name: "watch-filters", fresh_boot: false, needs: NEEDS, run: filters },
    Scenario { name: "watch-stop-conditions", fresh_boot: false, needs: NEEDS, run: ends },
    Scenario { name: "run-as-another-user", fresh_boot: false, needs: NEEDS, run: another_user },
];

const IPTABLES: &[Need] = &[Need::Kmodtrace, Need::Program("iptables-legacy")];

/// The lines about requests and loads, without the column headings and the line with the time zone.
fn lines(capture: &Capture) -> Vec<&str> {
    capture
        .other
        .iter()
        .map(String::as_str)
        .filter(|line| !line.starts_with("TIME ") && !line.starts_with("# "))
        .collect()
}

/// The lines about ended requests. On a slow machine, there may be lines about running ones too.
fn ended(capture: &Capture) -> Vec<&str> {
    let still_runs = |line: &&str| line.split_whitespace().nth(1) == Some("running");
    lines(capture).into_iter().filter(|line| !still_runs(line)).collect()
}

fn one_with<'a>(capture: &'a Capture, part: &str) -> Result<&'a str> {
    let found: Vec<&str> = ended(capture).into_iter().filter(|line| line.contains(part)).collect();
    equal(&format!("lines with {part:?}"), found.len(), 1)?;
    Ok(found.first().copied().unwrap_or_default())
}

/// Listing the firewall rules: one line shows the requester, the alias and all modules, and another the effect, with the
/// system's current values.
fn outage(ctx: &mut Ctx) -> Result<()> {
    let tracer = ctx.watch_lines(&[])?;
    ctx.run(&["iptables-legacy", "-t", "nat", "-L"])?.ok()?;
    let capture = tracer.stop()?;
    let line = one_with(&capture, "\"iptable_nat\"")?;
    for part in ["loaded", "iptables-legacy(", "root", "s ", "nf_conntrack", "nf_nat", "iptable_nat"] {
        contains("the line", line, part)?;
    }
    let limit = std::fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_max")?;
    let effect = one_with(&capture, "! nf_conntrack: connection tracking")?;
    contains("effect", effect, &format!(" of {} entries are in use", limit.trim()))?;
    // iptables also runs modprobe itself, and is shown as the cause.
    contains("explicit load", one_with(&capture, "-> x_tables ip_tables")?, "iptables-legacy(")?;
    contains("summary", &capture.stderr, "modules loaded by iptables-legacy(")
}

/// A program that repeats a failing request is collapsed into a few lines whose counts add up.
fn storm(ctx: &mut Ctx) -> Result<()> {
    const ASKS: u64 = 40;
    let tracer = ctx.watch_lines(&[])?;
    let script = format!("n=0; while [ $n -lt {ASKS} ]; do mount -t nosuchfs none /mnt; n=$((n+1)); done");
    let began = Instant::now();
    ctx.run(&["sh", "-c", &script])?;
    // Below a few requests per second, each gets a line: on a slow machine this is not a storm.
    let is_storm = began.elapsed() < Duration::from_secs(ASKS / 3);
    let capture = tracer.stop()?;
    let lines = ended(&capture);
    ensure("the storm is collapsed", !is_storm || lines.len() < usize::try_from(ASKS)? / 2)?;
    let count = |line: &&str| match line.split_whitespace().nth(2).and_then(|word| word.strip_prefix('x')) {
        Some(count) => count.parse::<u64>().unwrap_or(0),
        None => 1,
    };
    equal("requests shown", lines.iter().map(count).sum::<u64>(), ASKS)?;
    contains("summary", &capture.stderr, &format!("{ASKS} requests ({ASKS} not-found)"))
}

/// A long request is shown while it runs, and again when it ends.
fn still_running(ctx: &mut Ctx) -> Result<()> {
    ctx.modprobe_conf("slow", "install slowmod sleep 3\nalias fs-slowfs slowmod\n")?;
    let tracer = ctx.watch_lines(&[])?;
    ctx.act(Actor::mount("slowfs").named("waiter"))?;
    let capture = tracer.stop()?;
    let states: Vec<&str> = lines(&capture)
        .into_iter()
        .filter(|line| line.contains("waiter("))
        .filter_map(|line| line.split_whitespace().nth(1))
        .collect();
    equal("states in order", states, ["running", "blocklisted"].to_vec())
}

/// Only matching requests are shown, in lines and as events without gaps. An invalid pattern is an error.
fn filters(ctx: &mut Ctx) -> Result<()> {
    let both = |ctx: &mut Ctx| -> Result<()> {
        ctx.act(Actor::mount("wantedfs").named("wanted"))?;
        ctx.act(Actor::mount("otherfs").named("other"))?;
        Ok(())
    };
    for filter in [&["--comm", "wanted"][..], &["--alias", "fs-want*"], &["--comm", "!other", "--result", "not-found"]]
    {
        let tracer = ctx.watch_lines(filter)?;
        both(ctx)?;
        let capture = tracer.stop()?;
        equal(&format!("lines with {filter:?}"), ended(&capture).len(), 1)?;
        contains("the line", ended(&capture)[0], "\"fs-wantedfs\"")?;
    }
    let tracer = ctx.watch(&["--comm", "wanted"])?;
    both(ctx)?;
    let capture = tracer.stop()?;
    capture.expect_complete()?;
    capture.request_for("fs-wantedfs")?;
    equal("others", capture.requests_for("fs-otherfs").len(), 0)?;
    let bad = ctx.run(&["kmodtrace", "watch", "--result", "sucess"])?;
    equal("exit code of an invalid filter", bad.code, 125)?;
    contains("message", &bad.stderr, "already-loaded")
}

/// `watch` ends at the first match, after a count, or after a duration. Only a missing match is not a success.
fn ends(ctx: &mut Ctx) -> Result<()> {
    let tracer = ctx.watch_lines(&["--exit-on", "alias=fs-awaited,comm=waiter"])?;
    ctx.act(Actor::mount("awaited").named("other"))?;
    ctx.act(Actor::mount("awaited").named("waiter"))?;
    let capture = tracer.wait()?;
    equal("exit code after a match", capture.code, 0)?;
    equal("requests shown", ended(&capture).len(), 2)?;

    let tracer = ctx.watch_lines(&["--count", "2"])?;
    for fs in ["one", "two", "three"] {
        ctx.act(Actor::mount(fs))?;
    }
    let capture = tracer.wait()?;
    equal("exit code after a count", capture.code, 0)?;
    equal("requests shown", ended(&capture).len(), 2)?;

    equal("exit code after a duration", ctx.watch_lines(&["--duration", "2s"])?.wait()?.code, 0)?;
    let no_match = ctx.watch_lines(&["--duration", "2s", "--exit-on", "module=never"])?.wait()?;
    equal("exit code without a match", no_match.code, 124)
}

/// With --user, the command runs as this user without privileges, and its requests are traced.
fn another_user(ctx: &mut Ctx) -> Result<()> {
    let script = "id -u; echo $HOME; grep CapEff /proc/self/status; mount -t x /a /b 2>/dev/null; echo end";
    let output = ctx.run(&["kmodtrace", "run", "--user", "alice", "--", "sh", "-c", script])?.ok()?;
    let wanted = "1000\n/home/alice\nCapEff:\t0000000000000000\nend\n";
    equal("output of the command", output.stdout.as_str(), wanted)?;
    let traced = ctx.trace_run(&["--user", "alice"], &["python3", "-c", "import socket; socket.socket(38, 5)"])?;
    ensure("a request by alice was seen", traced.of_type("request").all(|request| request["process"]["uid"] == 1000))?;
    let unknown = ctx.run(&["kmodtrace", "run", "--user", "mallory", "--", "true"])?;
    equal("exit code for an unknown user", unknown.code, 125)?;
    contains("message", &unknown.stderr, "mallory")
}
