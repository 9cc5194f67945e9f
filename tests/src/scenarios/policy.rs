//! `run --policy` and `check`: verdicts, exit codes, and the reported requester.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::{Need, Scenario};
use crate::ctx::{Ctx, Output, contains, ensure, equal};
use crate::protocol::KMODTRACE_PATH;

const NEEDS: &[Need] = &[Need::Kmodtrace, Need::Program("ss")];

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "policy-names-the-requester", fresh_boot: true, needs: NEEDS, run: requester },
    Scenario { name: "policy-exit-codes", fresh_boot: false, needs: NEEDS, run: exit_codes },
    Scenario { name: "policy-skips-where-it-cannot-trace", fresh_boot: false, needs: NEEDS, run: skips },
    Scenario { name: "policy-no-silent-pass", fresh_boot: true, needs: NEEDS, run: no_silent_pass },
    Scenario { name: "policy-expectations", fresh_boot: true, needs: NEEDS, run: expectations },
    Scenario { name: "policy-learned-is-satisfied", fresh_boot: true, needs: NEEDS, run: learned },
    Scenario { name: "policy-watch", fresh_boot: true, needs: NEEDS, run: watched },
];

/// An unprivileged user.
const ALICE: u32 = 1000;

/// Writes an executable script.
pub(super) fn script(ctx: &mut Ctx, path: &str, text: &str) -> Result<()> {
    ctx.write_file(Path::new(path), text)?;
    ctx.run(&["chmod", "755", path])?.ok().map(drop)
}

/// Writes a policy.
pub(super) fn policy(ctx: &mut Ctx, path: &str, rules: &str) -> Result<()> {
    ctx.write_file(Path::new(path), &format!("version = 1\n{rules}"))
}

/// Reads a file that a run wrote.
fn read(path: &str) -> Result<String> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
    println!("{path}:\n{text}");
    Ok(text)
}

fn verdict(path: &str) -> Result<Value> {
    serde_json::from_str(&read(path)?).with_context(|| format!("{path} is not JSON"))
}

/// A test that lists sockets makes the kernel load a denied module: every output names the command and the script, and the
/// verdict on the capture is the same.
fn requester(ctx: &mut Ctx) -> Result<()> {
    script(ctx, "/root/net.sh", "#!/bin/bash\ntrue\nss -tlnp\ntrue\n")?;
    policy(
        ctx,
        "/root/diag.toml",
        "[[rule]]\nname='no diag'\naction='deny'\nmodule=['tcp_diag','inet_diag']\nreason='it stays loaded'\n",
    )?;
    let output = ctx.run(&[
        "kmodtrace",
        "run",
        "--policy",
        "/root/diag.toml",
        "--junit",
        "/tmp/v.xml",
        "--ktap",
        "/tmp/v.ktap",
        "--verdict",
        "/tmp/v.json",
        "--github",
        "--json",
        "--output",
        "/tmp/v.jsonl",
        "--",
        "../root/net.sh",
    ])?;
    equal("exit code", output.code, 1)?;
    let blame = "`ss -tlnp` run by ";
    let loaded = "loaded inet_diag, tcp_diag (asked for \"net-pf-16-proto-4-type-2\", \"net-pf-16-proto-4-type-2-6\"";
    let (junit, ktap) = (read("/tmp/v.xml")?, read("/tmp/v.ktap")?);
    for (what, text) in [("summary", &output.stderr), ("annotations", &output.stdout), ("KTAP", &ktap)] {
        for part in [blame, "net.sh", loaded, "it stays loaded"] {
            contains(what, text, part)?;
        }
    }
    // Path and line are known unless the script has already continued. If reported, they are correct.
    let is_right = |by: &str| matches!(by, "../root/net.sh:3" | "../root/net.sh") || by.starts_with("net.sh(");
    let is_correct = ktap.split(blame).skip(1).all(|rest| rest.split(' ').next().is_some_and(is_right));
    ensure("the reported script is correct", is_correct)?;
    contains("annotations", &output.stdout, "::error file=/root/diag.toml,line=2,title=kmodtrace%3A no diag::")?;
    contains("KTAP", &ktap, "\nnot ok 2 no diag\n")?;
    contains("JUnit", &junit, "tests=\"3\" failures=\"1\" errors=\"0\" skipped=\"0\"")?;
    contains("JUnit", &junit, blame)?;
    let live = verdict("/tmp/v.json")?;
    equal("findings", live["rules"][0]["findings"].as_array().map(Vec::len), Some(2))?;

    let check = ctx.run(&["kmodtrace", "check", "--policy", "/root/diag.toml", "--json", "/tmp/v.jsonl"])?;
    equal("exit code of check", check.code, 1)?;
    let later: Value = serde_json::from_str(&check.stdout).context("the verdict is not JSON")?;
    equal("verdict of the capture", &later, &live)?;
    for path in ["/tmp/v.xml", "/tmp/v.ktap", "/tmp/v.json", "/tmp/v.jsonl"] {
        fs::remove_file(path).with_context(|| format!("cannot remove {path}"))?;
    }
    Ok(())
}

