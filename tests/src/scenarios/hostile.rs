//! Names that an attacker chooses: they are reported exactly, and cannot imitate other output.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::oracle_check::{expect_status, number, text};
use super::{Need, Scenario};
use crate::ctx::{Actor, Capture, Ctx, contains, ensure, equal};

const NEEDS: &[Need] = &[Need::Kmodtrace];

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "hostile-names", fresh_boot: false, needs: NEEDS, run: names },
    Scenario { name: "hostile-command", fresh_boot: false, needs: NEEDS, run: command },
    Scenario { name: "outcome-name-too-long", fresh_boot: false, needs: NEEDS, run: too_long },
];

/// An unprivileged user.
const NOBODY: u32 = 65534;

/// A task name that would clear the screen and start a new line.
const COMM: &str = "e\u{1b}[2J\nroot";

/// A file system type that would do the same.
const OTHER: &str = "\u{1b}[31m\nroot\u{9b}";

/// Names that imitate output lines, control sequences, and bytes that are not UTF-8.
const NAMES: [&[u8]; 4] =
    [b"x\nLOAD fake_module", b"\x1b[2J\x1b]0;owned\x07\r", b"\xff\xfe\x80\xc3(", b"a\xe2\x80\xaeb\xc2\x9b2J\"},{"];

fn names(ctx: &mut Ctx) -> Result<()> {
    let tracer = ctx.watch(&[])?;
    let tree = ctx.watch_tree(&["--stacks"])?;
    for name in NAMES {
        ctx.act(Actor::alg("hash", name).named(COMM).as_user(NOBODY))?;
    }
    let tree = tree.stop()?;
    let capture = tracer.stop()?;
    capture.expect_complete()?;

    for name in NAMES {
        let asked: Vec<u8> = [b"crypto-", name].concat();
        let request = request_of(&capture, &asked)?;
        equal("comm", text(request, "/process/comm"), COMM)?;
        equal("uid", number(request, "/process/uid"), Some(u64::from(NOBODY)))?;
        let result = capture.result_of(request)?;
        expect_status(result, "not-found", "inferred")?;
        let helper = capture.belonging_to(request, "helper").into_iter().next().context("no helper")?;
        equal("argument of modprobe", last_argument(helper)?, asked)?;
    }
    ensure("no load is forged", !capture.modules().iter().any(|module| module == "fake_module"))?;
    ensure("every line is an event", capture.other.is_empty())?;

    let shown = [("tree", tree.other.join("\n")), ("summary", tree.stderr), ("messages", capture.stderr)];
    for (what, shown) in shown.into_iter().chain([("events", capture.text)]) {
        expect_escaped(what, &shown)?;
    }
    Ok(())
}

/// A command with a hostile name and hostile arguments under `run`.
fn command(ctx: &mut Ctx) -> Result<()> {
    let program = format!("/run/{COMM}");
    let argument = "-x \u{1b}]0;owned\u{7}\n\u{9b}2J";
    ctx.write_file(Path::new(&program), &format!("#!/bin/sh\nmount -t '{OTHER}' none /mnt\nexit 3\n"))?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).context("cannot make the program executable")?;
    let capture = ctx.trace_run(&[], &[&program, argument])?;
    capture.expect_complete()?;
    equal("exit code", capture.code, 3)?;
    let request = capture.request_for(&format!("fs-{OTHER}"))?;
    let parent = &request["ancestors"][0];
    equal("comm of the parent", text(parent, "/comm"), COMM)?;
    expect_escaped("events", &capture.text)?;
    expect_escaped("messages", &capture.stderr)?;
    let shown = ctx.run(&["kmodtrace", "run", "--stacks", "--", &program, argument])?;
    equal("exit code", shown.code, 3)?;
    contains("tree", &shown.stderr, "asked")?;
    let own = shown.stderr.lines().filter(|line| !line.starts_with("mount: "));
    expect_escaped("tree", &own.collect::<Vec<_>>().join("\n"))
}

/// Checks that the output has no control characters and no forged lines.
fn expect_escaped(what: &str, shown: &str) -> Result<()> {
    // U+202E reverses the text direction, U+009B starts a control sequence.
    let hostile = |character: char| (character.is_control() && character != '\n') || character == '\u{202e}';
    ensure(&format!("no control character in the {what}: {shown:?}"), !shown.contains(hostile))?;
    ensure(&format!("no forged line in the {what}"), !shown.lines().any(|line| line.trim().starts_with("LOAD")))?;
    ensure(&format!("no second process in the {what}"), !shown.lines().any(|line| line.starts_with("root")))
}

/// The bytes of a field, which may have a `_hex` sibling.
fn bytes_of(value: &Value, hex: &Value) -> Option<Vec<u8>> {
    let Some(hex) = hex.as_str() else { return value.as_str().map(|text| text.as_bytes().to_vec()) };
    (0..hex.len() / 2).map(|at| u8::from_str_radix(hex.get(2 * at..2 * at + 2)?, 16).ok()).collect()
}

fn request_of<'a>(capture: &'a Capture, name: &[u8]) -> Result<&'a Value> {
    let found = capture
        .of_type("request")
        .filter(|event| bytes_of(&event["name"], &event["name_hex"]).as_deref() == Some(name));
    let found: Vec<&Value> = found.collect();
    equal(&format!("requests for {:?}", String::from_utf8_lossy(name)), found.len(), 1)?;
    let request = found[0];
    let valid = std::str::from_utf8(name).is_ok();
    equal("name_hex is absent for valid UTF-8", request["name_hex"].is_null(), valid)?;
    Ok(request)
}

fn last_argument(helper: &Value) -> Result<Vec<u8>> {
    bytes_of(&helper["argv"][3], &helper["argv_hex"][3]).context("the helper has no fourth argument")
}

/// A name that is too long: the kernel starts no helper, but requester and name are reported.
fn too_long(ctx: &mut Ctx) -> Result<()> {
    let name = [b'n'; 63];
    let tracer = ctx.watch(&[])?;
    let report = ctx.act(Actor::alg("hash", &name).named("verbose").as_user(NOBODY))?;
    // Stop immediately: the last request must be reported without a delay.
    let capture = tracer.stop()?;
    capture.expect_complete()?;
    let name = String::from_utf8_lossy(&name).into_owned();
    for asked in [format!("crypto-{name}"), format!("crypto-{name}-all")] {
        let request = capture.request_for(&asked)?;
        equal("pid", number(request, "/process/pid"), Some(u64::from(report.pid)))?;
        equal("comm", text(request, "/process/comm"), "verbose")?;
        equal("uid", number(request, "/process/uid"), Some(u64::from(NOBODY)))?;
        equal("helpers", capture.belonging_to(request, "helper").len(), 0)?;
        let result = capture.result_of(request)?;
        expect_status(result, "failed", "inferred")?;
        equal("errno", text(result, "/errno"), "ENAMETOOLONG")?;
    }
    Ok(())
}
