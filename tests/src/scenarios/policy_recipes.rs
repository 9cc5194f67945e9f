//! The recipes of docs/ci.md and the script of action.yml, executed unchanged.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::policy::{policy, script};
use super::{Need, Scenario};
use crate::ctx::{Ctx, contains, ensure, equal};

const NEEDS: &[Need] = &[Need::Kmodtrace, Need::Program("ss"), Need::Program("busybox")];

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "policy-recipe-initramfs", fresh_boot: true, needs: NEEDS, run: initramfs },
    Scenario { name: "policy-recipe-kselftest", fresh_boot: true, needs: NEEDS, run: kselftest },
    Scenario { name: "policy-recipe-github-action", fresh_boot: true, needs: NEEDS, run: action },
];

const DOC: &str = include_str!("../../../docs/ci.md");
const ACTION: &str = include_str!("../../../action.yml");

/// A policy that inet_diag violates.
const NO_DIAG: &str = "default='allow'\n[[rule]]\nname='no diag'\naction='deny'\nmodule='inet_diag'\n";

/// The code block after the marker of a recipe.
fn recipe(name: &str) -> Result<String> {
    let mark = format!("<!-- recipe: {name} -->\n```sh\n");
    let (_, rest) = DOC.split_once(&mark).with_context(|| format!("docs/ci.md has no recipe {name}"))?;
    let (text, _) = rest.split_once("```").with_context(|| format!("recipe {name} has no end"))?;
    Ok(text.to_owned())
}

/// The last script of the action, which runs the command.
fn action_script() -> Result<String> {
    let (_, rest) = ACTION.rsplit_once("      run: |\n").context("action.yml has no script")?;
    Ok(rest.lines().flat_map(|line| [line.trim_start_matches("        "), "\n"]).collect())
}

/// Runs the initramfs recipe in a read-only root without cgroups, with busybox, kmodtrace, a policy and a suite.
fn initramfs(ctx: &mut Ctx) -> Result<()> {
    const ROOT: &str = "/run/bare";
    let file = |name: &str| format!("{ROOT}/{name}");
    for directory in ["bin", "proc", "sys", "dev", "lib64", "lib/x86_64-linux-gnu"] {
        fs::create_dir_all(file(directory)).context("cannot create the root")?;
    }
    for (from, to) in [
        ("/usr/bin/busybox", "bin/busybox"),
        ("/usr/bin/kmodtrace", "bin/kmodtrace"),
        // dash, because busybox's shell has a built-in poweroff, which would end the guest.
        ("/usr/bin/dash", "bin/sh"),
        ("/lib64/ld-linux-x86-64.so.2", "lib64/ld-linux-x86-64.so.2"),
        ("/lib/x86_64-linux-gnu/libc.so.6", "lib/x86_64-linux-gnu/libc.so.6"),
    ] {
        fs::copy(from, file(to)).with_context(|| format!("cannot copy {from}"))?;
    }
    for applet in ["mount", "ls", "touch"] {
        std::os::unix::fs::symlink("busybox", file(&format!("bin/{applet}"))).context("cannot link busybox")?;
    }
    fs::write(file("autoload.toml"), "version = 1\n[[rule]]\nname='udf'\naction='deny'\nmodule='udf'\n")?;
    for (name, text) in [
        ("init", recipe("initramfs")?),
        ("bin/poweroff", "#!/bin/sh\necho \"poweroff $*\"\n".to_owned()),
        (
            "tests.sh",
            "#!/bin/sh\ntouch /written && exit 9\nls /sys/fs/cgroup\nmount -t udf none /sys\nexit 0\n".to_owned(),
        ),
    ] {
        fs::write(file(name), text).with_context(|| format!("cannot write {name}"))?;
        ctx.run(&["chmod", "755", &file(name)])?.ok()?;
    }
    let boot = format!(
        "mount --bind {ROOT} {ROOT} && mount -o remount,bind,ro {ROOT} && \
         exec busybox chroot {ROOT} /bin/busybox env -i PATH=/bin /init"
    );
    let output = ctx.run(&["busybox", "unshare", "-m", "sh", "-c", &boot])?.ok()?;
    for part in [
        "KTAP version 1\n1..3\n",
        "\nnot ok 2 udf\n",
        "`mount -t udf none /sys` run by ",
        " loaded udf (asked for \"fs-udf\"",
        "autoload verdict: 1\npoweroff -f\n",
    ] {
        contains("console", &output.stdout, part)?;
    }
    ensure("the root could not be written", !Path::new(&file("written")).exists())
}

/// A replacement for run_kselftest.sh with the same output format: its output is unchanged, and the verdict is in a file.
fn kselftest(ctx: &mut Ctx) -> Result<()> {
    fs::create_dir_all("/root/kselftest").context("cannot make a directory")?;
    policy(ctx, "/root/kselftest/autoload.toml", NO_DIAG)?;
    script(
        ctx,
        "/root/kselftest/run_kselftest.sh",
        "#!/bin/sh\necho TAP version 13\necho 1..1\necho \"# selftests: $2: diag.sh\"\nss -tln | sed 's/^/# /'\n\
         echo \"ok 1 selftests: $2: diag.sh\"\n",
    )?;
    let command = format!("cd /root/kselftest\n{}", recipe("kselftest")?);
    let output = ctx.run(&["sh", "-c", &command])?;
    equal("exit code", output.code, 1)?;
    ensure(
        "the output of the run is unchanged",
        output.stdout.starts_with("TAP version 13\n1..1\n# selftests: net: diag.sh\n"),
    )?;
    let ktap = fs::read_to_string("/root/kselftest/autoload.ktap").context("no KTAP")?;
    contains("KTAP", &ktap, "`ss -tln` run by ")?;
    contains("KTAP", &ktap, "\nnot ok 2 no diag\n")?;
    let as_alice = format!("cd /root/kselftest\n{}", recipe("kselftest")?.replace("autoload.ktap", "/tmp/alice.ktap"));
    ctx.run(&["chmod", "755", "/root", "/root/kselftest"])?.ok()?;
    equal("exit code without privileges", ctx.run_as(1000, &["sh", "-c", &as_alice])?.code, 4)
}

/// The script of the action, with its inputs set as by the runner.
fn action(ctx: &mut Ctx) -> Result<()> {
    policy(ctx, "/root/autoload.toml", NO_DIAG)?;
    ctx.write_file(Path::new("/root/action.sh"), &action_script()?)?;
    let with = |command: &str| {
        [
            "env",
            "KMODTRACE=kmodtrace",
            "POLICY=/root/autoload.toml",
            &format!("COMMAND={command}"),
            "JUNIT=/tmp/action.xml",
            "TIMEOUT=60s",
            "bash",
            "--noprofile",
            "--norc",
            "-eo",
            "pipefail",
            "/root/action.sh",
        ]
        .map(str::to_owned)
    };
    for (command, code) in [("exit 3", 3), ("ss -tln; exit 0", 1)] {
        let argv = with(command);
        let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
        let output = ctx.run(&argv)?;
        equal(&format!("exit code of {command:?}"), output.code, code)?;
        if code == 1 {
            contains(
                "annotation",
                &output.stdout,
                "::error file=/root/autoload.toml,line=3,title=kmodtrace%3A no diag::`ss -tln`",
            )?;
        }
    }
    let junit = fs::read_to_string("/tmp/action.xml").context("no JUnit XML")?;
    contains("JUnit", &junit, "<failure message=\"`ss -tln` run by sh")
}
