//! Names that an attacker chooses: told exactly, and never able to look like something else.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::agreement::{ended, number, text};
use super::{Need, Scenario};
use crate::ctx::{Act, Capture, Ctx, contains, equal, that};

const NEEDS: &[Need] = &[Need::Kmodtrace];

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "hostile-names", fresh_boot: false, needs: NEEDS, run: names },
    Scenario { name: "hostile-command", fresh_boot: false, needs: NEEDS, run: command },
    Scenario { name: "ending-name-too-long", fresh_boot: false, needs: NEEDS, run: too_long },
];

/// The user whom nobody gave anything.
const NOBODY: u32 = 65534;

/// A task's name that would clear the screen and begin a new line.
const COMM: &str = "e\u{1b}[2J\nroot";

/// A type of file system that would do the same.
const OTHER: &str = "\u{1b}[31m\nroot\u{9b}";

/// Lines that look like the program's own, control sequences, bytes that are no text.
const NAMES: [&[u8]; 4] =
    [b"x\nLOAD fake_module", b"\x1b[2J\x1b]0;owned\x07\r", b"\xff\xfe\x80\xc3(", b"a\xe2\x80\xaeb\xc2\x9b2J\"},{"];

fn names(ctx: &mut Ctx) -> Result<()> {
    let tracer = ctx.watch(&[])?;
    let tree = ctx.watch_tree(&["--stacks"])?;
    for name in NAMES {
        ctx.act(Act::alg("hash", name).named(COMM).as_user(NOBODY))?;
    }
    let tree = tree.stop()?;
    let capture = tracer.stop()?;
    capture.expect_whole()?;

    for name in NAMES {
        let asked: Vec<u8> = [b"crypto-", name].concat();
        let request = request_of(&capture, &asked)?;
        equal("comm", text(request, "/process/comm"), COMM)?;
        equal("uid", number(request, "/process/uid"), Some(u64::from(NOBODY)))?;
        let result = capture.result_of(request)?;
        ended(result, "not-found", "inferred")?;
        let helper = capture.belonging_to(request, "helper").into_iter().next().context("no helper")?;
        equal("what modprobe was asked for", last_argument(helper)?, asked)?;
    }
    that("nothing is forged", !capture.modules().iter().any(|module| module == "fake_module"))?;
    that("nothing but requests and their like", capture.other.is_empty())?;

    let shown = [("tree", tree.other.join("\n")), ("summary", tree.stderr), ("messages", capture.stderr)];
    for (what, shown) in shown.into_iter().chain([("events", capture.text)]) {
        nothing_hostile(what, &shown)?;
    }
    Ok(())
}

/// A command of hostile name and arguments under `run`.
fn command(ctx: &mut Ctx) -> Result<()> {
    let program = format!("/run/{COMM}");
    let argument = "-x \u{1b}]0;owned\u{7}\n\u{9b}2J";
    ctx.write_file(Path::new(&program), &format!("#!/bin/sh\nmount -t '{OTHER}' none /mnt\nexit 3\n"))?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).context("cannot make the program executable")?;
    let capture = ctx.trace_run(&[], &[&program, argument])?;
    capture.expect_whole()?;
    equal("exit code", capture.code, 3)?;
    let request = capture.request_for(&format!("fs-{OTHER}"))?;
    let parent = &request["ancestors"][0];
    equal("comm of the parent", text(parent, "/comm"), COMM)?;
    nothing_hostile("events", &capture.text)?;
    nothing_hostile("messages", &capture.stderr)?;
    let shown = ctx.run(&["kmodtrace", "run", "--stacks", "--", &program, argument])?;
    equal("exit code", shown.code, 3)?;
    contains("tree", &shown.stderr, "asked")?;
    let own = shown.stderr.lines().filter(|line| !line.starts_with("mount: "));
    nothing_hostile("tree", &own.collect::<Vec<_>>().join("\n"))
}

/// States that what is shown has one line for each line, and nothing that a terminal obeys.
fn nothing_hostile(what: &str, shown: &str) -> Result<()> {
    // U+202E turns the direction of what follows, U+009B begins a control sequence.
    let hostile = |character: char| (character.is_control() && character != '\n') || character == '\u{202e}';
    that(&format!("no control character in the {what}: {shown:?}"), !shown.contains(hostile))?;
    that(&format!("no forged line in the {what}"), !shown.lines().any(|line| line.trim().starts_with("LOAD")))?;
    that(&format!("no second process in the {what}"), !shown.lines().any(|line| line.starts_with("root")))
}

/// The bytes of a field that may have a `_hex` sibling.
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
    equal("digits stand where text cannot", request["name_hex"].is_null(), valid)?;
    Ok(request)
}

fn last_argument(helper: &Value) -> Result<Vec<u8>> {
    bytes_of(&helper["argv"][3], &helper["argv_hex"][3]).context("the helper has no fourth argument")
}

/// A name that does not fit: the kernel asks nobody, and who wanted what is told all the same.
fn too_long(ctx: &mut Ctx) -> Result<()> {
    let name = [b'n'; 63];
    let tracer = ctx.watch(&[])?;
    let report = ctx.act(Act::alg("hash", &name).named("verbose").as_user(NOBODY))?;
    // At once: the last one must not need time to be told.
    let capture = tracer.stop()?;
    capture.expect_whole()?;
    let name = String::from_utf8_lossy(&name).into_owned();
    for asked in [format!("crypto-{name}"), format!("crypto-{name}-all")] {
        let request = capture.request_for(&asked)?;
        equal("pid", number(request, "/process/pid"), Some(u64::from(report.pid)))?;
        equal("comm", text(request, "/process/comm"), "verbose")?;
        equal("uid", number(request, "/process/uid"), Some(u64::from(NOBODY)))?;
        equal("helpers", capture.belonging_to(request, "helper").len(), 0)?;
        let result = capture.result_of(request)?;
        ended(result, "failed", "inferred")?;
        equal("errno", text(result, "/errno"), "ENAMETOOLONG")?;
    }
    Ok(())
}
