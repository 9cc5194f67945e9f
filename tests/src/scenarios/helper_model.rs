//! What the kernel's helper would do: outcomes follow what arrived, the configuration is read as the helper reads it, and no program
//! is run that others can change.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::failures::{helper_script, with_modprobe};
use super::oracle_check::{expect_status, text, with_oracle};
use super::{Need, Scenario};
use crate::ctx::{Actor, Ctx, MODPROBE_DIR, Output, contains, ensure, equal};
use crate::protocol::KMODTRACE_PATH;

const NEEDS: &[Need] = &[Need::Kmodtrace];

/// A built-in protocol family that is switched off.
const NO_IPV6: &[Need] = &[Need::Kmodtrace, Need::KernelArgument("ipv6.disable=1")];

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "outcome-install-command-of-any-form", fresh_boot: false, needs: NEEDS, run: any_form },
    Scenario { name: "outcome-follows-what-arrived", fresh_boot: false, needs: NEEDS, run: what_arrived },
    Scenario { name: "outcome-modules-not-on-disk", fresh_boot: true, needs: NEEDS, run: not_on_disk },
    Scenario { name: "outcome-built-in-but-switched-off", fresh_boot: true, needs: NO_IPV6, run: built_in },
    Scenario { name: "helper-of-others-is-not-run", fresh_boot: true, needs: NEEDS, run: helper_of_others },
    Scenario { name: "configuration-that-cannot-be-read", fresh_boot: true, needs: NEEDS, run: unreadable },
];

/// An unprivileged user.
const ALICE: u32 = 1000;

/// Crypto sockets: a family that any user may request, and a single module in every Debian kernel.
const PF_ALG: u16 = 38;

fn alg() -> Actor {
    Actor::socket(PF_ALG, 5, 0).named("sensor").as_user(ALICE)
}

fn json(output: &Output) -> Result<Value> {
    let line = output.stdout.lines().next().context("no output")?;
    serde_json::from_str(line).with_context(|| format!("not JSON: {line}"))
}

pub(super) fn explain(ctx: &mut Ctx, uid: u32, name: &str) -> Result<Value> {
    json(&ctx.run_as(uid, &[KMODTRACE_PATH, "explain", "--json", name])?.ok()?)
}

pub(super) fn doctor(ctx: &mut Ctx, uid: u32) -> Result<Value> {
    json(&ctx.run_as(uid, &[KMODTRACE_PATH, "doctor", "--json"])?)
}

fn finding<'a>(report: &'a Value, check: &str) -> Result<&'a Value> {
    let mut findings = report["findings"].as_array().into_iter().flatten();
    findings.find(|finding| finding["check"] == check).with_context(|| format!("no finding {check}"))
}

/// Checks a finding that is not good.
pub(super) fn found(report: &Value, check: &str, level: &str, part: &str) -> Result<()> {
    let finding = finding(report, check)?;
    equal(check, text(finding, "/level"), level)?;
    contains(check, &text(finding, "/found"), part)
}

/// Runs `during` while a path has another name, whatever the result.
fn moved<T>(path: &Path, to: &Path, during: impl FnOnce() -> Result<T>) -> Result<T> {
    fs::rename(path, to).with_context(|| format!("cannot move {}", path.display()))?;
    let result = during();
    fs::rename(to, path).with_context(|| format!("cannot move {} back", path.display()))?;
    result
}

/// A command that loads nothing keeps the module out, whatever its form and exit code; one that names a loader has failed.
fn any_form(ctx: &mut Ctx) -> Result<()> {
    const SCRIPT: &str = "/run/disabled";
    ctx.write_file(Path::new(SCRIPT), "#!/bin/sh\necho disabled >&2\nexit 1\n")?;
    fs::set_permissions(SCRIPT, fs::Permissions::from_mode(0o755)).context("cannot make the script executable")?;
    let forms = [
        (SCRIPT, "blocklisted"),
        ("echo blocked; /bin/false", "blocklisted"),
        ("echo blocked; exit 0", "blocklisted"),
        ("/bin/sh -c 'exit 1'", "blocklisted"),
        ("exec /bin/false", "blocklisted"),
        ("{ false; }", "blocklisted"),
        ("/nosuch/program", "blocklisted"),
        ("echo '# End of configuration files. Dumping indexes now:'; false", "blocklisted"),
        ("/sbin/modprobe -i nosuchmodule && true", "failed"),
    ];
    let oracle = ctx.oracle()?;
    let tracer = ctx.watch(&[])?;
    for (form, _) in forms {
        ctx.modprobe_conf("form", &format!("install af_alg {form}\n"))?;
        ctx.act(alg())?;
        equal("explain", text(&explain(ctx, ALICE, "net-pf-38")?, "/verdict"), "blocked")?;
    }
    let capture = tracer.stop()?;
    with_oracle(&capture, &ctx.oracle_events(&oracle)?)?;
    let requests = capture.requests_for("net-pf-38");
    equal("requests", requests.len(), forms.len())?;
    for (request, (form, status)) in requests.into_iter().zip(forms) {
        let result = capture.result_of(request)?;
        expect_status(result, status, "inferred")?;
        contains("detail", &text(result, "/detail"), &format!("install af_alg {form}"))?;
    }
    ensure("nothing is loaded", capture.modules().is_empty())
}

