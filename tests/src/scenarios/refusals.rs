//! Endings that the kernel decides in unusual ways: not waited for, refused files, killed before its turn.

use std::fs;
use std::path::Path;
use std::thread;

use anyhow::{Context as _, Result, bail};

use super::agreement::{ended, number, text, with_oracle};
use super::failures::{helper_script, with_modprobe};
use super::{Need, Scenario};
use crate::ctx::{Act, Ctx, Deed, Refuser, contains, equal, that};
use crate::oracle::requests;

const NEEDS: &[Need] = &[Need::Kmodtrace];

/// A kernel whose waiting for a turn can be killed.
const KILLABLE: &[Need] = &[Need::Kmodtrace, Need::KernelBefore(6, 4)];

/// A kernel that has BPF among its security modules: Debian's, from this one on.
const BPF_LSM: &[Need] = &[Need::Kmodtrace, Need::Kernel(6, 1)];

/// The kernel's own list of modules that it never takes.
const FORBIDDEN: &[Need] = &[Need::Kmodtrace, Need::KernelArgument("module_blacklist=af_alg")];

/// Crypto sockets.
const PF_ALG: u16 = 38;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "ending-denied", fresh_boot: false, needs: NEEDS, run: denied },
    Scenario { name: "ending-denied-by-bpf-lsm", fresh_boot: false, needs: BPF_LSM, run: denied_by_lsm },
    Scenario { name: "ending-not-waited", fresh_boot: true, needs: NEEDS, run: not_waited },
    Scenario { name: "ending-unknown-symbol", fresh_boot: false, needs: NEEDS, run: unknown_symbol },
    Scenario { name: "ending-wrong-vermagic", fresh_boot: true, needs: NEEDS, run: wrong_vermagic },
    Scenario { name: "ending-wrong-signature", fresh_boot: true, needs: NEEDS, run: wrong_signature },
    Scenario { name: "ending-absent-signature", fresh_boot: true, needs: NEEDS, run: absent_signature },
    Scenario { name: "ending-kernel-blacklist", fresh_boot: true, needs: FORBIDDEN, run: kernel_blacklist },
    Scenario { name: "ending-explicit-init-failed", fresh_boot: false, needs: NEEDS, run: explicit_init_failed },
    Scenario { name: "ending-killed-before-its-turn", fresh_boot: true, needs: KILLABLE, run: killed_in_the_queue },
];

/// However the tracer is attached, it sees the refusal that the requester got.
fn denied(ctx: &mut Ctx) -> Result<()> {
    for attach in ["auto", "kprobe", "trampoline"] {
        denied_by(ctx, Refuser::ModifiedReturn, attach)?;
    }
    Ok(())
}

fn denied_by_lsm(ctx: &mut Ctx) -> Result<()> {
    denied_by(ctx, Refuser::Lsm, "auto")
}

/// A security module refuses: the kernel asks nobody, and its own tracepoint stays silent.
fn denied_by(ctx: &mut Ctx, refuser: Refuser, attach: &str) -> Result<()> {
    let oracle = ctx.oracle()?;
    let tracer = ctx.watch(&["--attach", attach])?;
    let refusal = ctx.refuse_requests(refuser)?;
    let act = || Act::socket(PF_ALG, 5, 0).named("sensor").as_user(1000);
    let report = ctx.act(act())?;
    drop(refusal);
    let later = ctx.act(act())?;
    let capture = tracer.stop()?;
    let events = ctx.oracle_events(&oracle)?;
    with_oracle(&capture, &events)?;
    equal("requests that the oracle saw", requests(&events), vec!["net-pf-38"])?;

    let [refused, granted] = capture.requests_for("net-pf-38")[..] else { bail!("not two requests") };
    equal("pid", number(refused, "/process/pid"), Some(u64::from(report.pid)))?;
    equal("comm", text(refused, "/process/comm"), "sensor")?;
    equal("uid", number(refused, "/process/uid"), Some(1000))?;
    equal("system call", text(refused, "/syscall"), "socket")?;
    equal("helpers", capture.belonging_to(refused, "helper").len(), 0)?;
    let result = capture.result_of(refused)?;
    ended(result, "denied", "exact")?;
    equal("errno", text(result, "/errno"), "EPERM")?;
    equal("code", result["code"].as_i64(), Some(-1))?;
    equal("pid of the next", number(granted, "/process/pid"), Some(u64::from(later.pid)))?;
    ended(capture.result_of(granted)?, "loaded", "exact")?;
    ctx.unload(&["af_alg"])
}

