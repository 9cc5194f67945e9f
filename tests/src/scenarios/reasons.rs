//! Reasons of requests: a request for the own name of a module can have many causes.

use anyhow::{Context as _, Result};

use super::oracle_check::text;
use super::{Need, Scenario};
use crate::ctx::{Ctx, contains, ensure};

const NEEDS: &[Need] = &[Need::Kmodtrace, Need::Program("ip")];

pub(super) const SCENARIOS: &[Scenario] =
    &[Scenario { name: "reason-of-an-interface-name", fresh_boot: true, needs: NEEDS, run: interface }];

/// The kernel tries the name of an unknown interface as the name of a module, whatever else that module is for.
fn interface(ctx: &mut Ctx) -> Result<()> {
    let tracer = ctx.watch(&[])?;
    for name in ["br_netfilter", "8021q", "eth99"] {
        let output = ctx.run(&["ip", "link", "show", name])?;
        ensure("there is no such interface", output.code != 0)?;
    }
    let capture = tracer.stop()?;
    for name in ["br_netfilter", "8021q", "eth99"] {
        let requests = capture.requests_for(name);
        let request = requests.first().with_context(|| format!("no request for {name}"))?;
        contains("reason", &text(request, "/explanation"), "an interface name that does not exist")?;
        let prefixed = capture.requests_for(&format!("netdev-{name}"));
        let prefixed = prefixed.first().with_context(|| format!("no request for netdev-{name}"))?;
        contains("reason of the prefixed name", &text(prefixed, "/explanation"), &format!("\"{name}\""))?;
    }
    Ok(())
}
