//! What is said about prevention is what happens: lines that are void, names that still come as dependencies, settings of the kernel,
//! and rules that are verified where they are written.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::failures::{helper_script, with_modprobe};
use super::helper_model::{doctor, explain, found};
use super::oracle_check::{expect_status, text, with_oracle};
use super::{Need, Scenario};
use crate::ctx::{Action, Actor, Ctx, MODPROBE_DIR, contains, ensure, equal};
use crate::protocol::KMODTRACE_PATH;

const NEEDS: &[Need] = &[Need::Kmodtrace];
const IP: &[Need] = &[Need::Kmodtrace, Need::Program("ip")];
const ORDINARY: &[Need] = &[Need::Kmodtrace, Need::OrdinaryFlavour];

/// The kernel refuses this module, whatever modprobe does.
const REFUSED: &[Need] = &[Need::Kmodtrace, Need::KernelArgument("module_blacklist=af_alg")];

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "blacklist-of-an-own-name-is-void", fresh_boot: false, needs: IP, run: void_blacklist },
    Scenario { name: "name-that-is-off-comes-as-a-dependency", fresh_boot: true, needs: NEEDS, run: off_dependency },
    Scenario { name: "kernel-refusal-is-explained", fresh_boot: true, needs: REFUSED, run: kernel_refuses },
    Scenario { name: "surface-follows-settings-and-nodes", fresh_boot: true, needs: ORDINARY, run: settings },
    Scenario { name: "block-is-verified-where-it-is-written", fresh_boot: true, needs: NEEDS, run: verified },
    Scenario { name: "helper-with-a-configuration-of-its-own", fresh_boot: true, needs: NEEDS, run: own_configuration },
];

/// An unprivileged user.
const ALICE: u32 = 1000;

/// Crypto sockets: a family that any user may request, and a single module in every Debian kernel.
fn alg() -> Actor {
    Actor::socket(38, 5, 0).named("sensor").as_user(ALICE)
}

/// The rows of the surface, with those that are loaded or blocked.
fn surface(ctx: &mut Ctx) -> Result<Vec<Value>> {
    let output = ctx.run_as(ALICE, &[KMODTRACE_PATH, "surface", "--all", "--json"])?.ok()?;
    output.stdout.lines().map(|line| serde_json::from_str(line).context("not JSON")).collect()
}

fn row<'a>(rows: &'a [Value], module: &str) -> Option<&'a Value> {
    rows.iter().find(|row| row["module"] == module)
}

fn state(rows: &[Value], module: &str) -> String {
    row(rows, module).map_or_else(|| "absent".to_owned(), |row| text(row, "/state"))
}

/// A file of modprobe's configuration, as it is shown with a line.
fn place(name: &str, line: usize) -> String {
    format!("in {MODPROBE_DIR}/{name}.conf:{line}")
}

