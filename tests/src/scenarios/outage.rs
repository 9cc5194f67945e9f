//! The incident: `iptables -t nat -L` on a system without netfilter modules. The requester is iptables, never modprobe.

use std::collections::BTreeSet;

use anyhow::{Result, bail};
use serde_json::Value;

use super::oracle_check::{expect_status, number, text, with_oracle};
use super::{Need, Scenario};
use crate::ctx::{Capture, Ctx, ensure, equal, same_set};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "outage-iptables-legacy",
        fresh_boot: true,
        needs: &[Need::Kmodtrace, Need::Program("iptables-legacy")],
        run: |ctx| legacy(ctx, &[]),
    },
    Scenario {
        name: "outage-iptables-legacy-by-kprobes",
        fresh_boot: true,
        needs: &[Need::Kmodtrace, Need::Program("iptables-legacy")],
        run: |ctx| legacy(ctx, &["--attach", "kprobe"]),
    },
    Scenario {
        name: "outage-iptables-legacy-by-trampolines",
        fresh_boot: true,
        needs: &[Need::Kmodtrace, Need::Program("iptables-legacy")],
        run: |ctx| legacy(ctx, &["--attach", "trampoline"]),
    },
    Scenario {
        name: "outage-iptables-nft",
        fresh_boot: true,
        needs: &[Need::Kmodtrace, Need::Program("iptables-nft")],
        run: nft,
    },
    Scenario {
        name: "user-stack-has-names",
        fresh_boot: true,
        needs: &[Need::Kmodtrace, Need::Program("iptables-legacy")],
        run: user_stack,
    },
    Scenario {
        name: "run-shows-only-the-command",
        fresh_boot: true,
        needs: &[Need::Kmodtrace, Need::Program("iptables-legacy")],
        run: run_shows_only_the_command,
    },
];

/// The kernel requests the table; iptables loads the other modules explicitly, through modprobe.
fn legacy(ctx: &mut Ctx, arguments: &[&str]) -> Result<()> {
    let capture = incident(ctx, "iptables-legacy", arguments)?;
    let request = capture.request_for("iptable_nat")?;
    expect_requester(request, "iptables-legacy", "/usr/sbin/xtables-legacy-multi")?;
    equal("waits", &request["wait"], &Value::Bool(true))?;
    equal("system call", text(request, "/syscall"), "getsockopt")?;
    let first = &request["stack"][0];
    let caller = (text(first, "/symbol"), text(first, "/module"));
    equal("caller", caller, ("xt_request_find_table_lock".to_owned(), "x_tables".to_owned()))?;

    let modules = capture.modules_of(request);
    ensure(&format!("nf_conntrack is among {modules:?}"), modules.iter().any(|module| module == "nf_conntrack"))?;
    equal("last module", modules.last().map(String::as_str), Some("iptable_nat"))?;
    expect_helper(&capture, request, "iptable_nat")?;

    let result = capture.result_of(request)?;
    expect_status(result, "loaded", "exact")?;
    let blocked_ns = number(result, "/duration_ns").unwrap_or(0);
    let inits_ns: u64 = inits_of(&capture, request).iter().filter_map(|init| number(init, "/duration_ns")).sum();
    ensure(&format!("blocked for {blocked_ns} ns, at least the inits' {inits_ns} ns"), blocked_ns >= inits_ns)?;

    // libxtables runs modprobe itself: there is no request, and all parents are reported.
    let explicit: Vec<&Value> = capture.of_type("load").filter(|load| load["request"].is_null()).collect();
    ensure("libxtables loaded modules explicitly", !explicit.is_empty())?;
    for load in explicit {
        equal("origin", text(load, "/origin"), "explicit")?;
        equal("loader", text(load, "/process/comm"), "modprobe")?;
        equal("parent of the loader", text(load, "/ancestors/0/comm"), "iptables-legacy")?;
        equal("its pid", &load["ancestors"][0]["pid"], &request["process"]["pid"])?;
    }
    Ok(())
}

/// For nftables, the kernel requests every module, through netlink.
fn nft(ctx: &mut Ctx) -> Result<()> {
    let capture = incident(ctx, "iptables-nft", &[])?;
    let requests: Vec<&Value> = capture.of_type("request").collect();
    ensure("there are requests", !requests.is_empty())?;
    for request in &requests {
        if request["parent_request"].is_null() {
            expect_requester(request, "iptables-nft", "/usr/sbin/xtables-nft-multi")?;
        }
    }
    // Newer kernels have nfnetlink built in, so this is their first request.
    let tables = capture.request_for("nfnetlink-subsys-10")?;
    equal("last module", capture.modules_of(tables).last().map(String::as_str), Some("nf_tables"))?;
    expect_helper(&capture, tables, "nfnetlink-subsys-10")
}

