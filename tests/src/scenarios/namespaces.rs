//! The tracer in a container, and on a machine with cgroup v1: it follows its command exactly, or refuses; it never reports that
//! nothing was loaded because its own view is too small.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::oracle_check::text;
use super::policy::policy;
use super::{Need, Scenario};
use crate::ctx::{Ctx, contains, ensure, equal};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "run-removes-its-cgroup", fresh_boot: false, needs: &[Need::Kmodtrace], run: cgroup_removed },
    Scenario {
        name: "run-without-cgroup-judges-no-policy",
        fresh_boot: false,
        needs: &[Need::Kmodtrace, Need::Program("busybox")],
        run: without_cgroup,
    },
    Scenario {
        name: "run-in-container-follows-its-command-or-refuses",
        fresh_boot: true,
        needs: &[Need::Kmodtrace, Need::Extras, Need::Program("unshare")],
        run: container,
    },
    // It leaves a hierarchy of cgroup v1 behind.
    Scenario { name: "cgroup-v1-places-processes", fresh_boot: true, needs: &[Need::Kmodtrace], run: cgroup_v1 },
];

const CGROUPS: &str = "/sys/fs/cgroup";

/// The names of the cgroups that the tracer created below a cgroup.
fn own_cgroups(directory: &str) -> Result<Vec<String>> {
    let entries = fs::read_dir(directory).with_context(|| format!("cannot list {directory}"))?;
    let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let names: Vec<String> = names.collect::<Result<_>>()?;
    Ok(names.into_iter().filter(|name| name.starts_with("kmodtrace-")).collect())
}

/// Checks that the cgroup of a command is removed after the command, though privileges were dropped before.
fn cgroup_removed(ctx: &mut Ctx) -> Result<()> {
    let script = format!("ls -d {CGROUPS}/kmodtrace-*; mount -t cgroupless none /mnt; :");
    let capture = ctx.trace_run(&[], &["sh", "-c", &script])?;
    capture.request_for("fs-cgroupless")?;
    ensure("the command has a cgroup", capture.other.iter().any(|line| line.starts_with(CGROUPS)))?;
    equal("cgroups that remain", own_cgroups(CGROUPS)?, Vec::<String>::new())
}

/// Runs a shell script as pid 1 of a container with namespaces for processes, cgroups and mounts, as container engines do.
fn in_container(ctx: &mut Ctx, script: &str) -> Result<crate::ctx::Output> {
    let inner = format!("umount {CGROUPS} && mount -t cgroup2 none {CGROUPS} || exit 9; {script}");
    let outer = format!(
        "mkdir -p {CGROUPS}/box && echo $$ >{CGROUPS}/box/cgroup.procs && \
         exec unshare --pid --fork --cgroup --mount --mount-proc sh -c '{inner}'"
    );
    ctx.run(&["sh", "-c", &outer])
}

/// Checks that a command in a container is followed by its cgroup, also where it detaches itself; and that the tracer refuses,
/// with the option that helps, to judge a policy there, or to follow the command without a cgroup.
fn container(ctx: &mut Ctx) -> Result<()> {
    ctx.run(&["modprobe", "-r", "dummy"])?;
    let command = "mount -t boxed none /mnt\nmodprobe dummy\n\
                   (setsid sh -c 'mount -t detached none /mnt; touch /run/detached' &)\n\
                   while ! test -e /run/detached; do sleep 0.1; done\n";
    ctx.write_file(Path::new("/run/command.sh"), command)?;
    let output = in_container(ctx, "kmodtrace run --json --output /run/boxed.jsonl -- sh /run/command.sh")?.ok()?;
    let events = fs::read_to_string("/run/boxed.jsonl").context("cannot read the events of the container")?;
    for part in ["\"name\":\"fs-boxed\"", "\"name\":\"fs-detached\"", "\"module\":\"dummy\""] {
        contains("the events of the container", &events, part)?;
    }
    ensure("a module is not reported as missing", !output.stderr.contains("no module was loaded"))?;
    equal("cgroups that remain", own_cgroups(&format!("{CGROUPS}/box"))?, Vec::<String>::new())?;

    policy(ctx, "/run/deny.toml", "default = 'deny'\n")?;
    let judged = in_container(ctx, "kmodtrace run --policy /run/deny.toml -- touch /run/judged")?;
    equal("exit code with a policy", judged.code, 125)?;
    contains("the reason", &judged.stderr, "--pid=host")?;
    ensure("the command was not started", !fs::exists("/run/judged")?)?;

    let read_only = format!("mount -o remount,bind,ro {CGROUPS} || exit 9; kmodtrace run -- touch /run/followed");
    let followed = in_container(ctx, &read_only)?;
    equal("exit code without a cgroup", followed.code, 125)?;
    contains("the reason", &followed.stderr, "--pid=host")?;
    ensure("the command was not started", !fs::exists("/run/followed")?)?;

    let doctor = in_container(ctx, "kmodtrace doctor")?;
    contains("the findings", &doctor.stdout, "pid-namespace")
}

