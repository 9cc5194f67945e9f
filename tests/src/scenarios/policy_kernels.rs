//! A policy that was learned on one kernel, and judges the same commands on others.

use std::path::Path;

use anyhow::Result;

use super::policy::{run, script};
use super::{Need, Scenario};
use crate::ctx::{Ctx, Output, contains, ensure, equal};

const ON_6: &[Need] =
    &[Need::Kmodtrace, Need::Program("ss"), Need::Program("tc"), Need::Program("iptables-legacy"), Need::Release("6.")];
/// From 7.0, WireGuard's cryptography is in other modules.
const ON_7: &[Need] = &[Need::Kmodtrace, Need::Program("ip"), Need::Kernel(7, 0)];

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "policy-of-6.1-is-satisfied", fresh_boot: true, needs: ON_6, run: satisfied_on_other_kernel },
    Scenario { name: "policy-of-6.1-is-violated", fresh_boot: true, needs: ON_7, run: violated_on_other_kernel },
];

/// Runs the suite with the policy that was learned from it on another kernel.
fn run_learned_policy(ctx: &mut Ctx) -> Result<Output> {
    script(ctx, "/root/suite.sh", include_str!("../../fixtures/policy/suite.sh"))?;
    ctx.write_file(Path::new("/root/learned.toml"), include_str!("../../fixtures/policy/learned-6.1.toml"))?;
    let check = ctx.run(&["kmodtrace", "policy", "check", "/root/learned.toml"])?;
    ensure("the policy is valid", check.code < 2)?;
    run(ctx, &["--policy", "/root/learned.toml", "--", "/root/suite.sh"])
}

fn satisfied_on_other_kernel(ctx: &mut Ctx) -> Result<()> {
    equal("exit code", run_learned_policy(ctx)?.code, 0)
}

/// A kernel that loads other modules for the same command violates the policy, and the command is named.
fn violated_on_other_kernel(ctx: &mut Ctx) -> Result<()> {
    let output = run_learned_policy(ctx)?;
    equal("exit code", output.code, 1)?;
    contains("requester", &output.stderr, "`ip link add wg0 type wireguard` run by ")
}