/// A module that arrived counts, whatever modprobe's exit code and configuration say; and what modprobe does not block is not said
/// to be blocked.
fn what_arrived(ctx: &mut Ctx) -> Result<()> {
    // The command loads the module, then fails.
    let oracle = ctx.oracle()?;
    let tracer = ctx.watch(&[])?;
    ctx.modprobe_conf("facts", "install af_alg /sbin/modprobe -i af_alg; exit 1\n")?;
    ctx.act(alg())?;
    tracer.await_output("modprobe exited with 1")?;
    ctx.unload(&["af_alg"])?;
    // A carriage return belongs to the name, which is that of another module.
    ctx.modprobe_conf("facts", "blacklist af_alg\r\ninstall af_alg\r /bin/false\r\n")?;
    equal("explain", text(&explain(ctx, ALICE, "net-pf-38")?, "/verdict"), "loads")?;
    ctx.act(alg())?;
    ctx.unload(&["af_alg"])?;
    // Two modules have the alias, and the processor does not support one of them.
    ctx.modprobe_conf("facts", "alias fs-two dummy\nalias fs-two acpi_cpufreq\n")?;
    ctx.act(Actor::mount("two"))?;
    // The configuration must not change before the tracer has read it.
    tracer.await_output("acpi_cpufreq: ENODEV")?;
    ctx.unload(&["dummy"])?;
    // A request inside the command of another one.
    let nested = "alias fs-outer dummy\ninstall dummy mount -t inner none /mnt\nalias fs-inner af_alg\n";
    ctx.modprobe_conf("facts", nested)?;
    ctx.act(Actor::mount("outer"))?;
    let capture = tracer.stop()?;
    with_oracle(&capture, &ctx.oracle_events(&oracle)?)?;
    ctx.unload(&["af_alg"])?;

    let [failing, returned] = capture.requests_for("net-pf-38")[..] else { anyhow::bail!("expected two requests") };
    let result = capture.result_of(failing)?;
    expect_status(result, "loaded", "exact")?;
    equal("code", result["code"].as_i64(), Some(256))?;
    contains("detail", &text(result, "/detail"), "modprobe exited with 1")?;
    expect_status(capture.result_of(returned)?, "loaded", "exact")?;
    let two = capture.result_of(capture.request_for("fs-two")?)?;
    expect_status(two, "loaded", "exact")?;
    contains("detail", &text(two, "/detail"), "acpi_cpufreq: ENODEV")?;
    expect_status(capture.result_of(capture.request_for("fs-inner")?)?, "loaded", "exact")?;
    let outer = capture.result_of(capture.request_for("fs-outer")?)?;
    expect_status(outer, "failed", "inferred")?;
    contains("detail", &text(outer, "/detail"), "the command did not load dummy")
}

