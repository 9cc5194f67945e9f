//! The library in another program: the example `trace_live`.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::{Need, Scenario};
use crate::ctx::{Ctx, contains, ensure};
use crate::protocol::EXAMPLE_PATH;

pub(super) const SCENARIOS: &[Scenario] =
    &[Scenario { name: "example-traces-live", fresh_boot: true, needs: &[Need::Example], run: trace_live }];

/// Loading the programs takes seconds where the verifier itself is emulated.
const LIMIT: Duration = Duration::from_secs(60);

/// The example prints a line for a module that is loaded, and ends without issues when it is interrupted.
fn trace_live(ctx: &mut Ctx) -> Result<()> {
    let mut example = ctx.background(&[EXAMPLE_PATH])?;
    let deadline = Instant::now() + LIMIT;
    while !example.output()?.contains("armed") {
        ensure("the example is armed in time", Instant::now() < deadline)?;
        thread::sleep(Duration::from_millis(20));
    }
    ctx.run(&["modprobe", "dummy"])?.ok()?;
    let text = example.interrupt()?;
    contains("the line about dummy", &text, " loaded dummy\n")?;
    ensure("nothing else is printed", text.lines().count() == 2)
}