pub(super) fn run(ctx: &mut Ctx, arguments: &[&str]) -> Result<Output> {
    ctx.run(&[&["kmodtrace", "run"], arguments].concat())
}

/// Every documented exit code.
fn exit_codes(ctx: &mut Ctx) -> Result<()> {
    policy(ctx, "/root/none.toml", "default_unloaded='allow'\n")?;
    policy(ctx, "/root/asks.toml", "default_unloaded='deny'\n")?;
    policy(ctx, "/root/broken.toml", "\n[[rule]]\naction='allow'\nmodul='x'\n")?;
    let none = ["--policy", "/root/none.toml"];
    let asks = ["--policy", "/root/asks.toml"];
    let mount = "mount -t nosuchfs none /mnt; exit 7";
    for (options, command, code) in [
        (&none[..], &["true"][..], 0),
        (&none, &["sh", "-c", "exit 7"], 0),
        (&none, &["sh", "-c", mount], 0),
        (&["--policy", "/root/none.toml", "--propagate"], &["sh", "-c", "exit 7"], 7),
        (&["--policy", "/root/asks.toml", "--propagate"], &["sh", "-c", mount], 1),
        (&asks, &["sh", "-c", mount], 1),
        (&asks, &["true"], 0),
        (&none, &["sh", "-c", "kill -TERM $$"], 128 + 15),
        (&["--policy", "/root/none.toml", "--timeout", "2s"], &["sleep", "60"], 124),
        (&["--timeout", "2s"], &["sh", "-c", "trap '' TERM; sleep 60 & wait; sleep 60"], 124),
        (&["--timeout", "60s"], &["sh", "-c", "exit 7"], 7),
        (&none, &["no-such-command"], 127),
        (&none, &["/etc/passwd"], 126),
        (&["--policy", "/root/broken.toml"], &["touch", "/root/ran"], 125),
        (&["--policy", "/root/absent.toml"], &["touch", "/root/ran"], 125),
        (&["--junit", "/root/x.xml"], &["touch", "/root/ran"], 125),
        (&["--no-such-option"], &["touch", "/root/ran"], 125),
    ] {
        let output = run(ctx, &[options, &["--"], command].concat())?;
        equal(&format!("exit code of {options:?} {command:?}"), output.code, code)?;
    }
    ensure("errors are reported before a command runs", !Path::new("/root/ran").exists())?;
    let broken = run(ctx, &["--policy", "/root/broken.toml", "--", "true"])?;
    contains("message", &broken.stderr, "/root/broken.toml:5:1: unknown key `modul`")
}

