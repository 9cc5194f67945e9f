//! What is said where tracing cannot work: one sentence with the cause and what to do, and the documented exit code.

use anyhow::Result;

use super::{Need, Scenario};
use crate::ctx::{Ctx, Output, contains, equal, that};

const NEEDS: &[Need] = &[Need::Kmodtrace];
const CONFIDENTIAL: &[Need] = &[Need::Kmodtrace, Need::KernelArgument("lockdown=confidentiality")];
const INTEGRITY: &[Need] = &[Need::Kmodtrace, Need::KernelArgument("lockdown=integrity")];

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "error-locked-down", fresh_boot: true, needs: CONFIDENTIAL, run: locked_down },
    Scenario { name: "locked-down-for-integrity-traces", fresh_boot: true, needs: INTEGRITY, run: integrity },
    Scenario { name: "error-no-type-information", fresh_boot: false, needs: NEEDS, run: no_btf },
    Scenario { name: "error-of-usage", fresh_boot: false, needs: NEEDS, run: usage },
];

/// One sentence, nothing on standard output, 125.
fn refused(output: &Output, parts: &[&str]) -> Result<()> {
    equal("exit code", output.code, 125)?;
    equal("standard output", output.stdout.as_str(), "")?;
    equal("lines", output.stderr.lines().count(), 1)?;
    for part in parts {
        contains("what is said", &output.stderr, part)?;
    }
    Ok(())
}

/// The kernel lets nobody read its memory: nothing is run, and it is said why.
fn locked_down(ctx: &mut Ctx) -> Result<()> {
    for verb in [
        &["kmodtrace", "watch"][..],
        &["kmodtrace", "run", "--", "echo", "ran"],
        &["kmodtrace", "record", "-o", "/run/x"],
    ] {
        refused(&ctx.run(verb)?, &["lockdown=confidentiality", "until it boots without"])?;
    }
    let doctor = ctx.run(&["kmodtrace", "doctor"])?;
    equal("exit code of doctor", doctor.code, 1)?;
    contains("doctor", &doctor.stdout, "lockdown")?;
    // A pipeline can go on without a verdict, but only when it says so itself.
    let skipped = ctx.run(&["kmodtrace", "run", "--skip-if-unsupported", "--policy", "/run/no.toml", "--", "true"])?;
    equal("exit code for a policy that is not there", skipped.code, 125)
}

/// With the weaker form everything works.
fn integrity(ctx: &mut Ctx) -> Result<()> {
    let capture = ctx.trace_run(&[], &["mount", "-t", "nosuchfs", "none", "/mnt"])?;
    capture.expect_whole()?;
    let request = capture.request_for("fs-nosuchfs")?;
    equal("result", capture.result_of(request)?["status"].as_str(), Some("not-found"))
}

/// A kernel without BTF looks like this.
fn no_btf(ctx: &mut Ctx) -> Result<()> {
    ctx.run(&["mount", "-t", "tmpfs", "none", "/sys/kernel/btf"])?.ok()?;
    let output = ctx.run(&["kmodtrace", "run", "--", "echo", "ran"]);
    ctx.run(&["umount", "/sys/kernel/btf"])?.ok()?;
    refused(&output?, &["/sys/kernel/btf/vmlinux", "CONFIG_DEBUG_INFO_BTF=y"])
}

/// Rings that are too small, globs that are none, verbs and values that do not exist: what, where, and what there is.
fn usage(ctx: &mut Ctx) -> Result<()> {
    for (arguments, parts) in [
        (&["watch", "--ring-kib", "4"][..], &["--ring-kib", "power of two from 64"][..]),
        (&["watch", "--module", "[a"], &["--module", "unbalanced bracket"]),
        (&["watch", "--result", "sucess"], &["--result", "already-loaded"]),
        (&["watch", "--exit-on", "modul=x"], &["--exit-on", "module"]),
        (&["wacth"], &["wacth", "watch"]),
        (&["watch", "--duration", "soon"], &["--duration", "soon"]),
        (&["record", "--max-size", "many"], &["--max-size", "many"]),
    ] {
        let argv: Vec<&str> = ["kmodtrace"].iter().chain(arguments).copied().collect();
        let output = ctx.run(&argv)?;
        equal(&format!("exit code of {arguments:?}"), output.code, 125)?;
        that("nothing on standard output", output.stdout.is_empty())?;
        for part in parts {
            contains(&format!("what {arguments:?} says"), &output.stderr, part)?;
        }
    }
    Ok(())
}
