//! Requests that are denied, not waited for, rejected because of the module's file, or killed before admission.

use std::fs;
use std::path::Path;
use std::thread;

use anyhow::{Context as _, Result, bail};

use super::failures::{helper_script, with_modprobe};
use super::oracle_check::{expect_status, number, text, with_oracle};
use super::{Need, Scenario};
use crate::ctx::{Action, Actor, Ctx, Refuser, contains, ensure, equal};
use crate::oracle::requests;

const NEEDS: &[Need] = &[Need::Kmodtrace];

/// A kernel in which a request that waits for admission can be killed.
const KILLABLE: &[Need] = &[Need::Kmodtrace, Need::KernelBefore(6, 4)];

/// A kernel with BPF as a security module: Debian's, from this version on.
const BPF_LSM: &[Need] = &[Need::Kmodtrace, Need::Kernel(6, 1)];

/// The kernel's own list of rejected modules.
const FORBIDDEN: &[Need] = &[Need::Kmodtrace, Need::KernelArgument("module_blacklist=af_alg")];

/// Crypto sockets.
const PF_ALG: u16 = 38;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "outcome-denied", fresh_boot: false, needs: NEEDS, run: denied },
    Scenario { name: "outcome-denied-by-bpf-lsm", fresh_boot: false, needs: BPF_LSM, run: denied_by_lsm },
    Scenario { name: "outcome-not-waited", fresh_boot: true, needs: NEEDS, run: not_waited },
    Scenario { name: "outcome-unknown-symbol", fresh_boot: false, needs: NEEDS, run: unknown_symbol },
    Scenario { name: "outcome-wrong-vermagic", fresh_boot: true, needs: NEEDS, run: wrong_vermagic },
    Scenario { name: "outcome-wrong-signature", fresh_boot: true, needs: NEEDS, run: wrong_signature },
    Scenario { name: "outcome-absent-signature", fresh_boot: true, needs: NEEDS, run: absent_signature },
    Scenario { name: "outcome-kernel-blacklist", fresh_boot: true, needs: FORBIDDEN, run: kernel_blacklist },
    Scenario { name: "outcome-explicit-init-failed", fresh_boot: false, needs: NEEDS, run: explicit_init_failed },
    Scenario { name: "outcome-killed-before-admission", fresh_boot: true, needs: KILLABLE, run: killed_in_the_queue },
];

/// The denial is seen with every attach method.
fn denied(ctx: &mut Ctx) -> Result<()> {
    for attach in ["auto", "kprobe", "trampoline"] {
        denied_by(ctx, Refuser::ModifiedReturn, attach)?;
    }
    Ok(())
}

fn denied_by_lsm(ctx: &mut Ctx) -> Result<()> {
    denied_by(ctx, Refuser::Lsm, "auto")
}

/// A denial by a security module: the kernel starts no helper, and its own tracepoint does not fire.
fn denied_by(ctx: &mut Ctx, refuser: Refuser, attach: &str) -> Result<()> {
    let oracle = ctx.oracle()?;
    let tracer = ctx.watch(&["--attach", attach])?;
    let refusal = ctx.refuse_requests(refuser)?;
    let act = || Actor::socket(PF_ALG, 5, 0).named("sensor").as_user(1000);
    let report = ctx.act(act())?;
    drop(refusal);
    let later = ctx.act(act())?;
    let capture = tracer.stop()?;
    let events = ctx.oracle_events(&oracle)?;
    with_oracle(&capture, &events)?;
    equal("requests that the oracle saw", requests(&events), vec!["net-pf-38"])?;

    let [refused, granted] = capture.requests_for("net-pf-38")[..] else { bail!("expected two requests") };
    equal("pid", number(refused, "/process/pid"), Some(u64::from(report.pid)))?;
    equal("comm", text(refused, "/process/comm"), "sensor")?;
    equal("uid", number(refused, "/process/uid"), Some(1000))?;
    equal("system call", text(refused, "/syscall"), "socket")?;
    equal("helpers", capture.belonging_to(refused, "helper").len(), 0)?;
    let result = capture.result_of(refused)?;
    expect_status(result, "denied", "exact")?;
    equal("errno", text(result, "/errno"), "EPERM")?;
    equal("code", result["code"].as_i64(), Some(-1))?;
    equal("pid of the next", number(granted, "/process/pid"), Some(u64::from(later.pid)))?;
    expect_status(capture.result_of(granted)?, "loaded", "exact")?;
    ctx.unload(&["af_alg"])
}