/// Where tracing is not possible, the command is not run, and the outputs report a skip.
fn skips(ctx: &mut Ctx) -> Result<()> {
    policy(ctx, "/tmp/none.toml", "")?;
    ctx.run(&["chmod", "644", "/tmp/none.toml"])?.ok()?;
    let run = [KMODTRACE_PATH, "run", "--policy", "/tmp/none.toml", "--ktap", "-"];
    let output = ctx.run_as(ALICE, &[&run[..], &["--", "echo", "ran"]].concat())?;
    equal("exit code", (output.code, output.stdout.as_str()), (125, ""))?;
    let output = ctx.run_as(ALICE, &[&run[..], &["--skip-if-unsupported", "--", "echo", "ran"]].concat())?;
    equal("exit code with --skip-if-unsupported", output.code, 4)?;
    contains("KTAP", &output.stdout, "KTAP version 1\n1..2\n")?;
    contains("KTAP", &output.stdout, "ok 2 default # SKIP tracing is not possible here: ")?;
    ensure("the command is not run", !output.stdout.lines().any(|line| line == "ran"))?;
    let absent = ctx.run_as(ALICE, &[KMODTRACE_PATH, "run", "--skip-if-unsupported", "--", "echo", "ran"])?;
    equal("exit code without a policy", (absent.code, absent.stdout.as_str()), (4, ""))
}

/// A capture with a lost event, a truncated end or a missed run is an error for any policy.
fn no_silent_pass(ctx: &mut Ctx) -> Result<()> {
    policy(ctx, "/root/all.toml", "default='allow'\n")?;
    run(ctx, &["--json", "--output", "/tmp/whole.jsonl", "--", "ss", "-tln"])?.ok()?;
    let check = |ctx: &mut Ctx, text: &str| {
        ctx.write_file(Path::new("/tmp/part.jsonl"), text)?;
        ctx.run(&["kmodtrace", "check", "--policy", "/root/all.toml", "/tmp/part.jsonl"])
    };
    let whole = read("/tmp/whole.jsonl")?;
    let lines: Vec<&str> = whole.lines().collect();
    ensure("a module was loaded", whole.contains("\"type\":\"load\""))?;
    equal("the complete capture", check(ctx, &whole)?.code, 0)?;
    for at in 0..lines.len() {
        let mut lines = lines.clone();
        lines.remove(at);
        let output = check(ctx, &(lines.join("\n") + "\n"))?;
        equal(&format!("without line {}", at + 1), output.code, 125)?;
        contains("the reason", &output.stderr, "undetermined: ")?;
    }
    let loss = r#""type":"loss","stage":"missed","cause":"request","count":1}"#;
    let lost: Vec<String> = lines
        .iter()
        .map(|line| match line.split_once("\"type\":\"baseline\"") {
            Some((front, _)) => format!("{front}{loss}"),
            None => (*line).to_owned(),
        })
        .collect();
    let output = check(ctx, &(lost.join("\n") + "\n"))?;
    equal("with a missed run", output.code, 125)?;
    contains("the reason", &output.stderr, "1 record was missed: the kernel did not run the probe (request)")?;
    equal("truncated within a line", check(ctx, &whole[..whole.len() - 30])?.code, 125)?;
    fs::remove_file("/tmp/whole.jsonl").context("cannot remove the capture")
}

