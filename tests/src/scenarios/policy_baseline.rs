//! `snapshot` and `diff`: a regression injected into modules.alias is reported with its requester.

use std::fs;
use std::os::unix::fs::symlink;

use anyhow::{Context as _, Result};

use super::policy::script;
use super::{Need, Scenario};
use crate::ctx::{Ctx, contains, ensure, equal};

const NEEDS: &[Need] = &[Need::Kmodtrace, Need::Program("busybox")];

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "policy-diff-names-an-injected-regression", fresh_boot: true, needs: NEEDS, run: injected },
    Scenario { name: "policy-snapshot-is-stable", fresh_boot: true, needs: NEEDS, run: stable },
];

/// Three requests: one by a program that opens a socket, two by mount.
const SUITE: &str = "#!/bin/sh
/usr/bin/kmodtrace-guest act socket 38 5 0
mount -t squashfs none /mnt
mount -t udf none /mnt
exit 0
";

const MODPROBE: &str = "/proc/sys/kernel/modprobe";

/// Runs the suite, stores its snapshot, and removes the loaded modules.
fn snapshot(ctx: &mut Ctx, name: &str) -> Result<String> {
    let (capture, out) = (format!("/tmp/{name}.jsonl"), format!("/tmp/{name}.json"));
    ctx.run(&["kmodtrace", "run", "--json", "--output", &capture, "--", "/root/suite.sh"])?.ok()?;
    let text = ctx.run(&["kmodtrace", "snapshot", &capture])?.ok()?.stdout;
    fs::write(&out, &text).with_context(|| format!("cannot write {out}"))?;
    // Newest first, so that dependants are removed before their dependencies.
    for module in ctx.run(&["cut", "-d", " ", "-f", "1", "/proc/modules"])?.ok()?.stdout.lines() {
        ctx.run(&["rmmod", module])?;
    }
    equal("modules left", fs::read_to_string("/proc/modules").context("no list of modules")?.as_str(), "")?;
    Ok(text)
}

/// busybox's modprobe reads modules.alias itself. One alias is removed from it, another is redirected.
fn injected(ctx: &mut Ctx) -> Result<()> {
    script(ctx, "/root/suite.sh", SUITE)?;
    symlink("/usr/bin/busybox", "/run/modprobe").context("cannot link busybox")?;
    fs::write(MODPROBE, "/run/modprobe").context("cannot set kernel.modprobe")?;
    let before = snapshot(ctx, "before")?;
    for module in ["\"af_alg\"", "\"squashfs\"", "\"udf\""] {
        contains("the snapshot", &before, module)?;
    }

    let release = ctx.run(&["uname", "-r"])?.ok()?.stdout.trim().to_owned();
    let path = format!("/lib/modules/{release}/modules.alias");
    let aliases = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let injected: String = aliases
        .lines()
        .filter(|line| *line != "alias net-pf-38 af_alg")
        .map(|line| if line == "alias fs-udf udf" { "alias fs-udf dummy" } else { line })
        .flat_map(|line| [line, "\n"])
        .collect();
    ensure("both aliases were there", injected.len() < aliases.len() && injected.contains("alias fs-udf dummy\n"))?;
    fs::write(&path, injected).with_context(|| format!("cannot write {path}"))?;
    snapshot(ctx, "after")?;

    let same = ctx.run(&["kmodtrace", "diff", "/tmp/before.json", "/tmp/before.json"])?;
    equal("no difference", (same.code, same.stdout.as_str()), (0, ""))?;
    let diff = ctx.run(&["kmodtrace", "diff", "/tmp/before.json", "/tmp/after.json"])?;
    equal("exit code", diff.code, 1)?;
    let line = |part: &str| {
        let line = diff.stdout.lines().find(|line| line.contains(part));
        line.map(str::to_owned).with_context(|| format!("no line with {part:?}"))
    };
    let removed = line("\"net-pf-38\"")?;
    for part in ["no longer auto-loads af_alg", "socket(AF_ALG)", "was loaded, now ", "by /usr/bin/kmodtrace-guest"] {
        contains("the removed alias", &removed, part)?;
    }
    // Of a script that has exited, only the name is known.
    for part in ["(`/usr/bin/kmodtrace-guest act socket 38 5 0` run by ", "suite.sh)"] {
        contains("the removed alias", &removed, part)?;
    }
    let redirected = line("\"fs-udf\"")?;
    for part in ["auto-loads others", "by /usr/bin/busybox (`mount -t udf none /mnt`", "udf", "now dummy"] {
        contains("the redirected alias", &redirected, part)?;
    }
    // Durations may differ.
    let mut loads = diff.stdout.lines().filter(|line| !line.contains(" is slower by "));
    ensure("an unchanged request is not reported", !loads.any(|line| line.contains("squashfs")))?;
    // git bisect run interprets 125 as a commit that cannot be tested.
    let cut = ctx.run(&[
        "sh",
        "-c",
        "head -n 4 /tmp/after.jsonl > /tmp/cut.jsonl; kmodtrace diff /tmp/before.json /tmp/cut.jsonl",
    ])?;
    equal("exit code for a truncated capture", cut.code, 125)
}

/// Two runs of a suite give the same compared part.
fn stable(ctx: &mut Ctx) -> Result<()> {
    script(ctx, "/root/suite.sh", SUITE)?;
    let compared = |text: &str| -> Result<serde_json::Value> {
        let value: serde_json::Value = serde_json::from_str(text).context("the snapshot is not JSON")?;
        Ok(value["compared"].clone())
    };
    let (first, second) = (snapshot(ctx, "first")?, snapshot(ctx, "second")?);
    equal("the compared part", compared(&second)?, compared(&first)?)?;
    let diff = ctx.run(&["kmodtrace", "diff", "/tmp/first.jsonl", "/tmp/second.json"])?;
    equal("no difference between a capture and a snapshot", diff.code, 0)
}