/// A subscription to connection tracking events: the kernel makes a request and does not wait.
fn not_waited(ctx: &mut Ctx) -> Result<()> {
    const NETLINK_NETFILTER: u32 = 12;
    let oracle = ctx.oracle()?;
    let tracer = ctx.watch(&[])?;
    let deed = Action::Netlink { protocol: NETLINK_NETFILTER, groups: 1 };
    let report = ctx.act(Actor::new(deed).named("listener"))?;
    // The load happens after the requester has exited.
    ctx.run(&["sleep", "4"])?.ok()?;
    let capture = tracer.stop()?;
    with_oracle(&capture, &ctx.oracle_events(&oracle)?)?;
    let request = capture.request_for("nfnetlink-subsys-1")?;
    equal("pid", number(request, "/process/pid"), Some(u64::from(report.pid)))?;
    equal("waits", request["wait"].as_bool(), Some(false))?;
    equal("system call", text(request, "/syscall"), "bind")?;
    let modules = capture.modules_of(request);
    equal("last module", modules.last().map(String::as_str), Some("nf_conntrack_netlink"))?;
    expect_status(capture.result_of(request)?, "not-waited", "exact")
}

/// insmod does not load dependencies, so the kernel reports an unknown symbol.
fn unknown_symbol(ctx: &mut Ctx) -> Result<()> {
    let file = ctx.run(&["modinfo", "-n", "vxlan"])?.ok()?.stdout.trim().to_owned();
    let tracer = ctx.watch(&[])?;
    ensure("insmod fails", ctx.run(&["/sbin/insmod", &file])?.code != 0)?;
    let capture = tracer.stop()?;
    capture.expect_complete()?;
    let attempt = capture.of_type("attempt").next().context("no attempt")?;
    equal("errno", text(attempt, "/errno"), "ENOENT")?;
    equal("by", text(attempt, "/process/comm"), "insmod")?;
    ensure("no module is loaded", capture.modules().is_empty())?;
    let result = capture.of_type("result").next().context("no result")?;
    equal("loader", &result["loader"]["pid"], &attempt["process"]["pid"])?;
    expect_status(result, "failed", "exact")?;
    equal("errno of the result", text(result, "/errno"), "ENOENT")
}

/// A module file for another kernel.
fn wrong_vermagic(ctx: &mut Ctx) -> Result<()> {
    changed_module(ctx, "ENOEXEC", |bytes| {
        change_vermagic(bytes)?;
        remove_signature_marker(bytes);
        Ok(())
    })
}

/// A module file that was modified after signing.
fn wrong_signature(ctx: &mut Ctx) -> Result<()> {
    changed_module(ctx, "EKEYREJECTED", |bytes| change_vermagic(bytes))
}

/// A module file without a signature, where the kernel requires one.
fn absent_signature(ctx: &mut Ctx) -> Result<()> {
    fs::write("/sys/module/module/parameters/sig_enforce", "1").context("cannot require signatures")?;
    changed_module(ctx, "EKEYREJECTED", |bytes| {
        remove_signature_marker(bytes);
        Ok(())
    })
}

/// Changes the vermagic of a module file to that of another kernel.
fn change_vermagic(bytes: &mut [u8]) -> Result<()> {
    // With symbol versions, the kernel ignores the release at the start.
    let magic = b" SMP ";
    let at = bytes.windows(magic.len()).position(|window| window == magic).context("no vermagic")?;
    bytes[at + 1] = b'X';
    Ok(())
}

/// Removes the marker at the end of the file, which announces a signature.
fn remove_signature_marker(bytes: &mut Vec<u8>) {
    bytes.truncate(bytes.len().saturating_sub(1));
}

/// The uncompressed content of a module file.
fn unpacked(ctx: &mut Ctx, file: &str) -> Result<Vec<u8>> {
    const UNPACKED: &str = "/run/unpacked.ko";
    if !file.ends_with(".xz") {
        return fs::read(file).with_context(|| format!("cannot read {file}"));
    }
    ctx.run(&["/bin/sh", "-c", &format!("busybox xzcat {file} > {UNPACKED}")])?.ok()?;
    fs::read(UNPACKED).with_context(|| format!("cannot read {UNPACKED}"))
}