/// Checks that a command without a cgroup of its own is followed with a warning, and that no policy is judged for it.
fn without_cgroup(ctx: &mut Ctx) -> Result<()> {
    let mut bare = |command: &str| {
        let script =
            format!("mount --bind {CGROUPS} {CGROUPS} && mount -o remount,bind,ro {CGROUPS} || exit 9; {command}");
        ctx.run(&["busybox", "unshare", "-m", "sh", "-c", &script])
    };
    let followed = bare("kmodtrace run --json --output /run/bare.jsonl -- mount -t bare none /mnt")?;
    contains("the warning", &followed.stderr, "use --host to show all")?;
    let events = fs::read_to_string("/run/bare.jsonl").context("cannot read the events")?;
    contains("the events", &events, "\"name\":\"fs-bare\"")?;

    let write = "printf 'version = 1\\ndefault = \"deny\"\\n' >/run/bare.toml";
    let judged = bare(&format!("{write}; kmodtrace run --policy /run/bare.toml -- touch /run/bare"))?;
    equal("exit code with a policy", judged.code, 125)?;
    contains("the reason", &judged.stderr, "judge all processes with --host")?;
    ensure("the command was not started", !fs::exists("/run/bare")?)?;
    let host = bare("kmodtrace run --host --policy /run/bare.toml -- touch /run/bare")?;
    equal("exit code with --host", host.code, 0)
}

/// Checks a machine that has cgroup v2 without controllers and cgroup v1: container, pod and unit come from the hierarchy of the v1
/// controllers, filters find them, and `run` makes a cgroup there and judges a policy, also for a daemon.
fn cgroup_v1(ctx: &mut Ctx) -> Result<()> {
    const POD: &str = "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9";
    const V1: &str = "/run/cgroup/pids";
    ctx.run(&["modprobe", "-r", "dummy"])?;
    let mount = format!("mkdir -p {V1} && mount -t cgroup -o pids none {V1}");
    ctx.run(&["sh", "-c", &mount])?.ok()?;
    let id = "3f".repeat(32);
    let container = format!("/kubepods/burstable/pod{POD}/{id}");
    let service = "/system.slice/ssh.service";
    let (all, boxed) = (ctx.watch(&[])?, ctx.watch(&["--container", "kubernetes:*"])?);
    let in_unit = ctx.watch(&["--unit", "ssh.service"])?;
    // In cgroup v2, both are in the unit of their container engine.
    let engine = format!("{CGROUPS}/system.slice/engine.service");
    let actions = format!(
        "mkdir -p {engine} {V1}{container} {V1}{service} && echo 0 >{engine}/cgroup.procs || exit 9\n\
         (echo 0 >{V1}{container}/cgroup.procs && modprobe dummy)\n\
         (echo 0 >{V1}{service}/cgroup.procs && mount -t inunit none /mnt)\n:"
    );
    ctx.run(&["sh", "-c", &actions])?.ok()?;
    let (all, boxed, in_unit) = (all.stop()?, boxed.stop()?, in_unit.stop()?);
    all.expect_complete()?;
    let find = |pointer: &str, value: &str| {
        all.events.iter().find(|event| text(event, pointer) == value).with_context(|| format!("no {value}"))
    };
    let load = find("/module", "dummy")?;
    equal("cgroup", text(load, "/process/cgroup"), container.as_str())?;
    equal("hierarchy", text(load, "/process/cgroup_controller"), "pids")?;
    equal("container", text(load, "/process/container"), format!("kubernetes:{id}").as_str())?;
    equal("pod", text(load, "/process/pod"), POD)?;
    equal("unit", text(load, "/process/unit"), "")?;
    let inode = fs::metadata(format!("{V1}{container}"))?.ino();
    equal("id of the cgroup", load.pointer("/process/cgroup_id").and_then(Value::as_u64), Some(inode))?;
    let request = find("/name", "fs-inunit")?;
    equal("unit", text(request, "/process/unit"), "ssh.service")?;
    equal("container", text(request, "/process/container"), "")?;
    equal("modules of containers", boxed.modules(), vec!["dummy"])?;
    ensure("another process is not in a container", boxed.requests_for("fs-inunit").is_empty())?;
    in_unit.request_for("fs-inunit")?;

    ctx.unload(&["dummy"])?;
    let command = "(setsid sh -c 'modprobe dummy; touch /run/detached' &)\n\
                   while ! test -e /run/detached; do sleep 0.1; done\n";
    ctx.write_file(Path::new("/run/command.sh"), command)?;
    policy(ctx, "/run/deny.toml", "default = 'deny'\n")?;
    let judged = ctx.run(&["kmodtrace", "run", "--policy", "/run/deny.toml", "--", "sh", "/run/command.sh"])?;
    equal("exit code of a policy that a daemon violates", judged.code, 1)?;
    contains("the violation", &judged.stderr, "dummy")?;
    equal("cgroups that remain", own_cgroups(V1)?, Vec::<String>::new())
}