/// Runs the incident while a tracer of the whole machine and the oracle observe it.
fn incident(ctx: &mut Ctx, program: &str, arguments: &[&str]) -> Result<Capture> {
    let before = ctx.modules()?;
    ensure(
        "no netfilter module is loaded before",
        !before.keys().any(|name| name.contains("nf_") || name.contains("table")),
    )?;
    let oracle = ctx.oracle()?;
    let tracer = ctx.watch(arguments)?;
    ctx.run(&[program, "-t", "nat", "-L"])?.ok()?;
    let capture = tracer.stop()?;
    equal("exit code", capture.code, 0)?;
    with_oracle(&capture, &ctx.oracle_events(&oracle)?)?;

    let arrived: BTreeSet<String> = ctx.modules()?.into_keys().filter(|name| !before.contains_key(name)).collect();
    same_set("modules in /proc/modules that were not there before", arrived, capture.modules())?;
    let baseline: BTreeSet<String> = match capture.of_type("baseline").next() {
        Some(event) => serde_json::from_value(event["modules"].clone())?,
        None => bail!("no baseline"),
    };
    same_set("baseline", baseline, before.into_keys())?;
    Ok(capture)
}

/// Checks the requester of a request in every field.
fn expect_requester(request: &Value, program: &str, exe: &str) -> Result<()> {
    equal("comm", text(request, "/process/comm"), program)?;
    equal("exe", text(request, "/process/exe"), exe)?;
    equal("argv", &request["process"]["argv"], &serde_json::json!([program, "-t", "nat", "-L"]))?;
    equal("uid", number(request, "/process/uid"), Some(0))?;
    equal("user", text(request, "/process/user"), "root")?;
    equal("attribution", text(request, "/attribution"), "exact")?;
    ensure("the list of ancestors is complete", request["ancestors_truncated"].is_null())?;
    let top = request["ancestors"].as_array().and_then(|ancestors| ancestors.last());
    equal("top of the ancestors", top.and_then(|top| number(top, "/pid")), Some(1))
}

/// Checks that the helper of a request is reported, and made all of its loads.
fn expect_helper(capture: &Capture, request: &Value, alias: &str) -> Result<()> {
    let [helper] = capture.belonging_to(request, "helper")[..] else { bail!("expected one helper for {request}") };
    equal("helper", &helper["argv"], &serde_json::json!(["/sbin/modprobe", "-q", "--", alias]))?;
    for load in capture.belonging_to(request, "load") {
        equal("origin", text(load, "/origin"), "request")?;
        equal("loader", &load["process"]["pid"], &helper["pid"])?;
        equal("start of the loader", &load["process"]["start_ns"], &helper["start_ns"])?;
        ensure(&format!("the file of {load} is a module"), text(load, "/file").contains(".ko"))?;
    }
    let inits = inits_of(capture, request);
    equal("inits", inits.len(), capture.modules_of(request).len())?;
    for init in inits {
        equal("return value of init", init["ret"].as_i64(), Some(0))?;
    }
    Ok(())
}

fn inits_of<'a>(capture: &'a Capture, request: &Value) -> Vec<&'a Value> {
    capture.belonging_to(request, "init")
}

/// With --user-symbols, the innermost user frame is the C library's system call wrapper.
fn user_stack(ctx: &mut Ctx) -> Result<()> {
    let capture = ctx.trace_run(&["--user-symbols"], &["iptables-legacy", "-t", "nat", "-L"])?;
    let request = capture.request_for("iptable_nat")?;
    let first = &request["user_stack"][0];
    equal("innermost user frame", text(first, "/symbol"), "getsockopt")?;
    ensure(&format!("{first} lies in the C library"), text(first, "/module").starts_with("libc"))
}

/// `run` reports only the command, keeps its output and exit code, and prints a summary.
fn run_shows_only_the_command(ctx: &mut Ctx) -> Result<()> {
    let oracle = ctx.oracle()?;
    // An unrelated process makes requests meanwhile.
    let background = "for n in 1 2 3 4 5 6 7 8 9 10; do mount -t absent none /mnt; sleep 1; done >/dev/null 2>&1 &";
    ctx.run(&["/bin/sh", "-c", background])?.ok()?;
    let script = "iptables-legacy -t nat -L >/dev/null && sleep 2 && echo done && exit 7";
    let capture = ctx.trace_run(&[], &["/bin/sh", "-c", script])?;
    equal("exit code", capture.code, 7)?;
    equal("the command's output", capture.other.as_slice(), &["done".to_owned()][..])?;
    capture.expect_complete()?;
    let request = capture.request_for("iptable_nat")?;
    equal("comm", text(request, "/process/comm"), "iptables-legacy")?;
    let others = ctx.oracle_events(&oracle)?;
    let end_us = number(capture.result_of(request)?, "/boot_ns").unwrap_or(0) / 1000;
    let meanwhile = |event: &crate::oracle::Event| {
        event.boot_us > end_us
            && matches!(&event.kind, crate::oracle::EventKind::Request { name, .. } if name == "fs-absent")
    };
    ensure("the unrelated process made requests", others.iter().any(meanwhile))?;
    ensure("the unrelated process is not shown", capture.requests_for("fs-absent").is_empty())?;
    ensure("the summary says that nothing was lost", capture.stderr.contains("nothing was lost"))
}
