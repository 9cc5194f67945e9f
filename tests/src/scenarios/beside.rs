//! The incident as other tracers tell it: docs/beside.md shows what each prints, of one and the same `iptables -t nat -L`.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::{Need, Scenario};
use crate::ctx::{Ctx, contains, equal, that};

pub(super) const SCENARIOS: &[Scenario] = &[Scenario {
    name: "beside-other-tracers",
    fresh_boot: true,
    needs: &[
        Need::Kmodtrace,
        Need::Tracers,
        Need::Program("iptables-legacy"),
        Need::Program("bpftrace"),
        Need::Program("trace-cmd"),
        Need::Program("perf"),
        // Other kernels differ in what they load, and other suites in their tracers.
        Need::Release("6.1."),
        Need::OrdinaryFlavour,
    ],
    run: side_by_side,
}];

const PAGE: &str = include_str!("../../../docs/beside.md");

/// The script that the benches run as well.
const SCRIPT: &str = include_str!("../guest/bench/modules.bt");

/// Starting takes long where a compiler is emulated.
const READY_LIMIT: Duration = Duration::from_secs(120);

/// Asked for until everyone sees it; whatever mount(8) does is not the incident.
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
        if bpftrace.said()?.contains("fs-absent") && perf.said()?.contains("fs-absent") && enabled.trim() == "1" {
            break;
        }
        if Instant::now() > deadline {
            bail!("the other tracers were not ready within {} s", READY_LIMIT.as_secs());
        }
        thread::sleep(Duration::from_millis(500));
    }
    let mut ours = ctx.background(&["kmodtrace", "watch", "--utc"])?;
    while !ours.said()?.contains("armed") {
        thread::sleep(Duration::from_millis(100));
    }
    ctx.run(&["iptables-legacy", "-t", "nat", "-L"])?.ok()?;
    // Everyone has read what there was when they are interrupted: perf reads by the clock.
    thread::sleep(Duration::from_secs(3));

    let ours = lines_of(&ours.interrupt()?, |line| !line.starts_with("kmodtrace:") && !line.starts_with("# "));
    let bpftrace = lines_of(&bpftrace.interrupt()?, |line| line.contains(" comm "));
    let perf = lines_of(&perf.interrupt()?, is_event);
    trace_cmd.interrupt()?;
    let report = ctx.run(&["trace-cmd", "report", "-i", "/run/trace.dat"])?.ok()?.stdout;
    let trace_cmd = lines_of(&report, is_event);

    for (name, other) in [("bpftrace", &bpftrace), ("trace-cmd", &trace_cmd), ("perf", &perf)] {
        that(&format!("{name} saw the incident"), other.iter().any(|line| line.contains("iptable_nat")))?;
        that(&format!("ours has fewer lines: {} and {} of {name}", ours.len(), other.len()), ours.len() < other.len())?;
        let joined = other.iter().find(|line| is_joined(line));
        equal(&format!("a line in which {name} joins requester and module"), joined, None::<&String>)?;
    }
    let line = ours.iter().find(|line| line.contains("\"iptable_nat\"")).context("ours lacks the incident")?;
    that(&format!("requester and module are joined in {line}"), is_joined(line))?;
    contains("our line", line, " loaded ")?;
    for (name, lines) in [("kmodtrace", &ours), ("bpftrace", &bpftrace), ("trace-cmd", &trace_cmd), ("perf", &perf)] {
        equal(&format!("what docs/beside.md shows of {name}"), shape(&shown(name)?), shape(lines))?;
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

/// Whether a line tells by itself who brought connection tracking.
fn is_joined(line: &str) -> bool {
    line.contains("iptables-leg") && line.contains("nf_conntrack")
}

/// What the page shows of a tracer.
fn shown(name: &str) -> Result<Vec<String>> {
    let mark = format!("<!-- {name} -->\n```\n");
    let (_, rest) = PAGE.split_once(&mark).with_context(|| format!("docs/beside.md lacks {name}"))?;
    let (block, _) = rest.split_once("\n```").context("a block without an end")?;
    Ok(block.lines().skip_while(|line| line.starts_with("# ")).map(str::to_owned).collect())
}

/// Words without what differs each time: numbers, their units, and the padding around them.
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

    /// Check that numbers do not count and words do.
    #[test]
    fn shapes_are_words() {
        let lines = |text: &str| shape(&[text.to_owned()]);
        assert_eq!(lines("12:03  pid 7  90 ms comm a"), lines("9:1 pid   12 1.1 s comm a"));
        assert_ne!(lines("pid 7 comm a"), lines("pid 7 comm b"));
    }

    /// Check that the page has a block for everyone.
    #[test]
    fn everyone_is_shown() {
        for name in ["kmodtrace", "bpftrace", "trace-cmd", "perf"] {
            assert!(shown(name).unwrap().len() > 1, "{name}");
        }
        assert!(shown("nobody").is_err());
    }
}