/// A blacklist does not keep out a module that the kernel requests by its own name. One that hides an alias does, and `modprobe NAME`
/// still loads it.
fn void_blacklist(ctx: &mut Ctx) -> Result<()> {
    ctx.modprobe_conf("void", "# by hand\nblacklist algif-aead\nblacklist dummy\n")?;
    let answer = explain(ctx, ALICE, "algif_aead")?;
    equal("verdict of a void blacklist", text(&answer, "/verdict"), "loads")?;
    let line = text(&answer, "/ineffective/0");
    contains("its line", &line, &format!("blacklist algif_aead {}", place("void", 2)))?;
    contains("the reason", &line, "by its own name")?;
    found(&doctor(ctx, 0)?, "modprobe.d-blacklist", "note", "blacklist algif_aead")?;
    let dummy = explain(ctx, ALICE, "dummy")?;
    equal("verdict of a blacklist that counts", text(&dummy, "/verdict"), "blocked")?;
    equal("the alias that it hides", text(&dummy, "/blocked_aliases/0/alias"), "rtnl_link_dummy")?;
    equal("what still loads it", text(&dummy, "/still_loaded/0"), "by `modprobe dummy`")?;
    let rows = surface(ctx)?;
    equal("state of algif_aead", state(&rows, "algif_aead"), "open")?;
    equal("state of dummy", state(&rows, "dummy"), "blocked")?;

    let oracle = ctx.oracle()?;
    let tracer = ctx.watch(&[])?;
    ctx.act(Actor::alg("aead", b"nosuch(x)").as_user(ALICE))?;
    ctx.run(&["ip", "link", "add", "kmt0", "type", "dummy"])?;
    let capture = tracer.stop()?;
    with_oracle(&capture, &ctx.oracle_events(&oracle)?)?;
    expect_status(capture.result_of(capture.request_for("algif-aead")?)?, "loaded", "exact")?;
    let hidden = capture.result_of(capture.request_for("rtnl-link-dummy")?)?;
    expect_status(hidden, "blocklisted", "inferred")?;
    equal("detail", text(hidden, "/detail"), format!("blacklist dummy {}", place("void", 3)))?;
    ctx.run(&["modprobe", "dummy"])?.ok()?;
    ensure("modprobe loads it by its name", ctx.modules()?.contains_key("dummy"))?;
    ctx.unload(&["dummy", "algif_aead", "af_alg"])
}

/// `alias X off` keeps out requests by this name, but not the dependency. A command does, unless the module is live.
fn off_dependency(ctx: &mut Ctx) -> Result<()> {
    ctx.modprobe_conf("off", "alias crc-itu-t off\n")?;
    let answer = explain(ctx, ALICE, "crc_itu_t")?;
    equal("verdict", text(&answer, "/verdict"), "as-dependency")?;
    contains("what still loads it", &text(&answer, "/still_loaded/0"), "as a dependency of ")?;
    contains("its line", &text(&answer, "/blocks/0"), &place("off", 1))?;
    equal("verdict of the other module", text(&explain(ctx, ALICE, "fs-udf")?, "/verdict"), "loads")?;
    ctx.run(&["modprobe", "crc_itu_t"])?;
    ensure("its own name loads nothing", !ctx.modules()?.contains_key("crc_itu_t"))?;

    let oracle = ctx.oracle()?;
    let tracer = ctx.watch(&[])?;
    ctx.act(Actor::mount("udf"))?;
    ensure("it comes as a dependency", ctx.modules()?.contains_key("crc_itu_t"))?;
    ctx.unload(&["udf"])?;
    let command = "alias crc-itu-t off\ninstall crc-itu-t /bin/false\n";
    ctx.modprobe_conf("off", command)?;
    // It is live, so modprobe does not look at the command.
    let live = explain(ctx, ALICE, "fs-udf")?;
    equal("verdict while it is live", text(&live, "/verdict"), "loads")?;
    contains("line without effect", &text(&live, "/ineffective/0"), &place("off", 2))?;
    equal("surface while it is live", state(&surface(ctx)?, "udf"), "open")?;
    ctx.act(Actor::mount("udf"))?;
    ensure("udf is loaded", ctx.modules()?.contains_key("udf"))?;
    ctx.unload(&["udf", "crc_itu_t"])?;
    equal("verdict when it is gone", text(&explain(ctx, ALICE, "fs-udf")?, "/verdict"), "blocked")?;
    equal("surface when it is gone", state(&surface(ctx)?, "udf"), "blocked")?;
    equal("verdict of the dependency", text(&explain(ctx, ALICE, "crc_itu_t")?, "/verdict"), "blocked")?;
    ctx.act(Actor::mount("udf"))?;
    let capture = tracer.stop()?;
    with_oracle(&capture, &ctx.oracle_events(&oracle)?)?;
    ensure("udf is not loaded", !ctx.modules()?.contains_key("udf"))?;
    let [first, second, third] = capture.requests_for("fs-udf")[..] else { anyhow::bail!("expected three requests") };
    expect_status(capture.result_of(first)?, "loaded", "exact")?;
    expect_status(capture.result_of(second)?, "loaded", "exact")?;
    let blocked = capture.result_of(third)?;
    expect_status(blocked, "blocklisted", "inferred")?;
    contains("detail", &text(blocked, "/detail"), &place("off", 2))
}