/// A subscription to connection tracking events: the kernel asks and does not wait.
fn not_waited(ctx: &mut Ctx) -> Result<()> {
    const NETLINK_NETFILTER: u32 = 12;
    let oracle = ctx.oracle()?;
    let tracer = ctx.watch(&[])?;
    let deed = Deed::Netlink { protocol: NETLINK_NETFILTER, groups: 1 };
    let report = ctx.act(Act::new(deed).named("listener"))?;
    // It loads behind the requester's back.
    ctx.run(&["sleep", "4"])?.ok()?;
    let capture = tracer.stop()?;
    with_oracle(&capture, &ctx.oracle_events(&oracle)?)?;
    let request = capture.request_for("nfnetlink-subsys-1")?;
    equal("pid", number(request, "/process/pid"), Some(u64::from(report.pid)))?;
    equal("waits", request["wait"].as_bool(), Some(false))?;
    equal("system call", text(request, "/syscall"), "bind")?;
    let modules = capture.modules_of(request);
    equal("last module", modules.last().map(String::as_str), Some("nf_conntrack_netlink"))?;
    ended(capture.result_of(request)?, "not-waited", "exact")
}

/// insmod does not fetch what a module needs: the kernel finds a symbol missing.
fn unknown_symbol(ctx: &mut Ctx) -> Result<()> {
    let file = ctx.run(&["modinfo", "-n", "vxlan"])?.ok()?.stdout.trim().to_owned();
    let tracer = ctx.watch(&[])?;
    that("insmod fails", ctx.run(&["/sbin/insmod", &file])?.code != 0)?;
    let capture = tracer.stop()?;
    capture.expect_whole()?;
    let attempt = capture.of_type("attempt").next().context("no attempt")?;
    equal("errno", text(attempt, "/errno"), "ENOENT")?;
    equal("by", text(attempt, "/process/comm"), "insmod")?;
    that("nothing arrived", capture.modules().is_empty())?;
    let result = capture.of_type("result").next().context("no result")?;
    equal("loader", &result["loader"]["pid"], &attempt["process"]["pid"])?;
    ended(result, "failed", "exact")?;
    equal("errno of the result", text(result, "/errno"), "ENOENT")
}

/// A module file that was made for another kernel.
fn wrong_vermagic(ctx: &mut Ctx) -> Result<()> {
    changed_module(ctx, "ENOEXEC", |bytes| {
        other_vermagic(bytes)?;
        unsign(bytes);
        Ok(())
    })
}

/// A module file that was changed after it was signed.
fn wrong_signature(ctx: &mut Ctx) -> Result<()> {
    changed_module(ctx, "EKEYREJECTED", |bytes| other_vermagic(bytes))
}

/// A module file without a signature, where the kernel wants one.
fn absent_signature(ctx: &mut Ctx) -> Result<()> {
    fs::write("/sys/module/module/parameters/sig_enforce", "1").context("cannot make signatures a must")?;
    changed_module(ctx, "EKEYREJECTED", |bytes| {
        unsign(bytes);
        Ok(())
    })
}

/// Makes a module's file say that it is for another kernel.
fn other_vermagic(bytes: &mut [u8]) -> Result<()> {
    // The release in front is passed over where symbols have versions.
    let magic = b" SMP ";
    let at = bytes.windows(magic.len()).position(|window| window == magic).context("no vermagic")?;
    bytes[at + 1] = b'X';
    Ok(())
}

/// Breaks the mark at the end of the file that says that there is a signature in front of it.
fn unsign(bytes: &mut Vec<u8>) {
    bytes.truncate(bytes.len().saturating_sub(1));
}

/// A module's file as the kernel wants it, whatever the distribution packed it with.
fn unpacked(ctx: &mut Ctx, file: &str) -> Result<Vec<u8>> {
    const UNPACKED: &str = "/run/unpacked.ko";
    if !file.ends_with(".xz") {
        return fs::read(file).with_context(|| format!("cannot read {file}"));
    }
    ctx.run(&["/bin/sh", "-c", &format!("busybox xzcat {file} > {UNPACKED}")])?.ok()?;
    fs::read(UNPACKED).with_context(|| format!("cannot read {UNPACKED}"))
}

