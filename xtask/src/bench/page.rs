//! Figures to a page, with the goals and whether they are met.

use std::fs;
use std::thread;

use super::offline::{Offline, Row};
use super::stats::digits;

/// What is held to be good enough, as a ratio of processor time or memory.
struct Goal {
    what: String,
    found: f64,
    /// In words.
    wanted: &'static str,
    is_met: bool,
}

/// The page.
pub(super) fn markdown(found: &Offline) -> String {
    let mut out = String::from(
        "# Performance\n\nMade by `cargo xtask bench --write`: nobody has to believe a number. Every figure is the median of the \
         rounds, with the least and the most beside it; rounds are interleaved, so that what else the machine does hits everyone \
         alike. Processor time is that of the whole pipeline, user and kernel; memory is the most that one process held.\n\n",
    );
    out.push_str(&format!("The machine: {}. Rounds: {}.\n\n## Captures\n\n", machine(), found.rounds));
    out.push_str("| events | bytes | bytes an event |\n|---|---|---|\n");
    for size in &found.sizes {
        let each = float(size.bytes) / float(size.events);
        out.push_str(&format!("| {} | {} | {} |\n", size.events, size.bytes, digits(each)));
    }
    out.push_str("\n| | events | processor time, s | wall time, s | memory, MiB |\n|---|---|---|---|---|\n");
    for row in &found.rows {
        out.push_str(&format!(
            "| `{}` | {} | {} | {} | {} |\n",
            row.name,
            row.events,
            row.cpu_s.show(),
            row.wall_s.show(),
            row.peak_mib.show()
        ));
    }
    out.push_str(
        "\n`zstdcat | jq` counts modules by program; DuckDB makes the table of `kmodtrace report` (the script is\n",
    );
    out.push_str("`xtask/src/bench/duckdb.py`).\n");
    for absent in &found.absent {
        out.push_str(&format!("\nNot there: {absent}\n"));
    }
    out.push_str("\n## Goals\n\n| goal | wanted | found | met |\n|---|---|---|---|\n");
    for goal in goals(found) {
        let met = if goal.is_met { "yes" } else { "no" };
        out.push_str(&format!("| {} | {} | {} | {met} |\n", goal.what, goal.wanted, digits(goal.found)));
    }
    out
}

fn goals(found: &Offline) -> Vec<Goal> {
    let row = |name: &str, events: u64| found.rows.iter().find(|row| row.name == name && row.events == events);
    let mut goals = Vec::new();
    let Some(most) = found.sizes.iter().map(|size| size.events).max() else { return goals };
    let Some(report) = row("kmodtrace report", most) else { return goals };
    let ratio = |other: &Row| other.cpu_s.median / report.cpu_s.median;
    if let Some(jq) = row("zstdcat | jq", most) {
        let found = ratio(jq);
        let what = format!("`report` of {most} events: times as fast as `zstdcat \\| jq`");
        goals.push(Goal { what, found, wanted: "at least 10", is_met: found >= 10.0 });
    }
    if let Some(duckdb) = row("DuckDB", most) {
        let found = 1.0 / ratio(duckdb);
        let what = format!("`report` of {most} events: processor time, DuckDB's being 1");
        goals.push(Goal { what, found, wanted: "at most 2", is_met: found <= 2.0 });
    }
    let memory = report.peak_mib.median;
    let what = format!("`report` of {most} events: memory, MiB");
    goals.push(Goal { what, found: memory, wanted: "under 64", is_met: memory < 64.0 });
    let least = found.sizes.iter().map(|size| size.events).min().unwrap_or(most);
    if let Some(small) = row("kmodtrace report", least).filter(|_| least < most) {
        let found = report.cpu_s.median / small.cpu_s.median / (float(most) / float(least));
        let what = format!("`report`: growth from {least} to {most} events, linear being 1");
        goals.push(Goal { what, found, wanted: "at most 1.2", is_met: found <= 1.2 });
    }
    goals
}

#[expect(clippy::cast_precision_loss, reason = "a count of events or bytes")]
fn float(number: u64) -> f64 {
    number as f64
}

/// Processor and cores, as the kernel tells them.
fn machine() -> String {
    let cores = thread::available_parallelism().map_or(0, usize::from);
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    format!("{} cores of {}", cores, model.map_or("an unknown processor", |(_, model)| model.trim()))
}

#[cfg(test)]
mod tests {
    use super::super::offline::{Offline, Row, Size};
    use super::super::stats::Figure;
    use super::{goals, markdown};

    fn row(name: &'static str, events: u64, seconds: f64, mib: f64) -> Row {
        let figure = |number| Figure { median: number, min: number, max: number };
        Row { name, events, wall_s: figure(seconds), cpu_s: figure(seconds), peak_mib: figure(mib) }
    }

    fn found(rows: Vec<Row>) -> Offline {
        let sizes = vec![Size { events: 10, bytes: 100 }, Size { events: 100, bytes: 900 }];
        Offline { rounds: 3, sizes, rows, absent: vec!["duckdb: no pip".to_owned()] }
    }

    /// Check that goals are ratios of the largest capture, met and missed.
    #[test]
    fn goals_are_ratios() {
        let ours =
            |small, large, mib| vec![row("kmodtrace report", 10, small, mib), row("kmodtrace report", 100, large, mib)];
        let others = || [row("zstdcat | jq", 100, 110.0, 4.0), row("DuckDB", 100, 4.0, 900.0)];
        let met = |rows: Vec<Row>| goals(&found(rows)).iter().map(|goal| goal.is_met).collect::<Vec<_>>();
        assert_eq!(met(ours(1.0, 10.0, 8.0).into_iter().chain(others()).collect()), [true, false, true, true]);
        assert_eq!(met(ours(1.0, 5.0, 80.0).into_iter().chain(others()).collect()), [true, true, false, true]);
        assert_eq!(met(ours(1.0, 20.0, 8.0)), [true, false]);
    }

    /// Check that who could not take part is named, and that a table is one.
    #[test]
    fn the_page_tells_all() {
        let page = markdown(&found(vec![row("kmodtrace report", 100, 2.0, 8.0)]));
        assert!(page.contains("Not there: duckdb: no pip\n"));
        assert!(page.contains(
            "| `kmodtrace report` | 100 | 2.00 (2.00 to 2.00) | 2.00 (2.00 to 2.00) | 8.00 (8.00 to 8.00) |\n"
        ));
        assert!(page.contains("| 100 | 900 | 9.00 |\n"));
    }
}