/// A module that the kernel refuses is blocked, and the remedy is not one in modprobe.d.
fn kernel_refuses(ctx: &mut Ctx) -> Result<()> {
    let answer = explain(ctx, ALICE, "net-pf-38")?;
    equal("verdict", text(&answer, "/verdict"), "blocked")?;
    let block = text(&answer, "/blocks/0");
    contains(
        "block",
        &block,
        "module_blacklist=af_alg on the kernel command line: the kernel refuses af_alg with EPERM",
    )?;
    ensure("no word of modprobe.d", !block.contains("modprobe.d"))?;
    equal("verdict of a module that needs it", text(&explain(ctx, ALICE, "algif_hash")?, "/verdict"), "blocked")?;
    equal("surface", state(&surface(ctx)?, "af_alg"), "blocked")?;
    found(&doctor(ctx, 0)?, "module_blacklist", "note", "module_blacklist=af_alg on the kernel command line")?;
    let oracle = ctx.oracle()?;
    let tracer = ctx.watch(&[])?;
    ctx.act(alg())?;
    let capture = tracer.stop()?;
    with_oracle(&capture, &ctx.oracle_events(&oracle)?)?;
    let result = capture.result_of(capture.request_for("net-pf-38")?)?;
    equal("status", text(result, "/status"), "failed")?;
    equal("errno", text(result, "/errno"), "EPERM")?;
    ensure("it is not loaded", !ctx.modules()?.contains_key("af_alg"))
}

/// Runs `during` with another value of a setting.
fn with_setting<T>(path: &str, value: &str, during: impl FnOnce() -> Result<T>) -> Result<T> {
    let before = fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
    fs::write(path, value).with_context(|| format!("cannot set {path}"))?;
    let result = during();
    fs::write(path, before).with_context(|| format!("cannot restore {path}"))?;
    result
}

