//! `kmodtrace doctor`: its findings are correct.

use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::oracle_check::text;
use super::{Need, Scenario};
use crate::ctx::{Ctx, contains, ensure, equal};
use crate::protocol::KMODTRACE_PATH;

const NEEDS: &[Need] = &[Need::Kmodtrace];

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "doctor-attaches-every-hook", fresh_boot: false, needs: NEEDS, run: attaches_every_hook },
    Scenario { name: "doctor-without-privileges", fresh_boot: false, needs: NEEDS, run: without_privileges },
    Scenario { name: "doctor-finds-settings-that-change-results", fresh_boot: false, needs: NEEDS, run: finds_changes },
];

fn doctor(ctx: &mut Ctx, uid: u32, code: u8) -> Result<Value> {
    let output = ctx.run_as(uid, &[KMODTRACE_PATH, "doctor", "--json"])?;
    equal("exit code", output.code, code)?;
    serde_json::from_str(&output.stdout).with_context(|| format!("not JSON: {}", output.stdout))
}

fn finding<'a>(report: &'a Value, check: &str) -> Result<&'a Value> {
    let mut findings = report["findings"].as_array().into_iter().flatten();
    findings.find(|finding| finding["check"] == check).with_context(|| format!("no finding {check}"))
}

/// As root, it reports the attach method of each hook, and a trace right after uses the same ones.
fn attaches_every_hook(ctx: &mut Ctx) -> Result<()> {
    let human = ctx.run(&[KMODTRACE_PATH, "doctor"])?.ok()?.stdout;
    contains("human-readable result", &human, "can trace")?;
    let report = doctor(ctx, 0, 0)?;
    ensure("tracing works", text(&report, "/tracing") != "no")?;
    equal("hooks", text(&report, "/hooks/state"), "tried")?;
    equal("kernel", text(finding(&report, "btf")?, "/level"), "ok")?;
    let tried: Vec<(String, Value)> = report["hooks"]["hooks"]
        .as_array()
        .context("no hooks")?
        .iter()
        .map(|hook| (text(hook, "/hook"), hook["attached"].clone()))
        .collect();
    ensure("all required hooks are attached", tried.iter().any(|(hook, how)| hook == "request" && how.is_string()))?;

    let capture = ctx.watch(&[])?.stop()?;
    let header = capture.of_type("header").next().context("no header")?;
    let attached = header["hooks"].as_array().context("no hooks in the header")?;
    let attached: Vec<(String, Value)> =
        attached.iter().map(|hook| (text(hook, "/hook"), hook["attached"].clone())).collect();
    // The hook for uevents is not a BPF program, and has a finding of its own.
    let (heard, attached): (Vec<_>, Vec<_>) = attached.into_iter().partition(|(hook, _)| hook == "uevents");
    equal("hooks of a trace", attached, tried)?;
    equal("hook for uevents", heard, vec![("uevents".to_owned(), Value::from("netlink"))])?;
    equal("level of the finding for uevents", text(finding(&report, "uevents")?, "/level"), "ok")
}

/// Without privileges, it reports what it can check, and why it cannot check the rest.
fn without_privileges(ctx: &mut Ctx) -> Result<()> {
    let report = doctor(ctx, 1000, 1)?;
    equal("tracing", text(&report, "/tracing"), "no")?;
    equal("hooks", text(&report, "/hooks/state"), "not-tried")?;
    contains("why", &text(&report, "/hooks/why"), "sudo")?;
    equal("capabilities", text(finding(&report, "capabilities")?, "/level"), "problem")?;
    equal("level of kernel.modprobe", text(finding(&report, "kernel.modprobe")?, "/level"), "ok")
}

/// It finds settings and files that hide or change results, each with its cost and its fix.
fn finds_changes(ctx: &mut Ctx) -> Result<()> {
    let before = doctor(ctx, 0, 0)?;
    equal("audit before", text(finding(&before, "audit-rules")?, "/level"), "ok")?;
    ctx.modprobe_conf("doctor", "install can /bin/false\nblacklist sctp\n")?;
    std::fs::create_dir_all("/etc/audit/rules.d").context("cannot create /etc/audit/rules.d")?;
    let rule = "-a always,exit -F arch=b64 -S init_module,finit_module -F auid!=unset -k modules\n";
    ctx.write_file(Path::new("/etc/audit/rules.d/stig.rules"), rule)?;
    let setting = Path::new("/proc/sys/kernel/modprobe");
    let usual = std::fs::read_to_string(setting).context("cannot read kernel.modprobe")?;
    std::fs::write(setting, "/nowhere/modprobe\n").context("cannot set kernel.modprobe")?;
    let after = doctor(ctx, 0, 0);
    std::fs::write(setting, usual).context("cannot restore kernel.modprobe")?;
    let after = after?;
    for (check, level, part) in [
        ("modprobe.d", "note", "install can /bin/false"),
        ("audit-rules", "note", "auid!=unset"),
        ("kernel.modprobe", "problem", "/nowhere/modprobe"),
    ] {
        let finding = finding(&after, check)?;
        equal(check, text(finding, "/level"), level)?;
        contains(check, &text(finding, "/found"), part)?;
        ensure("cost and fix are given", !text(finding, "/fix").is_empty() && !text(finding, "/costs").is_empty())?;
    }
    Ok(())
}
