//! The command line where tracing works: output, exit codes, and the error without privileges.

use anyhow::Result;

use super::{Need, Scenario};
use crate::ctx::{Actor, Ctx, contains, ensure, equal};

const NEEDS: &[Need] = &[Need::Kmodtrace];

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "cli-needs-privileges", fresh_boot: false, needs: NEEDS, run: needs_privileges },
    Scenario { name: "cli-run-keeps-the-exit-code", fresh_boot: false, needs: NEEDS, run: keeps_exit_codes },
    Scenario { name: "cli-probe-log-with-vv", fresh_boot: false, needs: NEEDS, run: probe_log },
    Scenario { name: "cli-closed-pipe-ends-quietly", fresh_boot: false, needs: NEEDS, run: closed_pipe },
    Scenario { name: "cli-tree-of-a-failed-request", fresh_boot: false, needs: NEEDS, run: tree },
];

/// Without privileges, the error is one sentence with a remedy, and the command is not run.
fn needs_privileges(ctx: &mut Ctx) -> Result<()> {
    let output = ctx.run_as(1000, &["kmodtrace", "run", "--", "echo", "ran"])?;
    equal("exit code", output.code, 125)?;
    equal("standard output", output.stdout.as_str(), "")?;
    contains("standard error", &output.stderr, "CAP_BPF")?;
    contains("standard error", &output.stderr, "sudo kmodtrace")?;
    equal("lines", output.stderr.lines().count(), 1)
}

fn keeps_exit_codes(ctx: &mut Ctx) -> Result<()> {
    for (command, code) in [
        (&["true"][..], 0),
        (&["sh", "-c", "exit 42"][..], 42),
        (&["sh", "-c", "kill -TERM $$"][..], 128 + 15),
        (&["no-such-command"][..], 127),
        (&["/etc/passwd"][..], 126),
    ] {
        let mut argv = vec!["kmodtrace", "run", "--"];
        argv.extend(command);
        equal(&format!("exit code of {command:?}"), ctx.run(&argv)?.code, code)?;
    }
    let output = ctx.run(&["kmodtrace", "run", "--", "echo", "untouched"])?.ok()?;
    equal("standard output", output.stdout.as_str(), "untouched\n")?;
    contains("summary", &output.stderr, "no module was loaded")
}

/// With -vv each probe logs its events; without it, nothing is logged.
fn probe_log(ctx: &mut Ctx) -> Result<()> {
    let request = ["--", "mount", "-t", "nosuchfs", "none", "/mnt"];
    for (option, is_expected) in [("-vv", true), ("-v", false)] {
        let mut argv = vec!["kmodtrace", option, "run"];
        argv.extend(request);
        let output = ctx.run(&argv)?;
        let is_logged = output.stderr.contains("debug: request by ");
        ensure(&format!("the request probe logs with {option}: {is_expected}"), is_logged == is_expected)?;
    }
    Ok(())
}

/// `kmodtrace watch | head -1` ends when head ends, without an error message.
fn closed_pipe(ctx: &mut Ctx) -> Result<()> {
    let script = "kmodtrace watch --json 2>/run/said | head -n 1 | cut -c 1-8; echo ${PIPESTATUS[0]}";
    // Later requests make it write again, into the closed pipe.
    let asks =
        "(for n in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do sleep 1; mount -t none$n none /mnt; done) >/dev/null 2>&1 &";
    let output = ctx.run(&["bash", "-c", &format!("{asks} {script}; cat /run/said >&2")])?.ok()?;
    equal("output and exit code", output.stdout.as_str(), "{\"seq\":0\n0\n")?;
    ensure("no error is printed", !output.stderr.contains("error"))
}

/// The tree of a request without a module.
fn tree(ctx: &mut Ctx) -> Result<()> {
    let tracer = ctx.watch_tree(&["--color", "never"])?;
    ctx.act(Actor::mount("nosuchfs").named("seeker"))?;
    let capture = tracer.stop()?;
    let text = capture.other.join("\n");
    for part in ["/run/actors/seeker act mount nosuchfs", "the kernel for \"fs-nosuchfs\" in mount()", "not-found"] {
        contains("tree", &text, part)?;
    }
    contains("summary", &capture.stderr, "1 request (1 not-found)")
}