/// Line disciplines, device nodes and user namespaces: the users who are named can request a module, and no others.
fn settings(ctx: &mut Ctx) -> Result<()> {
    const N_GSM0710: u32 = 21;
    const N_HDLC: u32 = 13;
    const NODE: &str = "/dev/kmt-uinput";
    const EPERM: i32 = 1;
    const EACCES: i32 = 13;
    let is_ldisc = |rows: &[Value]| rows.iter().any(|row| text(row, "/family") == "tty line discipline");
    let ldisc = |number| Actor::new(Action::LineDiscipline { number }).as_user(ALICE);
    let open = || Actor::new(Action::Open { path: NODE.to_owned() }).as_user(ALICE);
    let uinput =
        |ctx: &mut Ctx| -> Result<Option<String>> { Ok(row(&surface(ctx)?, "uinput").map(|row| text(row, "/who"))) };
    ctx.run(&["rm", "-f", "/dev/uinput", NODE])?.ok()?;
    ctx.run(&["mknod", "-m", "600", NODE, "c", "10", "223"])?.ok()?;

    let oracle = ctx.oracle()?;
    let tracer = ctx.watch(&[])?;
    ensure("line disciplines are on the surface", is_ldisc(&surface(ctx)?))?;
    ctx.act(ldisc(N_HDLC))?;
    with_setting("/proc/sys/dev/tty/ldisc_autoload", "0", || {
        ensure("no line discipline is on the surface", !is_ldisc(&surface(ctx)?))?;
        let answer = explain(ctx, ALICE, "tty-ldisc-21")?;
        equal("access", text(&answer, "/causes/0/access"), "root")?;
        contains("reason", &text(&answer, "/causes/0/why"), "dev.tty.ldisc_autoload is 0")?;
        equal("errno of alice", ctx.act(ldisc(N_GSM0710))?.errno, EPERM)
    })?;

    equal("a node of root", uinput(ctx)?, None)?;
    equal("errno of alice", ctx.act(open())?.errno, EACCES)?;
    fs::set_permissions(NODE, fs::Permissions::from_mode(0o660)).context("cannot open the node to its group")?;
    chown(NODE, None, Some(44)).context("cannot change the group of the node")?;
    let who = uinput(ctx)?.unwrap_or_default();
    contains("a node of a group", &who, "members of the group ")?;
    equal("errno of alice", ctx.act(open())?.errno, EACCES)?;
    fs::set_permissions(NODE, fs::Permissions::from_mode(0o666)).context("cannot open the node")?;
    equal("a node of all", uinput(ctx)?.as_deref(), Some("anyone"))?;
    ctx.act(open())?;

    with_setting("/proc/sys/user/max_user_namespaces", "0", || {
        let rows = surface(ctx)?;
        ensure("some modules are left", !rows.is_empty())?;
        ensure("none needs a user namespace", rows.iter().all(|row| text(row, "/access") != "user-namespace"))?;
        let answer = explain(ctx, ALICE, "fs-udf")?;
        contains("reason", &text(&answer, "/causes/0/why"), "user.max_user_namespaces is 0")
    })?;
    let capture = tracer.stop()?;
    with_oracle(&capture, &ctx.oracle_events(&oracle)?)?;
    expect_status(capture.result_of(capture.request_for("tty-ldisc-13")?)?, "loaded", "exact")?;
    ensure("no request for the refused line discipline", capture.requests_for("tty-ldisc-21").is_empty())?;
    equal("requests for the device", capture.requests_for("char-major-10-223").len(), 1)?;
    fs::remove_file(NODE).context("cannot remove the node")
}

/// `block --write` asks modprobe again, names the other files and the command that removes what is loaded, and its rules hold; where
/// they do not, this is reported with exit code 1.
fn verified(ctx: &mut Ctx) -> Result<()> {
    const FILE: &str = "/etc/modprobe.d/00-kmodtrace-block-udf.conf";
    const LISTED: &str = "/etc/modules-load.d/kmt.conf";
    fs::create_dir_all("/etc/modules-load.d").context("cannot create a directory")?;
    ctx.write_file(Path::new(LISTED), "# at boot\nudf\n")?;
    equal("named in", text(&explain(ctx, ALICE, "udf")?, "/named_in/0/path"), LISTED)?;
    ctx.run(&["modprobe", "udf"])?.ok()?;
    let written = ctx.run(&["kmodtrace", "block", "--write", "udf"])?.ok()?;
    contains("verification", &written.stderr, "udf: verified with /sbin/modprobe: none of ")?;
    contains("warning", &written.stderr, &format!("named in {LISTED}:2: systemd-modules-load fails at boot"))?;
    contains("what is loaded", &written.stderr, "it stays until `rmmod udf` or the next boot")?;
    ctx.run(&["modprobe", "-r", "udf"])?;
    ensure("modprobe -r does nothing any more", ctx.modules()?.contains_key("udf"))?;
    ctx.run(&["rmmod", "udf"])?.ok()?;
    ensure("rmmod removes it", !ctx.modules()?.contains_key("udf"))?;

    let oracle = ctx.oracle()?;
    let tracer = ctx.watch(&[])?;
    ctx.act(Actor::mount("udf"))?;
    ctx.run(&["modprobe", "udf"])?;
    let capture = tracer.stop()?;
    with_oracle(&capture, &ctx.oracle_events(&oracle)?)?;
    let result = capture.result_of(capture.request_for("fs-udf")?)?;
    equal("status", text(result, "/status"), "blocklisted")?;
    contains("detail", &text(result, "/detail"), &format!("in {FILE}:"))?;
    ensure("udf is not loaded", !ctx.modules()?.contains_key("udf"))?;
    fs::remove_file(FILE).context("cannot remove the rules")?;

    fs::create_dir_all("/run/elsewhere").context("cannot create a directory")?;
    let vain = ctx.run(&["kmodtrace", "block", "--write", "--dir", "/run/elsewhere", "udf"])?;
    equal("exit code for a directory that is not read", vain.code, 1)?;
    contains(
        "cause",
        &vain.stderr,
        "udf: not prevented: modprobe still loads it (via fs_udf udf): modprobe does not read the files of /run/elsewhere",
    )?;
    fs::create_dir_all("/run/modprobe.d").context("cannot create a directory")?;
    ctx.write_file(Path::new(FILE), "# empty\n")?;
    let masked = ctx.run(&["kmodtrace", "block", "--write", "--dir", "/run/modprobe.d", "udf"])?;
    equal("exit code for a masked file", masked.code, 1)?;
    contains("cause", &masked.stderr, &format!("is masked by {FILE}"))?;
    let answer = explain(ctx, ALICE, "udf")?;
    equal("verdict", text(&answer, "/verdict"), "loads")?;
    contains("ignored line", &text(&answer, "/ignored_lines/0"), &format!("the file is masked by {FILE}"))?;
    fs::remove_dir_all("/run/modprobe.d").context("cannot remove the directory")
}

