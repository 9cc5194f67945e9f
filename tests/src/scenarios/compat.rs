//! 32-bit system calls on a 64-bit kernel, which have other numbers.

use anyhow::{Context as _, Result};

use super::oracle_check::{number, text};
use super::{Need, Scenario};
use crate::ctx::{Action, Actor, Ctx, contains, equal};

pub(super) const SCENARIOS: &[Scenario] = &[Scenario {
    name: "compat-calls-are-named-by-their-abi",
    fresh_boot: false,
    needs: &[Need::Kmodtrace],
    run: compat,
}];

/// `socket` of i386 (arch/x86/entry/syscalls/syscall_32.tbl). On x86-64 the number has no call.
const SOCKET: u32 = 359;

const PF_X25: u32 = 9;

/// A request in a 32-bit system call has the name of that call and its ABI; a 64-bit call of the same trace has no such ABI.
fn compat(ctx: &mut Ctx) -> Result<()> {
    let tracer = ctx.watch(&[])?;
    let tree = ctx.watch_tree(&[])?;
    let call = Action::Call32 { number: SOCKET, arguments: [PF_X25, 1, 0] };
    let narrow_actor = ctx.act(Actor::new(call).named("narrow"))?;
    let wide_actor = ctx.act(Actor::socket(2, 1, 199).named("wide"))?;
    let (tree, capture) = (tree.stop()?, tracer.stop()?);
    capture.expect_complete()?;

    let of = |comm: &str| {
        let mut requests = capture.of_type("request").filter(|event| text(event, "/process/comm") == comm);
        requests.next().with_context(|| format!("no request by {comm}"))
    };
    let narrow = of("narrow")?;
    equal("alias", text(narrow, "/name"), "net-pf-9")?;
    equal("process", number(narrow, "/process/pid"), Some(narrow_actor.pid.into()))?;
    equal("32-bit call", (text(narrow, "/syscall"), text(narrow, "/syscall_abi")), ("socket".into(), "i386".into()))?;
    contains("tree", &tree.other.join("\n"), "in socket() of the 32-bit ABI i386")?;
    let wide = of("wide")?;
    equal("process", number(wide, "/process/pid"), Some(wide_actor.pid.into()))?;
    equal("64-bit call", (text(wide, "/syscall"), text(wide, "/syscall_abi")), ("socket".into(), String::new()))
}
