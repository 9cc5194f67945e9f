//! The activity on a generated machine: one chain at a time, each with a few events.

use anyhow::{Context as _, Result};

use super::fixtures::{BASELINE, DEVICES, EXPLICIT, End, PLACES, PROGRAMS, Place, Program};
use super::stream::{Pid, Stream, program, tool};

const EXACT: &str = r#""attribution":"exact""#;

/// Parents of a helper that the kernel started.
const BY_KERNEL: &str = r#"[{"pid":9,"start_ns":524000000,"comm":"kworker/u4:0","uid":0,"kthread":true},{"pid":2,"start_ns":404000000,"comm":"kthreadd","uid":0,"kthread":true}]"#;

/// The contexts of helpers and udev.
const ROOT: Place = Place { uid: 0, user: "root", unit: "", container: "", cgroup: "/" };
const UDEV: Place = Place {
    uid: 0,
    user: "root",
    unit: "systemd-udevd.service",
    container: "",
    cgroup: "/system.slice/systemd-udevd.service",
};

/// Writes the header and the baseline.
pub(super) fn begin(stream: &mut Stream<'_>, host: &str, boot_id: &str) -> Result<()> {
    let hooks = [
        ("request", "fexit+kprobe", "security_kernel_module_request"),
        ("result", "fexit+kprobe", "call_usermodehelper_exec"),
        ("helper", "kprobe", "call_usermodehelper_exec_async"),
        ("load", "kprobe", "do_init_module"),
        ("init", "fexit", "do_init_module"),
    ];
    let hooks: Vec<String> = hooks
        .iter()
        .map(|(hook, attached, target)| format!(r#"{{"hook":"{hook}","attached":"{attached}","target":"{target}"}}"#))
        .collect();
    let header = format!(
        r##""schema":1,"tool":"kmodtrace generator","kernel":"6.1.0-56-amd64","kernel_version":"#1 SMP PREEMPT_DYNAMIC Debian 6.1.192-2 (2026-11-16)","arch":"x86_64","hostname":"{host}","boot_id":"{boot_id}","machine_id":"{}","modprobe":"/sbin/modprobe","realtime_minus_boot_ns":1772323200000000000,"clock_uncertainty_ns":160,"boot_minus_monotonic_ns":0,"recording":"{}","segment":0,"hooks":[{}]"##,
        boot_id.replace('-', ""),
        &boot_id[24..],
        hooks.join(",")
    );
    stream.event(None, "header", &header)?;
    let modules: Vec<String> = BASELINE.iter().map(|name| format!("\"{name}\"")).collect();
    stream.event(None, "baseline", &format!(r#""modules":[{}]"#, modules.join(",")))
}

/// Writes the end event.
pub(super) fn end(stream: &mut Stream<'_>) -> Result<()> {
    let members = format!(
        r#""requests":{},"loads":{},"unloads":{},"lost":{}"#,
        stream.requests, stream.loads, stream.unloads, stream.lost
    );
    stream.event(None, "end", &members)
}

/// Writes the next chain or event.
pub(super) fn next(stream: &mut Stream<'_>) -> Result<()> {
    stream.wait(50_000, 400_000_000);
    match stream.random.range(0, 1000) {
        0..=779 => request(stream),
        780..=899 => udev(stream),
        900..=997 => explicit_load(stream),
        _ => loss(stream),
    }
}

fn request(stream: &mut Stream<'_>) -> Result<()> {
    let requester = stream.random.skewed(PROGRAMS).context("no programs")?;
    let place = stream.random.skewed(PLACES).context("no places")?;
    let alias = stream.random.skewed(requester.requests).context("no aliases")?;
    let id = stream.process();
    let began_ns = stream.boot_ns;
    let request = format!("{began_ns}-{}", id.pid);
    let members = format!(
        r#""name":"{}","wait":true,"process":{},"ancestors":{},"syscall":"{}","stack":[{}],"explanation":"{}",{EXACT}"#,
        alias.name,
        program(requester, place, id),
        parents(id, place.uid),
        requester.syscall,
        stack(requester),
        alias.explanation
    );
    stream.event(Some(&request), "request", &members)?;
    stream.requests += 1;
    let status = match alias.end {
        End::Denied => {
            stream.wait(1_000, 9_000);
            r#""status":"denied","code":-1,"errno":"EPERM""#
        }
        End::NotFound => {
            helper(stream, &request, alias.name)?;
            r#""status":"not-found","code":256"#
        }
        End::Blocklisted => {
            helper(stream, &request, alias.name)?;
            r#""status":"blocklisted","code":256"#
        }
        End::AlreadyLoaded => {
            helper(stream, &request, alias.name)?;
            r#""status":"already-loaded","code":0"#
        }
        End::Loads(modules) => {
            let modprobe = helper(stream, &request, alias.name)?;
            for (place, module) in modules.iter().enumerate() {
                let is_last = place + 1 == modules.len();
                let reason = match (is_last, alias.name == *module) {
                    (false, _) => "dependency",
                    (true, true) => "asked",
                    (true, false) => "alias",
                };
                load(stream, &request, alias.name, modprobe, (module, reason), true)?;
                if alias.name == "crypto-xts(aes)" && *module == "cryptd" {
                    nested(stream, &request, modprobe)?;
                }
            }
            r#""status":"loaded","code":0"#
        }
        End::InitFails(module) => {
            let modprobe = helper(stream, &request, alias.name)?;
            load(stream, &request, alias.name, modprobe, (module, "alias"), false)?;
            r#""status":"failed","code":256,"errno":"ENODEV""#
        }
    };
    let duration_ns = stream.boot_ns - began_ns;
    // Only modprobe's configuration distinguishes these two.
    let attribution = match alias.end {
        End::NotFound => r#""attribution":"inferred","rule":"modprobe-config""#,
        End::Blocklisted => {
            r#""detail":"install /bin/false in modprobe.d","attribution":"inferred","rule":"modprobe-config""#
        }
        _ => EXACT,
    };
    stream.event(Some(&request), "result", &format!(r#"{status},"duration_ns":{duration_ns},{attribution}"#))
}

fn helper(stream: &mut Stream<'_>, request: &str, alias: &str) -> Result<Pid> {
    stream.wait(500_000, 3_000_000);
    let id = stream.process();
    let id = Pid { start_ns: stream.boot_ns - 400_000, ..id };
    let members = format!(
        r#""pid":{},"start_ns":{},"path":"/sbin/modprobe","argv":["/sbin/modprobe","-q","--","{alias}"],{EXACT}"#,
        id.pid, id.start_ns
    );
    stream.event(Some(request), "helper", &members)?;
    stream.wait(1_000_000, 20_000_000);
    Ok(id)
}

fn load(
    stream: &mut Stream<'_>,
    request: &str,
    alias: &str,
    modprobe: Pid,
    (module, reason): (&str, &str),
    init_succeeds: bool,
) -> Result<()> {
    let members = format!(
        r#""module":"{module}","origin":"request","process":{},"ancestors":{BY_KERNEL},"helper_depth":0,"file":"/usr/lib/modules/6.1.0-56-amd64/kernel/{module}.ko","taints":"","reason":"{reason}",{EXACT}"#,
        tool(&["/sbin/modprobe", "-q", "--", alias], &ROOT, modprobe)
    );
    stream.event(Some(request), "load", &members)?;
    stream.loads += 1;
    init(stream, Some(request), module, modprobe, if init_succeeds { 0 } else { -19 })
}

fn init(stream: &mut Stream<'_>, request: Option<&str>, module: &str, by: Pid, ret: i32) -> Result<()> {
    let duration_ns = stream.wait(20_000, 6_000_000);
    let members = format!(
        r#""module":"{module}","pid":{},"start_ns":{},"ret":{ret},"duration_ns":{duration_ns}"#,
        by.pid, by.start_ns
    );
    stream.event(request, "init", &members)
}

/// A module that the helper loads needs an algorithm: a nested request.
fn nested(stream: &mut Stream<'_>, parent: &str, modprobe: Pid) -> Result<()> {
    let began_ns = stream.wait(1_000, 5_000) + stream.boot_ns;
    stream.boot_ns = began_ns;
    let request = format!("{began_ns}-{}", modprobe.pid);
    let members = format!(
        r#""name":"crypto-aes","wait":true,"process":{},"ancestors":{BY_KERNEL},"stack":[{{"address":"0xffffffffc05a62ea","symbol":"crypto_larval_lookup","offset":74}}],"parent_request":"{parent}","parent_attribution":{{{EXACT}}},"in_init":"cryptd",{EXACT}"#,
        tool(&["/sbin/modprobe", "-q", "--", "crypto-xts(aes)"], &ROOT, modprobe)
    );
    stream.event(Some(&request), "request", &members)?;
    stream.requests += 1;
    let inner = helper(stream, &request, "crypto-aes")?;
    load(stream, &request, "crypto-aes", inner, ("aes_generic", "alias"), true)?;
    let duration_ns = stream.boot_ns - began_ns;
    let members = format!(r#""status":"loaded","code":0,"duration_ns":{duration_ns},{EXACT}"#);
    stream.event(Some(&request), "result", &members)
}

fn udev(stream: &mut Stream<'_>) -> Result<()> {
    const WORKER: Program =
        Program { comm: "(udev-worker)", exe: "/usr/bin/udevadm", argv: &[], syscall: "", stack: &[], requests: &[] };
    let (module, file) = *stream.random.skewed(DEVICES).context("no devices")?;
    let id = stream.process();
    let members = format!(
        r#""module":"{module}","origin":"udev","process":{},"ancestors":[{{"pid":301,"start_ns":1300000000,"comm":"systemd-udevd","exe":"udevadm","uid":0}},{{"pid":1,"start_ns":404000000,"comm":"systemd","exe":"systemd","uid":0}}],"file":"/usr/lib/modules/6.1.0-56-amd64/kernel/{file}.ko","taints":"",{EXACT}"#,
        program(&WORKER, &UDEV, id)
    );
    stream.event(None, "load", &members)?;
    stream.loads += 1;
    init(stream, None, module, id, 0)?;
    explicit_result(stream, id)
}

fn explicit_load(stream: &mut Stream<'_>) -> Result<()> {
    let module = *stream.random.skewed(EXPLICIT).context("no modules")?;
    let place = stream.random.skewed(PLACES).context("no places")?;
    let id = stream.process();
    let modprobe = tool(&["modprobe", module], place, id);
    let members = format!(
        r#""module":"{module}","origin":"explicit","process":{modprobe},"ancestors":{},"file":"/usr/lib/modules/6.1.0-56-amd64/kernel/{module}.ko","taints":"",{EXACT}"#,
        parents(id, place.uid)
    );
    stream.event(None, "load", &members)?;
    stream.loads += 1;
    init(stream, None, module, id, 0)?;
    explicit_result(stream, id)?;
    if stream.random.percent(30) {
        stream.wait(1_000_000_000, 9_000_000_000);
        let id = stream.process();
        let members = format!(
            r#""module":"{module}","process":{},"ancestors":{}"#,
            tool(&["modprobe", "-r", module], place, id),
            parents(id, place.uid)
        );
        stream.event(None, "unload", &members)?;
        stream.unloads += 1;
    }
    Ok(())
}

fn explicit_result(stream: &mut Stream<'_>, loader: Pid) -> Result<()> {
    let duration_ns = stream.random.range(100_000, 9_000_000);
    let members = format!(
        r#""loader":{{"pid":{},"start_ns":{}}},"status":"loaded","duration_ns":{duration_ns},{EXACT}"#,
        loader.pid, loader.start_ns
    );
    stream.event(None, "result", &members)
}

fn loss(stream: &mut Stream<'_>) -> Result<()> {
    let count = stream.random.range(1, 9);
    stream.lost += count;
    stream.event(None, "loss", &format!(r#""stage":"probe","cause":"ring_full","count":{count}"#))
}

fn parents(of: Pid, uid: u32) -> String {
    format!(
        r#"[{{"pid":{},"start_ns":{},"comm":"bash","exe":"bash","uid":{uid}}},{{"pid":512,"start_ns":4100000000,"comm":"sshd","exe":"sshd","uid":0}},{{"pid":480,"start_ns":3900000000,"comm":"sshd","exe":"sshd","uid":0}},{{"pid":1,"start_ns":404000000,"comm":"systemd","exe":"systemd","uid":0}}]"#,
        of.pid - 1,
        of.start_ns - 700_000
    )
}

fn stack(requester: &Program) -> String {
    let outermost = [("do_syscall_64", ""), ("entry_SYSCALL_64_after_hwframe", "")];
    let frames: Vec<String> =
        requester.stack.iter().chain(&outermost).map(|(symbol, module)| frame(symbol, module)).collect();
    frames.join(",")
}

fn frame(symbol: &str, module: &str) -> String {
    let spread: u64 = symbol.bytes().fold(7, |sum, byte| (sum * 31 + u64::from(byte)) % 0x00ff_ffff);
    let module = if module.is_empty() { String::new() } else { format!(r#","module":"{module}""#) };
    format!(r#"{{"address":"0xffffffffab{spread:06x}","symbol":"{symbol}","offset":{}{module}}}"#, spread % 500)
}