/// A helper of root that passes options of its own is asked itself; where it loads other modules, nothing is claimed.
fn own_configuration(ctx: &mut Ctx) -> Result<()> {
    const OWN: &str = "/run/own.d";
    fs::create_dir_all(OWN).context("cannot create a directory")?;
    ctx.write_file(&Path::new(OWN).join("x.conf"), "install af_alg /bin/false\n")?;
    let script = helper_script(ctx, &format!("exec /sbin/modprobe -C {OWN} \"$@\""))?;
    with_modprobe(script, || {
        equal("verdict", text(&explain(ctx, ALICE, "net-pf-38")?, "/verdict"), "blocked")?;
        equal("verdict without a line", text(&explain(ctx, ALICE, "fs-udf")?, "/verdict"), "loads")?;
        let written = ctx.run(&["kmodtrace", "block", "--write", "udf"])?;
        equal("exit code of block --write", written.code, 1)?;
        contains("cause", &written.stderr, "which the kernel runs, has a configuration of its own")?;
        let oracle = ctx.oracle()?;
        let tracer = ctx.watch(&[])?;
        ctx.act(alg())?;
        ctx.act(Actor::mount("udf"))?;
        let capture = tracer.stop()?;
        with_oracle(&capture, &ctx.oracle_events(&oracle)?)?;
        let blocked = capture.result_of(capture.request_for("net-pf-38")?)?;
        expect_status(blocked, "blocklisted", "inferred")?;
        expect_status(capture.result_of(capture.request_for("fs-udf")?)?, "loaded", "exact")
    })?;
    fs::remove_file("/etc/modprobe.d/00-kmodtrace-block-udf.conf").context("cannot remove the rules")?;
    let release = ctx.run(&["uname", "-r"])?.ok()?.stdout.trim().to_owned();
    let other = format!("/run/other/lib/modules/{release}");
    fs::create_dir_all(&other).context("cannot create a directory")?;
    // modprobe prints what it would load without opening it.
    ctx.run(&["sh", "-c", &format!("cp /lib/modules/{release}/modules.* {other}")])?.ok()?;
    let script = helper_script(ctx, "exec /sbin/modprobe -d /run/other \"$@\"")?;
    with_modprobe(script, || {
        let answer = explain(ctx, ALICE, "net-pf-38")?;
        equal("verdict with other modules", text(&answer, "/verdict"), "unknown")?;
        contains("doubt", &text(&answer, "/doubts/0"), "/run/other/lib/modules")
    })?;
    fs::remove_dir_all("/run/other").context("cannot remove the copy")
}
