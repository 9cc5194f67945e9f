//! Requests with an indirect cause: the init function of another module, or a task on whose behalf a kernel thread works.

use anyhow::{Context as _, Result};

use super::oracle_check::{expect_status, number, text, with_oracle};
use super::{Need, Scenario};
use crate::ctx::{Ctx, ensure, equal};

const NEEDS: &[Need] = &[Need::Kmodtrace, Need::Program("ip")];

/// The cloud flavour of the kernel has no 6LoWPAN.
const RADIO: &[Need] = &[Need::Kmodtrace, Need::OrdinaryFlavour];

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "cause-init-of-an-explicit-module", fresh_boot: true, needs: RADIO, run: init },
    Scenario { name: "cause-kernel-thread", fresh_boot: true, needs: NEEDS, run: kernel_thread },
];

/// The init function of 6lowpan requests its compression modules without waiting for them.
fn init(ctx: &mut Ctx) -> Result<()> {
    let oracle = ctx.oracle()?;
    let tracer = ctx.watch(&[])?;
    ctx.run(&["/sbin/modprobe", "6lowpan"])?.ok()?;
    // They are loaded after modprobe has exited.
    ctx.run(&["sleep", "3"])?.ok()?;
    let capture = tracer.stop()?;
    with_oracle(&capture, &ctx.oracle_events(&oracle)?)?;
    let requests: Vec<_> = capture.of_type("request").collect();
    ensure("the init requested modules", !requests.is_empty())?;
    for request in requests {
        equal("in the init of", text(request, "/in_init"), "6lowpan")?;
        equal("by", text(request, "/process/comm"), "modprobe")?;
        equal("waits", request["wait"].as_bool(), Some(false))?;
        let result = capture.result_of(request)?;
        expect_status(result, "not-waited", "exact")?;
        equal("modules", capture.modules_of(request), vec![text(request, "/name")])?;
    }
    Ok(())
}

/// IPsec needs ciphers. The kernel probes and tests them in kernel threads, on behalf of `ip`.
fn kernel_thread(ctx: &mut Ctx) -> Result<()> {
    let oracle = ctx.oracle()?;
    let tracer = ctx.watch(&[])?;
    let key = "0x000102030405060708090a0b0c0d0e0f";
    let state = ["ip", "xfrm", "state", "add", "src", "10.0.0.1", "dst", "10.0.0.2", "proto", "esp", "spi", "0x100"];
    let mut argv: Vec<&str> = state.to_vec();
    argv.extend(["mode", "transport", "enc", "cbc(twofish)", key, "auth", "hmac(sha256)", key]);
    ctx.run(&argv)?.ok()?;
    let capture = tracer.stop()?;
    with_oracle(&capture, &ctx.oracle_events(&oracle)?)?;

    let ip = capture.of_type("request").find(|request| text(request, "/process/comm") == "ip");
    let ip = number(ip.context("ip made no request")?, "/process/pid");
    let probes: Vec<_> =
        capture.of_type("request").filter(|request| text(request, "/process/comm") == "cryptomgr_probe").collect();
    ensure("a probe thread made a request", !probes.is_empty())?;
    // Other probe threads were created by threads and modules that these started.
    let own: Vec<_> = probes.iter().filter(|request| number(request, "/behalf/pid") == ip).collect();
    ensure("a probe thread acts on behalf of ip", !own.is_empty())?;
    for request in own {
        equal("its name", text(request, "/behalf/comm"), "ip")?;
        equal("attribution", text(request, "/behalf/attribution"), "inferred")?;
        equal("rule", text(request, "/behalf/rule"), "kthread-creator")?;
    }
    // A request by a module that a helper loads is nested in that helper's request.
    for request in capture.of_type("request") {
        let nested = text(request, "/process/comm") == "modprobe" || !request["behalf"]["request"].is_null();
        ensure(&format!("{request} has a parent: {nested}"), nested != request["parent_request"].is_null())?;
    }
    Ok(())
}