/// Modules that are gone, indexes that cannot be used and files that are missing are named, and the tracer notices when they are
/// back.
fn not_on_disk(ctx: &mut Ctx) -> Result<()> {
    let release = ctx.run(&["uname", "-r"])?.ok()?.stdout.trim().to_owned();
    let directory = Path::new("/lib/modules").join(&release);
    let file = PathBuf::from(ctx.run(&["modinfo", "-n", "af_alg"])?.ok()?.stdout.trim());
    let elsewhere = Path::new("/lib/modules/elsewhere");
    let index = |name: &str| directory.join(name);
    let aside = |name: &str| directory.join(format!("{name}.aside"));

    let oracle = ctx.oracle()?;
    let tracer = ctx.watch(&[])?;
    moved(&directory, elsewhere, || {
        ctx.act(alg())?;
        let reboot = "does not exist: the kernel was upgraded; reboot";
        found(&doctor(ctx, 0)?, "module-index", "problem", reboot)?;
        let answer = ctx.run(&[KMODTRACE_PATH, "explain", "net-pf-38"])?;
        contains("explain", &answer.stdout, reboot)?;
        let surface = ctx.run(&[KMODTRACE_PATH, "surface"])?;
        equal("exit code of surface", surface.code, 125)?;
        contains("surface", &surface.stderr, reboot)
    })?;
    for name in ["modules.dep.bin", "modules.alias.bin"] {
        moved(&index(name), &aside(name), || {
            ctx.act(alg())?;
            found(&doctor(ctx, 0)?, "module-index", "problem", "run `depmod`")
        })?;
    }
    moved(&file, &file.with_extension("aside"), || {
        ctx.act(alg())?;
        // The file must still be away when the tracer looks for it.
        ctx.run(&["sleep", "3"]).map(drop)
    })?;
    ctx.act(alg())?;
    let capture = tracer.stop()?;
    with_oracle(&capture, &ctx.oracle_events(&oracle)?)?;

    let expected = [
        ("no-modules", format!("{} does not exist: the kernel was upgraded; reboot", directory.display())),
        ("failed", format!("{} does not exist: run `depmod`", index("modules.dep.bin").display())),
        ("failed", format!("{} does not exist: run `depmod`", index("modules.alias.bin").display())),
        ("failed", "af_alg.ko".to_owned()),
    ];
    let requests = capture.requests_for("net-pf-38");
    equal("requests", requests.len(), expected.len() + 1)?;
    for (request, (status, detail)) in requests.iter().zip(expected) {
        let result = capture.result_of(request)?;
        expect_status(result, status, "inferred")?;
        contains("detail", &text(result, "/detail"), &detail)?;
    }
    expect_status(capture.result_of(requests.last().context("no request")?)?, "loaded", "exact")
}

/// The kernel asks for a built-in feature only if that is switched off: this has an outcome of its own.
fn built_in(ctx: &mut Ctx) -> Result<()> {
    const PF_INET6: u16 = 10;
    let oracle = ctx.oracle()?;
    let tracer = ctx.watch(&[])?;
    ctx.act(Actor::socket(PF_INET6, 1, 0).as_user(ALICE))?;
    let capture = tracer.stop()?;
    with_oracle(&capture, &ctx.oracle_events(&oracle)?)?;
    let result = capture.result_of(capture.request_for("net-pf-10")?)?;
    expect_status(result, "built-in", "inferred")?;
    contains("detail", &text(result, "/detail"), "ipv6 is built into the kernel, but switched off")
}