/// A request for a module whose file was modified fails in the kernel with this errno.
fn changed_module(ctx: &mut Ctx, errno: &str, change: fn(&mut Vec<u8>) -> Result<()>) -> Result<()> {
    let file = ctx.run(&["modinfo", "-n", "af_alg"])?.ok()?.stdout.trim().to_owned();
    let mut bytes = unpacked(ctx, &file)?;
    change(&mut bytes)?;
    // modprobe detects compression by the content of the file, not by its name.
    fs::write(&file, bytes).with_context(|| format!("cannot write {file}"))?;
    refused_module(ctx, errno)
}

/// A kernel argument forbids the module.
fn kernel_blacklist(ctx: &mut Ctx) -> Result<()> {
    refused_module(ctx, "EPERM")
}

/// A request for a module that the kernel rejects with this errno.
fn refused_module(ctx: &mut Ctx, errno: &str) -> Result<()> {
    let oracle = ctx.oracle()?;
    let tracer = ctx.watch(&[])?;
    ctx.act(Actor::socket(PF_ALG, 5, 0))?;
    let capture = tracer.stop()?;
    with_oracle(&capture, &ctx.oracle_events(&oracle)?)?;
    let request = capture.request_for("net-pf-38")?;
    let result = capture.result_of(request)?;
    expect_status(result, "failed", "exact")?;
    equal("errno", text(result, "/errno"), errno)?;
    contains("detail", &text(result, "/detail"), "af_alg.ko")?;
    let attempt = capture.belonging_to(request, "attempt").into_iter().next().context("no attempt")?;
    contains("file", &text(attempt, "/file"), "/af_alg.ko")?;
    equal("errno of the attempt", text(attempt, "/errno"), errno)?;
    ensure("nothing is loaded", capture.modules().is_empty())
}

/// modprobe of a module that the processor does not support: its init fails, and the module is removed.
fn explicit_init_failed(ctx: &mut Ctx) -> Result<()> {
    let oracle = ctx.oracle()?;
    let tracer = ctx.watch(&[])?;
    ensure("modprobe fails", ctx.run(&["/sbin/modprobe", "acpi_cpufreq"])?.code != 0)?;
    let capture = tracer.stop()?;
    with_oracle(&capture, &ctx.oracle_events(&oracle)?)?;
    let init = capture.of_type("init").find(|init| init["module"] == "acpi_cpufreq").context("no init")?;
    equal("return value of its init", init["ret"].as_i64(), Some(-19))?;
    let result = capture.of_type("result").next().context("no result")?;
    equal("loader", number(result, "/loader/pid"), number(init, "/pid"))?;
    expect_status(result, "failed", "exact")?;
    equal("errno", text(result, "/errno"), "ENODEV")?;
    ensure("it is not loaded", !Path::new("/sys/module/acpi_cpufreq/initstate").exists())
}

/// All 50 places are taken, and a request that waits for one is killed. The kernel's tracepoint never sees it.
fn killed_in_the_queue(ctx: &mut Ctx) -> Result<()> {
    let script = helper_script(ctx, ": > /run/turn.$$; sleep 15; exit 1")?;
    let oracle = ctx.oracle()?;
    let tracer = ctx.watch(&[])?;
    let actors = (0..50).map(|n| Actor::mount(&format!("slow{n}")).named(&format!("slow{n}")));
    let group = ctx.actor_group(actors.collect())?;
    let late = "until set -- /run/turn.*; [ $# -ge 50 ]; do sleep 0.2; done; \
                mount -t latefs none /mnt & sleep 1; kill -9 $!; wait";
    with_modprobe(script, || {
        let others = thread::spawn(|| group.release());
        ctx.run(&["bash", "-c", late])?.ok()?;
        others.join().map_err(|_| anyhow::anyhow!("a thread panicked"))?
    })?;
    let capture = tracer.stop()?;
    capture.expect_complete()?;
    let request = capture.request_for("fs-latefs")?;
    let result = capture.result_of(request)?;
    // If its end is seen late on a slow machine, the kernel may have given it up instead, and the outcome is unknown.
    let is_seen_late = || Some(number(result, "/boot_ns")? - number(request, "/boot_ns")? > 3_000_000_000);
    if text(result, "/status") != "unknown" || is_seen_late() != Some(true) {
        expect_status(result, "interrupted", "inferred")?;
        equal("rule", text(result, "/rule"), "killed-before-admission")?;
    }
    equal("helpers", capture.belonging_to(request, "helper").len(), 0)?;
    equal("requests", capture.of_type("request").count(), 51)?;
    let admitted = ctx.oracle_events(&oracle)?;
    equal("requests that the oracle saw", requests(&admitted).len(), 50)
}