/// An expectation is met, or its result is built-in, already loaded, missing, or not requested.
fn expectations(ctx: &mut Ctx) -> Result<()> {
    let release = ctx.run(&["uname", "-r"])?.ok()?.stdout.trim().to_owned();
    let built_in =
        fs::read_to_string(format!("/lib/modules/{release}/modules.builtin")).context("no list of built-ins")?;
    let built_in = built_in.lines().next().and_then(|path| path.rsplit('/').next()).context("no code is built in")?;
    let built_in = built_in.trim_end_matches(".ko").replace('-', "_");
    ctx.run(&["modprobe", "dummy"])?.ok()?;
    let expect = |module: &str| format!("[[rule]]\nname='{module}'\naction='expect'\nmodule='{module}'\n");
    let rules = ["inet_diag", &built_in, "dummy"].map(expect).concat();
    policy(ctx, "/root/expect.toml", &format!("default='allow'\n{rules}"))?;
    let options = ["--policy", "/root/expect.toml", "--verdict", "/tmp/v.json", "--ktap", "-"];
    let output = run(ctx, &[&options[..], &["--", "ss", "-tln"]].concat())?;
    equal("exit code", output.code, 0)?;
    let found = verdict("/tmp/v.json")?;
    for (number, state, skip_reason) in
        [(0, "held", None), (1, "skipped", Some("built-in")), (2, "skipped", Some("already-loaded"))]
    {
        let rule = &found["rules"][number];
        equal(&format!("state of {}", rule["name"]), rule["state"].as_str(), Some(state))?;
        equal(&format!("skip_reason of {}", rule["name"]), rule["skip_reason"].as_str(), skip_reason)?;
    }
    contains(
        "KTAP",
        &output.stdout,
        &format!("ok 3 {built_in} # SKIP built-in: {built_in} is built into the kernel\n"),
    )?;

    policy(ctx, "/root/expect2.toml", &format!("default='allow'\n{}{}", expect("no_such_module"), expect("tipc")))?;
    let output = run(ctx, &["--policy", "/root/expect2.toml", "--", "true"])?;
    equal("exit code", output.code, 1)?;
    contains("missing", &output.stderr, "this kernel has no module for no_such_module")?;
    contains("not requested", &output.stderr, "expected, but did not happen: it was not requested")?;
    fs::remove_file("/tmp/v.json").context("cannot remove the verdict")
}

/// A learned policy is satisfied by the same suite, and names what a changed suite does in addition.
fn learned(ctx: &mut Ctx) -> Result<()> {
    script(ctx, "/root/suite.sh", "#!/bin/sh\nss -tln\nmount -t udf none /mnt\nexit 0\n")?;
    run(ctx, &["--json", "--output", "/tmp/suite.jsonl", "--", "/root/suite.sh"])?.ok()?;
    let learned = ctx.run(&["kmodtrace", "policy", "learn", "/tmp/suite.jsonl"])?.ok()?;
    ctx.write_file(Path::new("/root/learned.toml"), &learned.stdout)?;
    contains("learned", &learned.stdout, "exe = \"/usr/bin/ss\"")?;
    let lints = ctx.run(&["kmodtrace", "policy", "check", "/root/learned.toml"])?;
    equal("lints of the policy", (lints.code, lints.stdout.as_str()), (0, ""))?;
    let check = ctx.run(&["kmodtrace", "check", "--policy", "/root/learned.toml", "/tmp/suite.jsonl"])?;
    equal("the suite it was learned from", check.code, 0)?;

    script(ctx, "/root/suite.sh", "#!/bin/sh\nip link add vxlan7 type vxlan id 7 dstport 4789\nip link del vxlan7\n")?;
    let changed = run(ctx, &["--policy", "/root/learned.toml", "--", "/root/suite.sh"])?;
    equal("a changed suite", changed.code, 1)?;
    contains("requester", &changed.stderr, "`ip link add vxlan7 type vxlan id 7 dstport 4789` run by ")?;
    contains("module", &changed.stderr, "vxlan")?;
    fs::remove_file("/tmp/suite.jsonl").context("cannot remove the capture")
}

/// A violation is reported immediately, and the exit code is that of the verdict.
fn watched(ctx: &mut Ctx) -> Result<()> {
    policy(ctx, "/root/watch.toml", "default='allow'\n[[rule]]\naction='deny'\nmodule='unix_diag'\n")?;
    let quiet = ctx.watch(&["--policy", "/root/watch.toml"])?;
    ctx.run(&["ss", "-tln"])?.ok()?;
    equal("exit code without a violation", quiet.stop()?.code, 0)?;
    let tracer = ctx.watch(&["--policy", "/root/watch.toml"])?;
    ctx.run(&["ss", "-xa"])?.ok()?;
    let capture = tracer.stop()?;
    equal("exit code", capture.code, 1)?;
    contains("immediate report", &capture.stderr, "kmodtrace: policy violated: `ss -xa` run by ")?;
    contains("summary", &capture.stderr, "policy /root/watch.toml is violated: 1 module loaded, 1 denied")
}