/// No verb runs a helper that others can change; every verb ends if a helper of root hangs or floods; and what a request loads is
/// reported all the same.
fn helper_of_others(ctx: &mut Ctx) -> Result<()> {
    const HELPER: &str = "/tmp/usr/sbin/modprobe";
    const RAN: &str = "/tmp/ran";
    fs::create_dir_all("/tmp/usr/sbin").context("cannot create a directory")?;
    ctx.write_file(Path::new(HELPER), &format!("#!/bin/sh\necho \"$@\" >>{RAN}\nexec /sbin/modprobe \"$@\"\n"))?;
    fs::set_permissions(HELPER, fs::Permissions::from_mode(0o755)).context("cannot make the helper executable")?;
    chown(HELPER, Some(65534), None).context("cannot change the owner of the helper")?;
    with_modprobe(HELPER, || {
        let report = doctor(ctx, 0)?;
        found(&report, "kernel.modprobe", "problem", HELPER)?;
        found(&report, "modprobe.d", "problem", HELPER)?;
        for uid in [0, ALICE] {
            let answer = explain(ctx, uid, "net-pf-38")?;
            equal("verdict", text(&answer, "/verdict"), "unknown")?;
            contains("doubt", &text(&answer, "/doubts/0"), HELPER)?;
        }
        contains("surface", &ctx.run(&[KMODTRACE_PATH, "surface"])?.ok()?.stderr, HELPER)?;
        contains("block", &ctx.run(&[KMODTRACE_PATH, "block", "af_alg"])?.ok()?.stderr, HELPER)?;
        let written = ctx.run(&[KMODTRACE_PATH, "block", "--write", "af_alg"])?;
        equal("exit code of block --write", written.code, 125)?;
        ensure("the helper was not run", !Path::new(RAN).exists())?;

        let oracle = ctx.oracle()?;
        let tracer = ctx.watch(&[])?;
        ctx.act(alg())?;
        ctx.act(Actor::mount("nosuchfs"))?;
        let capture = tracer.stop()?;
        with_oracle(&capture, &ctx.oracle_events(&oracle)?)?;
        expect_status(capture.result_of(capture.request_for("net-pf-38")?)?, "loaded", "exact")?;
        let missing = capture.result_of(capture.request_for("fs-nosuchfs")?)?;
        expect_status(missing, "failed", "unknown")?;
        contains("detail", &text(missing, "/detail"), HELPER)?;
        equal("runs of the helper", fs::read_to_string(RAN).context("the kernel has not run it")?.lines().count(), 2)
    })?;
    ctx.unload(&["af_alg"])?;

    for (script, limit) in [
        ("sleep 600", "did not end within 10 s"),
        ("dd if=/dev/zero bs=1M count=80 2>/dev/null", "printed more than 65536 KiB"),
    ] {
        let script = helper_script(ctx, script)?;
        with_modprobe(script, || found(&doctor(ctx, 0)?, "modprobe.d", "problem", limit))?;
    }
    with_modprobe("/bin/true", || {
        found(&doctor(ctx, 0)?, "modprobe.d", "problem", "not that of kmod")?;
        let answer = explain(ctx, ALICE, "net-pf-38")?;
        equal("verdict", text(&answer, "/verdict"), "unknown")?;
        equal("module by its alias on disk", text(&answer, "/modules/0/module"), "af_alg")
    })
}

/// Files that the user cannot read, lines that modprobe ignores, and a block of a dependency that is loaded already are reported, and
/// nothing is claimed from them.
fn unreadable(ctx: &mut Ctx) -> Result<()> {
    let secret = Path::new(MODPROBE_DIR).join("secret.conf");
    let shown = secret.display().to_string();
    ctx.write_file(&secret, "install af_alg /bin/false\nnonsense af_alg\n")?;
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).context("cannot close the file")?;
    let mine = explain(ctx, ALICE, "net-pf-38")?;
    equal("verdict for alice", text(&mine, "/verdict"), "unknown")?;
    contains("doubt", &text(&mine, "/doubts/0"), &shown)?;
    let human = ctx.run_as(ALICE, &[KMODTRACE_PATH, "explain", "net-pf-38"])?.ok()?.stdout;
    contains("human form", &human, &format!("doubt     {shown} cannot be read"))?;
    let surface = ctx.run_as(ALICE, &[KMODTRACE_PATH, "surface", "--json"])?.ok()?;
    contains("doubt of surface", &text(&json(&surface)?, "/doubts/0"), &shown)?;
    contains("summary of surface", &surface.stderr, &shown)?;
    found(&doctor(ctx, ALICE)?, "modprobe.d", "note", &shown)?;
    equal("verdict for root", text(&explain(ctx, 0, "net-pf-38")?, "/verdict"), "blocked")?;
    let report = doctor(ctx, 0)?;
    found(&report, "modprobe.d-warnings", "note", "nonsense")?;
    found(&report, "modprobe.d", "note", "install af_alg /bin/false")?;

    ctx.run(&["modprobe", "crc_itu_t"])?.ok()?;
    ctx.modprobe_conf("dependency", "install crc-itu-t /bin/false\n")?;
    let answer = explain(ctx, 0, "fs-udf")?;
    equal("verdict", text(&answer, "/verdict"), "loads")?;
    contains(
        "line without effect",
        &text(&answer, "/ineffective/0"),
        "until the next boot: crc_itu_t is loaded already",
    )?;
    let oracle = ctx.oracle()?;
    let tracer = ctx.watch(&[])?;
    ctx.act(Actor::mount("udf"))?;
    let capture = tracer.stop()?;
    with_oracle(&capture, &ctx.oracle_events(&oracle)?)?;
    expect_status(capture.result_of(capture.request_for("fs-udf")?)?, "loaded", "exact")
}
