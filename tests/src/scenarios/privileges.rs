//! The least privileges: measured by giving a copy of the program some capabilities and nothing else.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use rustix::fs::{Mode, XattrFlags, chmod, setxattr};
use serde_json::Value;

use super::agreement::text;
use super::{Need, Scenario};
use crate::ctx::{Ctx, equal};
use crate::protocol::KMODTRACE_PATH;

pub(super) const SCENARIOS: &[Scenario] =
    &[Scenario { name: "privileges-least-capabilities", fresh_boot: false, needs: &[Need::Kmodtrace], run: least }];

const SYS_ADMIN: u32 = 21;
const SYS_RESOURCE: u32 = 24;
const SYSLOG: u32 = 34;
const PERFMON: u32 = 38;
const BPF: u32 = 39;

/// A file system that knows file capabilities.
const COPY: &str = "/run/kmodtrace";

/// What `setcap` would write: the capabilities, permitted and effective.
fn set_capabilities(path: &str, capabilities: &[u32]) -> Result<()> {
    const REVISION_2_EFFECTIVE: u32 = 0x0200_0001;
    let bits = capabilities.iter().fold(0_u64, |bits, capability| bits | 1 << capability);
    let mut value = REVISION_2_EFFECTIVE.to_le_bytes().to_vec();
    for half in bits.to_le_bytes().chunks(4) {
        value.extend(half);
        // Nothing is inheritable.
        value.extend([0; 4]);
    }
    setxattr(path, "security.capability", &value, XattrFlags::empty())
        .with_context(|| format!("cannot set capabilities of {path}"))
}

fn doctor(ctx: &mut Ctx, capabilities: &[u32]) -> Result<Value> {
    set_capabilities(COPY, capabilities)?;
    let output = ctx.run_as(1000, &[COPY, "doctor", "--json"])?;
    serde_json::from_str(&output.stdout).with_context(|| format!("not JSON: {}", output.stdout))
}

fn least(ctx: &mut Ctx) -> Result<()> {
    ctx.write_file(Path::new(COPY), "")?;
    fs::copy(KMODTRACE_PATH, COPY).with_context(|| format!("cannot copy to {COPY}"))?;
    chmod(COPY, Mode::from_raw_mode(0o755)).context("cannot make it executable")?;
    for set in [
        &[BPF, PERFMON][..],
        &[BPF, PERFMON, SYSLOG],
        &[BPF, PERFMON, SYSLOG, SYS_RESOURCE],
        &[SYS_ADMIN],
        &[SYS_ADMIN, SYSLOG],
        &[SYS_ADMIN, SYSLOG, SYS_RESOURCE],
    ] {
        let report = doctor(ctx, set)?;
        println!("MEASURED {set:?} {} {}", text(&report, "/tracing"), text(&report, "/detail"));
    }
    equal("x", 1, 2)
}
