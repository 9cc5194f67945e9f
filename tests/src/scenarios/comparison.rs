//! The incident as other tracers report it: docs/comparison.md shows the output of each for the same `iptables -t nat -L`.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::{Need, Scenario};
use crate::ctx::{Ctx, contains, ensure, equal};

pub(super) const SCENARIOS: &[Scenario] = &[Scenario {
    name: "comparison-with-other-tracers",
    fresh_boot: true,
    needs: &[
        Need::Kmodtrace,
        Need::Tracers,
        Need::Program("iptables-legacy"),
        Need::Program("bpftrace"),
        Need::Program("trace-cmd"),
        Need::Program("perf"),
        // Other kernels load other modules, and other suites have other versions of the tracers.
        Need::Release("6.1."),
        Need::OrdinaryFlavour,
    ],
    run: side_by_side,
}];

const PAGE: &str = include_str!("../../../docs/comparison.md");

/// The script, which the benches use too.
const SCRIPT: &str = include_str!("../guest/bench/modules.bt");

/// Starting takes long in an emulated guest, because bpftrace compiles its script.
const READY_LIMIT: Duration = Duration::from_secs(120);

/// A request that is repeated until every tracer reports it. Lines of mount(8) are ignored later.
const PROBE: [&str; 5] = ["mount", "-t", "absent", "none", "/mnt"];

fn side_by_side(ctx: &mut Ctx) -> Result<()> {
    fs::write("/run/modules.bt", SCRIPT).context("cannot write bpftrace's script")?;
    let mut bpftrace = ctx.background(&["bpftrace", "-B", "line", "/run/modules.bt"])?;
    let trace_cmd = ctx.background(&["trace-cmd", "record", "-e", "module", "-o", "/run/trace.dat"])?;
    let mut perf = ctx.background(&["perf", "trace", "-e", "module:*"])?;
    let deadline = Instant::now() + READY_LIMIT;
    loop {
        ctx.run(&PROBE)?;
        let enabled = fs::read_to_string("/sys/kernel/tracing/events/module/enable").unwrap_or_default();
        if bpftrace.output()?.contains("fs-absent") && perf.output()?.contains("fs-absent") && enabled.trim() == "1" {
            break;
        }
        if Instant::now() > deadline {
            bail!("the other tracers were not ready within {} s", READY_LIMIT.as_secs());
        }
        thread::sleep(Duration::from_millis(500));
    }
    let mut ours = ctx.background(&["kmodtrace", "watch", "--utc"])?;
    while !ours.output()?.contains("armed") {
        thread::sleep(Duration::from_millis(100));
    }
    ctx.run(&["iptables-legacy", "-t", "nat", "-L"])?.ok()?;
    // Give every tracer time to read all records: perf polls on a timer.
    thread::sleep(Duration::from_secs(3));

    let ours = lines_of(&ours.interrupt()?, |line| !line.starts_with("kmodtrace:") && !line.starts_with("# "));
    let bpftrace = lines_of(&bpftrace.interrupt()?, |line| line.contains(" comm "));
    let perf = lines_of(&perf.interrupt()?, is_event);
    trace_cmd.interrupt()?;
    let report = ctx.run(&["trace-cmd", "report", "-i", "/run/trace.dat"])?.ok()?.stdout;
    let trace_cmd = lines_of(&report, is_event);

    for (name, other) in [("bpftrace", &bpftrace), ("trace-cmd", &trace_cmd), ("perf", &perf)] {
        ensure(&format!("{name} saw the incident"), other.iter().any(|line| line.contains("iptable_nat")))?;
        ensure(
            &format!("kmodtrace prints fewer lines: {} and {} of {name}", ours.len(), other.len()),
            ours.len() < other.len(),
        )?;
        let joined = other.iter().find(|line| is_joined(line));
        equal(&format!("a line of {name} with requester and module"), joined, None::<&String>)?;
    }
    let line =
        ours.iter().find(|line| line.contains("\"iptable_nat\"")).context("kmodtrace did not report the incident")?;
    ensure(&format!("requester and module are in {line}"), is_joined(line))?;
    contains("line of kmodtrace", line, " loaded ")?;
    for (name, lines) in [("kmodtrace", &ours), ("bpftrace", &bpftrace), ("trace-cmd", &trace_cmd), ("perf", &perf)] {
        equal(&format!("output of {name} in docs/comparison.md"), shape(&shown(name)?), shape(lines))?;
    }
    Ok(())
}

/// The lines of the incident.
fn lines_of(text: &str, is_wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let lines = text.lines().filter(|line| is_wanted(line) && !line.contains("mount") && !line.contains("fs-absent"));
    lines.map(str::to_owned).collect()
}

/// A line of trace-cmd or perf that is a request or a load.
fn is_event(line: &str) -> bool {
    line.contains("module_request") || line.contains("module_load")
}

/// Whether a line contains both the requester and connection tracking.
fn is_joined(line: &str) -> bool {
    line.contains("iptables-leg") && line.contains("nf_conntrack")
}

/// The output of a tracer in the page.
fn shown(name: &str) -> Result<Vec<String>> {
    let mark = format!("<!-- {name} -->\n```\n");
    let (_, rest) = PAGE.split_once(&mark).with_context(|| format!("docs/comparison.md lacks {name}"))?;
    let (block, _) = rest.split_once("\n```").context("the block has no end")?;
    Ok(block.lines().skip_while(|line| line.starts_with("# ")).map(str::to_owned).collect())
}

/// The words of lines without numbers, units and padding, which differ in each run.
fn shape(lines: &[String]) -> Vec<String> {
    let is_fixed = |letter: &char| !letter.is_ascii_digit() && *letter != '.';
    let word = |word: &str| word.chars().filter(is_fixed).collect::<String>();
    let is_unit = |word: &str| ["", "us", "ms", "s"].contains(&word);
    let line = |line: &String| {
        let words: Vec<String> = line.split_whitespace().map(word).filter(|word| !is_unit(word)).collect();
        words.join(" ")
    };
    lines.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::{shape, shown};

    /// Lines that differ only in numbers have the same shape.
    #[test]
    fn shape_ignores_numbers() {
        let lines = |text: &str| shape(&[text.to_owned()]);
        assert_eq!(lines("12:03  pid 7  90 ms comm a"), lines("9:1 pid   12 1.1 s comm a"));
        assert_ne!(lines("pid 7 comm a"), lines("pid 7 comm b"));
    }

    /// The page has a block for every tracer.
    #[test]
    fn page_has_every_tracer() {
        for name in ["kmodtrace", "bpftrace", "trace-cmd", "perf"] {
            assert!(shown(name).unwrap().len() > 1, "{name}");
        }
        assert!(shown("no-such-tracer").is_err());
    }
}