/// A request whose module's file was changed fails in the kernel, with this errno.
fn changed_module(ctx: &mut Ctx, errno: &str, change: fn(&mut Vec<u8>) -> Result<()>) -> Result<()> {
    let file = ctx.run(&["modinfo", "-n", "af_alg"])?.ok()?.stdout.trim().to_owned();
    let mut bytes = unpacked(ctx, &file)?;
    change(&mut bytes)?;
    // modprobe looks at what is in the file, not at its name.
    fs::write(&file, bytes).with_context(|| format!("cannot write {file}"))?;
    refused_module(ctx, errno)
}

/// The kernel was told at boot never to take the module.
fn kernel_blacklist(ctx: &mut Ctx) -> Result<()> {
    refused_module(ctx, "EPERM")
}

/// A request whose module the kernel does not take, for this reason.
fn refused_module(ctx: &mut Ctx, errno: &str) -> Result<()> {
    let oracle = ctx.oracle()?;
    let tracer = ctx.watch(&[])?;
    ctx.act(Act::socket(PF_ALG, 5, 0))?;
    let capture = tracer.stop()?;
    with_oracle(&capture, &ctx.oracle_events(&oracle)?)?;
    let request = capture.request_for("net-pf-38")?;
    let result = capture.result_of(request)?;
    ended(result, "failed", "exact")?;
    equal("errno", text(result, "/errno"), errno)?;
    contains("detail", &text(result, "/detail"), "af_alg.ko")?;
    let attempt = capture.belonging_to(request, "attempt").into_iter().next().context("no attempt")?;
    contains("file", &text(attempt, "/file"), "/af_alg.ko")?;
    equal("errno of the attempt", text(attempt, "/errno"), errno)?;
    that("nothing is loaded", capture.modules().is_empty())
}

/// A processor without the extension: what the module needs stays, it does not.
fn explicit_init_failed(ctx: &mut Ctx) -> Result<()> {
    let oracle = ctx.oracle()?;
    let tracer = ctx.watch(&[])?;
    that("modprobe fails", ctx.run(&["/sbin/modprobe", "acpi_cpufreq"])?.code != 0)?;
    let capture = tracer.stop()?;
    with_oracle(&capture, &ctx.oracle_events(&oracle)?)?;
    let init = capture.of_type("init").find(|init| init["module"] == "acpi_cpufreq").context("no init")?;
    equal("what its init returned", init["ret"].as_i64(), Some(-19))?;
    let result = capture.of_type("result").next().context("no result")?;
    equal("loader", number(result, "/loader/pid"), number(init, "/pid"))?;
    ended(result, "failed", "exact")?;
    equal("errno", text(result, "/errno"), "ENODEV")?;
    that("it is not there", !Path::new("/sys/module/acpi_cpufreq/initstate").exists())
}

/// All 50 places are taken; one that waits for its turn is killed. The kernel's tracepoint never sees it.
fn killed_in_the_queue(ctx: &mut Ctx) -> Result<()> {
    let script = helper_script(ctx, ": > /run/turn.$$; sleep 15; exit 1")?;
    let oracle = ctx.oracle()?;
    let tracer = ctx.watch(&[])?;
    let acts = (0..50).map(|n| Act::mount(&format!("slow{n}")).named(&format!("slow{n}")));
    let crowd = ctx.crowd(acts.collect())?;
    let late = "until set -- /run/turn.*; [ $# -ge 50 ]; do sleep 0.2; done; \
                mount -t latefs none /mnt & sleep 1; kill -9 $!; wait";
    with_modprobe(script, || {
        let others = thread::spawn(|| crowd.release());
        ctx.run(&["bash", "-c", late])?.ok()?;
        others.join().map_err(|_| anyhow::anyhow!("the crowd panicked"))?
    })?;
    let capture = tracer.stop()?;
    capture.expect_whole()?;
    let request = capture.request_for("fs-latefs")?;
    let result = capture.result_of(request)?;
    // Where the machine is so slow that its end is seen late, it may have been given up as well.
    let is_seen_late = || Some(number(result, "/boot_ns")? - number(request, "/boot_ns")? > 3_000_000_000);
    if text(result, "/status") != "unknown" || is_seen_late() != Some(true) {
        ended(result, "interrupted", "inferred")?;
        equal("rule", text(result, "/rule"), "killed-before-admission")?;
    }
    equal("helpers", capture.belonging_to(request, "helper").len(), 0)?;
    equal("requests", capture.of_type("request").count(), 51)?;
    let admitted = ctx.oracle_events(&oracle)?;
    equal("requests that the oracle saw", requests(&admitted).len(), 50)
}
