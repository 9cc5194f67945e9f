//! Errors where tracing is impossible: one sentence with cause and remedy, and the documented exit code.

use std::fs;

use anyhow::{Context as _, Result};

use super::{Need, Scenario};
use crate::ctx::{Ctx, Output, contains, ensure, equal};

const NEEDS: &[Need] = &[Need::Kmodtrace];
const CONFIDENTIAL: &[Need] = &[Need::Kmodtrace, Need::KernelArgument("lockdown=confidentiality")];
const INTEGRITY: &[Need] = &[Need::Kmodtrace, Need::KernelArgument("lockdown=integrity")];

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "error-lockdown-confidentiality", fresh_boot: true, needs: CONFIDENTIAL, run: locked_down },
    Scenario { name: "lockdown-integrity-traces", fresh_boot: true, needs: INTEGRITY, run: integrity },
    Scenario { name: "error-no-type-information", fresh_boot: false, needs: NEEDS, run: no_btf },
    Scenario { name: "error-usage", fresh_boot: false, needs: NEEDS, run: usage },
];

/// Checks for one sentence on stderr, empty stdout, and exit code 125.
fn refused(output: &Output, parts: &[&str]) -> Result<()> {
    equal("exit code", output.code, 125)?;
    equal("standard output", output.stdout.as_str(), "")?;
    equal("lines", output.stderr.lines().count(), 1)?;
    for part in parts {
        contains("message", &output.stderr, part)?;
    }
    Ok(())
}

/// The kernel forbids reading its memory: no command is run, and the error gives the reason.
fn locked_down(ctx: &mut Ctx) -> Result<()> {
    for verb in [
        &["kmodtrace", "watch"][..],
        &["kmodtrace", "run", "--", "echo", "ran"],
        &["kmodtrace", "record", "-o", "/run/x"],
    ] {
        refused(&ctx.run(verb)?, &["lockdown=confidentiality", "boot without it"])?;
    }
    let doctor = ctx.run(&["kmodtrace", "doctor"])?;
    equal("exit code of doctor", doctor.code, 1)?;
    contains("doctor", &doctor.stdout, "lockdown")?;
    // --skip-if-unsupported does not hide an error in the policy.
    let skipped = ctx.run(&["kmodtrace", "run", "--skip-if-unsupported", "--policy", "/run/no.toml", "--", "true"])?;
    equal("exit code for a policy that is not there", skipped.code, 125)
}

/// With lockdown=integrity, everything works.
fn integrity(ctx: &mut Ctx) -> Result<()> {
    let capture = ctx.trace_run(&[], &["mount", "-t", "nosuchfs", "none", "/mnt"])?;
    capture.expect_complete()?;
    let request = capture.request_for("fs-nosuchfs")?;
    equal("result", capture.result_of(request)?["status"].as_str(), Some("not-found"))
}

/// Simulates a kernel without BTF: an error, unless its types are given in a file.
fn no_btf(ctx: &mut Ctx) -> Result<()> {
    const FILE: &str = "/tmp/types.btf";
    ctx.run(&["cp", "/sys/kernel/btf/vmlinux", FILE])?.ok()?;
    let needless = ctx.run(&["kmodtrace", "run", "--btf", FILE, "--", "echo", "ran"])?;
    refused(&needless, &["invalid --btf", "leave the option out"])?;
    ctx.run(&["mount", "-t", "tmpfs", "none", "/sys/kernel/btf"])?.ok()?;
    let without = ctx.run(&["kmodtrace", "run", "--", "echo", "ran"]);
    let damaged = ctx.run(&["kmodtrace", "run", "--btf", "/etc/passwd", "--", "echo", "ran"]);
    let given = ctx.run(&["kmodtrace", "run", "--btf", FILE, "--", "mount", "-t", "nosuchfs", "none", "/mnt"]);
    ctx.run(&["umount", "/sys/kernel/btf"])?.ok()?;
    fs::remove_file(FILE).context("cannot remove the types")?;
    refused(&without?, &["/sys/kernel/btf/vmlinux", "CONFIG_DEBUG_INFO_BTF=y", "--btf FILE"])?;
    refused(&damaged?, &["BTF"])?;
    let given = given?;
    contains("warning", &given.stderr, "if it was not made for exactly this kernel")?;
    contains("request", &given.stderr, "asked    the kernel for \"fs-nosuchfs\" in mount()")
}

/// Invalid sizes, globs, verbs and values: the error names the option and the accepted values.
fn usage(ctx: &mut Ctx) -> Result<()> {
    for (arguments, parts) in [
        (&["watch", "--ring-kib", "4"][..], &["--ring-kib", "power of two from 64"][..]),
        (&["watch", "--module", "[a"], &["--module", "expected balanced brackets"]),
        (&["watch", "--result", "sucess"], &["--result", "already-loaded"]),
        (&["watch", "--exit-on", "modul=x"], &["--exit-on", "module"]),
        (&["wacth"], &["wacth", "watch"]),
        (&["watch", "--duration", "soon"], &["--duration", "soon"]),
        (&["record", "--max-size", "many"], &["--max-size", "many"]),
    ] {
        let argv: Vec<&str> = ["kmodtrace"].iter().chain(arguments).copied().collect();
        let output = ctx.run(&argv)?;
        equal(&format!("exit code of {arguments:?}"), output.code, 125)?;
        ensure("nothing on standard output", output.stdout.is_empty())?;
        for part in parts {
            contains(&format!("message of {arguments:?}"), &output.stderr, part)?;
        }
    }
    Ok(())
}
