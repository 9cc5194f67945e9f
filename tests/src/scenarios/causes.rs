//! Requests that have a cause behind them: another module's init, or a task that lets a kernel thread work for it.

use anyhow::{Context as _, Result};

use super::agreement::{ended, number, text, with_oracle};
use super::{Need, Scenario};
use crate::ctx::{Ctx, equal, that};

const NEEDS: &[Need] = &[Need::Kmodtrace, Need::Program("ip")];

/// Networks of low-power radio are not for clouds.
const RADIO: &[Need] = &[Need::Kmodtrace, Need::OrdinaryFlavour];

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "cause-init-of-an-explicit-module", fresh_boot: true, needs: RADIO, run: init },
    Scenario { name: "cause-kernel-thread", fresh_boot: true, needs: NEEDS, run: kernel_thread },
];

/// 6lowpan's init asks for its compression modules and does not wait for them.
fn init(ctx: &mut Ctx) -> Result<()> {
    let oracle = ctx.oracle()?;
    let tracer = ctx.watch(&[])?;
    ctx.run(&["/sbin/modprobe", "6lowpan"])?.ok()?;
    // They are loaded behind modprobe's back.
    ctx.run(&["sleep", "3"])?.ok()?;
    let capture = tracer.stop()?;
    with_oracle(&capture, &ctx.oracle_events(&oracle)?)?;
    let requests: Vec<_> = capture.of_type("request").collect();
    that("the init asked for modules", !requests.is_empty())?;
    for request in requests {
        equal("asked in the init of", text(request, "/in_init"), "6lowpan")?;
        equal("by", text(request, "/process/comm"), "modprobe")?;
        equal("waits", request["wait"].as_bool(), Some(false))?;
        let result = capture.result_of(request)?;
        ended(result, "not-waited", "exact")?;
        equal("modules", capture.modules_of(request), vec![text(request, "/name")])?;
    }
    Ok(())
}

/// IPsec wants ciphers; the kernel probes and tests them in threads of its own, on behalf of `ip`.
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
    let ip = number(ip.context("ip asked for nothing")?, "/process/pid");
    let probes: Vec<_> =
        capture.of_type("request").filter(|request| text(request, "/process/comm") == "cryptomgr_probe").collect();
    that("a probe thread asked for something", !probes.is_empty())?;
    // Others were created by the threads and modules that these set off.
    let own: Vec<_> = probes.iter().filter(|request| number(request, "/behalf/pid") == ip).collect();
    that("a probe thread works for ip", !own.is_empty())?;
    for request in own {
        equal("its name", text(request, "/behalf/comm"), "ip")?;
        equal("certainty", text(request, "/behalf/attribution"), "inferred")?;
        equal("rule", text(request, "/behalf/rule"), "kthread-creator")?;
    }
    // What a helper's modules set off hangs under that helper's request.
    for request in capture.of_type("request") {
        let nested = text(request, "/process/comm") == "modprobe" || !request["behalf"]["request"].is_null();
        that(&format!("{request} has a parent: {nested}"), nested != request["parent_request"].is_null())?;
    }
    Ok(())
}
