//! The tracer in a container, and on a machine with cgroup v1: it follows its command exactly, and never reports that nothing was loaded
//! because its own view is too small.

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
        name: "run-without-cgroup-follows-what-detaches-itself",
        fresh_boot: false,
        needs: &[Need::Kmodtrace, Need::Program("busybox")],
        run: without_cgroup,
    },
    Scenario {
        name: "run-in-container-follows-its-command",
        fresh_boot: true,
        needs: &[Need::Kmodtrace, Need::Extras, Need::Program("unshare"), Need::Program("busybox")],
        run: container,
    },
    Scenario {
        name: "helper-files-are-those-of-the-host",
        fresh_boot: true,
        needs: &[Need::Kmodtrace, Need::Extras, Need::Program("unshare"), Need::Program("busybox")],
        run: helper_files,
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

/// A command that makes a request, loads a module, and does both again as a daemon whose parents have exited.
const COMMAND: &str = "mount -t boxed none /mnt\nmodprobe dummy\n\
                       (setsid sh -c 'mount -t detached none /mnt; modprobe veth; touch /run/detached' &)\n\
                       while ! test -e /run/detached; do sleep 0.1; done\nrm /run/detached\nmodprobe -r dummy veth\n";

/// Checks that the events include all that COMMAND did.
fn follows_command(events: &str) -> Result<()> {
    for part in ["\"name\":\"fs-boxed\"", "\"name\":\"fs-detached\"", "\"module\":\"dummy\"", "\"module\":\"veth\""] {
        contains("the events of the command", events, part)?;
    }
    Ok(())
}

/// Checks that a command in a container is followed with and without a cgroup of its own, also where it detaches itself; that a policy is
/// judged there; and that what happens outside of the container is not attributed to the command.
fn container(ctx: &mut Ctx) -> Result<()> {
    ctx.run(&["modprobe", "-r", "dummy", "veth"])?;
    ctx.write_file(Path::new("/run/command.sh"), COMMAND)?;
    let mut others = ctx.background(&[
        "busybox",
        "sh",
        "-c",
        "while :; do mount -t outside none /mnt 2>/dev/null; sleep 0.2; done",
    ])?;
    let read_only = format!("mount -o remount,bind,ro {CGROUPS} || exit 9; ");
    for (place, setup) in [("with", ""), ("without", read_only.as_str())] {
        let file = format!("/run/{place}.jsonl");
        let script = format!("{setup}kmodtrace run --json --output {file} -- sh /run/command.sh");
        let output = in_container(ctx, &script)?.ok()?;
        let events = fs::read_to_string(&file).context("cannot read the events of the container")?;
        follows_command(&events)?;
        ensure("a module is not reported as missing", !output.stderr.contains("no module was loaded"))?;
        ensure("another process is not in scope", !events.contains("fs-outside"))?;
        equal("cgroups that remain", own_cgroups(&format!("{CGROUPS}/box"))?, Vec::<String>::new())?;

        policy(ctx, "/run/deny.toml", "default = 'deny'\n")?;
        let script = format!("{setup}kmodtrace run --policy /run/deny.toml -- sh /run/command.sh");
        let judged = in_container(ctx, &script)?;
        equal("exit code of a policy that is violated", judged.code, 1)?;
        contains("the violation of the daemon", &judged.stderr, "veth")?;
    }
    others.output()?;

    let doctor = in_container(ctx, "kmodtrace doctor")?;
    contains("the findings", &doctor.stdout, "pid-namespace")
}

/// Checks that a command without a cgroup of its own is followed, also where it detaches itself, and that a policy is judged for it.
fn without_cgroup(ctx: &mut Ctx) -> Result<()> {
    ctx.run(&["modprobe", "-r", "dummy", "veth"])?;
    ctx.write_file(Path::new("/run/command.sh"), COMMAND)?;
    policy(ctx, "/run/deny.toml", "default = 'deny'\n")?;
    let mut bare = |command: &str| {
        let script =
            format!("mount --bind {CGROUPS} {CGROUPS} && mount -o remount,bind,ro {CGROUPS} || exit 9; {command}");
        ctx.run(&["busybox", "unshare", "-m", "sh", "-c", &script])
    };
    bare("kmodtrace run --json --output /run/bare.jsonl -- sh /run/command.sh")?.ok()?;
    follows_command(&fs::read_to_string("/run/bare.jsonl").context("cannot read the events")?)?;

    let daemon = "(setsid modprobe dummy &); while ! test -d /sys/module/dummy; do sleep 0.1; done; modprobe -r dummy";
    let judged = bare(&format!("kmodtrace run --policy /run/deny.toml -- sh -c '{daemon}'"))?;
    equal("exit code of a policy that a daemon violates", judged.code, 1)?;
    contains("the violation", &judged.stderr, "dummy")?;
    let held = bare("kmodtrace run --policy /run/deny.toml -- true")?;
    equal("exit code of a policy that holds", held.code, 0)?;
    // A hundred daemons leave no zombies behind, and the exit code is that of the command.
    let many = "i=0; while test $i -lt 100; do (setsid true &); i=$((i+1)); done; \
                while cat /proc/[0-9]*/stat 2>/dev/null | grep -q \") Z $PPID \"; do sleep 0.1; done; exit 3";
    equal("exit code of the command", bare(&format!("kmodtrace run -- sh -c '{many}'"))?.code, 3)
}

/// Checks that outcomes and explanations come from the files of the kernel's helper: in a mount namespace with another configuration, in
/// a service that sees the same files, and in a container that hides the helper's files, where the outcome is unknown.
fn helper_files(ctx: &mut Ctx) -> Result<()> {
    const EMPTY: &str = "mount -t tmpfs none /etc/modprobe.d || exit 9; ";
    const BLOCK: &str = "install udf /bin/false\n";
    let rules = Path::new("/etc/modprobe.d/rules.conf");
    let run = |name: &str| format!("kmodtrace run --json --output /run/{name}.jsonl -- mount -t udf none /mnt; :");
    let status = |name: &str| -> Result<(String, String)> {
        let file = format!("/run/{name}.jsonl");
        let events = fs::read_to_string(&file).with_context(|| format!("cannot read {file}"))?;
        let events = events.lines().map(serde_json::from_str::<Value>);
        let events: Vec<Value> = events.collect::<Result<_, _>>().with_context(|| format!("cannot parse {file}"))?;
        let result = events.iter().find(|event| event["type"] == "result").context("no result")?;
        Ok((text(result, "/status"), text(result, "/detail")))
    };
    let mut other = |script: &str| ctx.run(&["busybox", "unshare", "-m", "sh", "-c", script]);

    fs::write(rules, BLOCK).context("cannot write a rule")?;
    other(&format!("{EMPTY}{}", run("blocked")))?.ok()?;
    equal("status by the host's rule", status("blocked")?.0, "blocklisted")?;
    contains("explanation by the host's rule", &other(&format!("{EMPTY}kmodtrace explain udf"))?.stdout, "blocked")?;
    let refused = other(&format!("{EMPTY}kmodtrace block dummy"))?;
    equal("exit code of block", refused.code, 125)?;
    contains("reason", &refused.stderr, "nsenter -t 1 -m")?;
    contains("finding", &other(&format!("{EMPTY}kmodtrace doctor"))?.stdout, "another mount namespace")?;
    // The same files are there in a mount namespace of a service.
    equal("exit code of block", other("kmodtrace block dummy")?.code, 0)?;

    fs::remove_file(rules).context("cannot remove the rule")?;
    other(&format!("{EMPTY}printf '{}' >{}; {}", BLOCK.escape_default(), rules.display(), run("loaded")))?.ok()?;
    equal("status without a rule of the host", status("loaded")?.0, "loaded")?;
    ctx.unload(&["udf", "crc_itu_t"])?;

    fs::write(rules, BLOCK).context("cannot write a rule")?;
    let hidden = in_container(ctx, &run("hidden"))?.ok()?;
    contains("warning", &hidden.stderr, "--pid=host")?;
    let (status, detail) = status("hidden")?;
    ensure(&format!("{status}: {detail}"), status != "blocklisted" && status != "not-found")?;
    contains("the reason", &detail, "other files")?;
    let explained = in_container(ctx, "kmodtrace explain udf")?;
    contains("explanation", &format!("{}{}", explained.stdout, explained.stderr), "--pid=host")?;
    fs::remove_file(rules).context("cannot remove the rule")
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
