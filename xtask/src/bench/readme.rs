//! The table in the README.

use anyhow::{Context as _, Result};

use super::Found;
use super::stats::digits;

const BEGIN: &str = "<!-- made by cargo xtask bench --write -->\n";
const END: &str = "<!-- end -->\n";

/// The tracers of the table, with their headings.
const COLUMNS: [(&str, &str); 4] = [
    ("kmodtrace record", "`kmodtrace record`"),
    ("bpftrace", "bpftrace"),
    ("trace-cmd record", "trace-cmd"),
    ("perf trace", "perf trace"),
];

/// Replaces the table in the README.
pub(super) fn with_table(readme: &str, found: &Found) -> Result<String> {
    let (before, rest) =
        readme.split_once(BEGIN).context("cannot update README.md: the start marker of the table is missing")?;
    let (_, after) = rest.split_once(END).context("cannot update README.md: the end marker of the table is missing")?;
    Ok(format!("{before}{BEGIN}{}{END}{after}", table(found)?))
}

fn table(found: &Found) -> Result<String> {
    let online = found.tracing.as_ref().context("tracing was not measured")?;
    let offline = found.captures.as_ref().context("captures were not measured")?;
    let median = |figure: &str, tracer: &str| online.get(figure, tracer).map(|figure| figure.median);
    let names: Vec<&str> = COLUMNS.iter().map(|(_, name)| *name).collect();
    let mut out = format!("| | {} |\n|---|{}\n", names.join(" | "), "---|".repeat(COLUMNS.len()));
    let mut row = |what: &str, cell: &dyn Fn(&str) -> Option<String>| {
        let cells: Vec<String> =
            COLUMNS.iter().map(|(tracer, _)| cell(tracer).unwrap_or_else(|| "not measured".to_owned())).collect();
        out.push_str(&format!("| {what} | {} |\n", cells.join(" | ")));
    };
    let armed = median("armed_ms", COLUMNS[0].0).context("kmodtrace record was not measured")?;
    row("time from start to the first request seen (`kmodtrace record` = 1)", &|tracer| {
        Some(digits(median("armed_ms", tracer)? / armed))
    });
    row("memory after the storms, MiB", &|tracer| Some(digits(median("resident_after_kib", tracer)? / 1024.0)));
    for (phase, what) in [
        ("storm_62", "requests missed, 62 concurrent, %"),
        ("storm_long", "requests missed, 8 threads of an unprivileged user, %"),
        ("stopped", "requests missed while the tracer is stopped, %"),
    ] {
        row(what, &|tracer| {
            let lost = online.get(&format!("lost_{phase}"), tracer)?.max;
            Some(digits(100.0 * lost / median(&format!("asked_{phase}"), tracer)?))
        });
    }
    row("links requester, modprobe, modules and result", &|tracer| {
        Some(if tracer.starts_with("kmodtrace") { "yes" } else { "no" }.to_owned())
    });
    let most = offline.sizes.iter().max_by_key(|size| size.events).context("no captures")?;
    let of = |name: &str| offline.rows.iter().find(|row| row.name == name && row.events == most.events);
    let report = of("kmodtrace report").context("kmodtrace report was not measured")?;
    out.push_str(&format!(
        "\n`report` reads {} million events ({} MB) in {} s with up to {} MiB",
        most.events / 1_000_000,
        most.bytes / 1_000_000,
        digits(report.cpu_s.median),
        digits(report.peak_mib.median)
    ));
    for (name, called) in [("zstdcat | jq", "`zstdcat | jq`"), ("DuckDB", "DuckDB")] {
        if let Some(other) = of(name) {
            let (seconds, memory) = (digits(other.cpu_s.median), digits(other.peak_mib.median));
            out.push_str(&format!("; {called} takes {seconds} s with up to {memory} MiB"));
        }
    }
    out.push_str(".\n");
    Ok(out)
}

#[cfg(test)]
mod tests {
    use kmodtrace_tests::protocol::Plan;

    use super::super::Found;
    use super::super::guest::{self, Online};
    use super::super::offline::{Offline, Row, Size};
    use super::super::stats::Figure;
    use super::{BEGIN, END, with_table};

    fn found() -> Found {
        let same = |number| Figure { median: number, min: number, max: number };
        let figures = [
            ("armed_ms", "kmodtrace record", 50.0),
            ("armed_ms", "bpftrace", 200.0),
            ("asked_storm_62", "bpftrace", 400.0),
            ("lost_storm_62", "bpftrace", 4.0),
        ];
        let rows = figures.map(|(figure, tracer, value)| guest::Row {
            figure: figure.to_owned(),
            tracer: tracer.to_owned(),
            rounds: 1,
            value: same(value),
        });
        let plan = Plan { rounds: 1, idle_s: 1, storm_s: 1, stopped_s: 1 };
        let row = |name: &str, seconds| Row {
            name: name.to_owned(),
            events: 10_000_000,
            wall_s: same(seconds),
            cpu_s: same(seconds),
            peak_mib: same(9.0),
        };
        Found {
            machine: String::new(),
            tracing: Some(Online { kernel: String::new(), accelerator: String::new(), plan, rows: rows.into() }),
            programs: None,
            captures: Some(Offline {
                rounds: 1,
                sizes: vec![Size { events: 10_000_000, bytes: 600_000_000 }],
                rows: vec![row("kmodtrace report", 10.0), row("DuckDB", 15.0)],
                absent: Vec::new(),
            }),
            boot: None,
        }
    }

    /// The table is replaced, has ratios, and marks missing figures.
    #[test]
    fn table_is_replaced() {
        let place =
            |table: &str| format!("before\n<!-- made by cargo xtask bench --write -->\n{table}<!-- end -->\nafter\n");
        let readme = with_table(&place("stale\n"), &found()).unwrap();
        assert_eq!(with_table(&readme, &found()).unwrap(), readme);
        assert!(!readme.contains("stale") && readme.starts_with("before\n") && readme.ends_with("after\n"), "{readme}");
        for part in [
            "| 1.00 | 4.00 | not measured | not measured |",
            "62 concurrent, % | not measured | 1.00 |",
            "`report` reads 10 million events (600 MB) in 10.0 s with up to 9.00 MiB; DuckDB takes 15.0 s with up to 9.00 MiB.",
        ] {
            assert!(readme.contains(part), "{part} is not in\n{readme}");
        }
        assert!(with_table("no place", &found()).is_err());
    }

    /// The README contains the stored figures, or no table if a part was not measured.
    #[test]
    fn readme_has_stored_figures() {
        let readme = include_str!("../../../README.md");
        let stored: Found = serde_json::from_str(include_str!("../../../docs/performance.json")).unwrap();
        if stored.tracing.is_some() && stored.captures.is_some() {
            assert_eq!(with_table(readme, &stored).unwrap(), readme, "run `cargo xtask bless`");
        } else {
            assert!(readme.contains(&format!("{BEGIN}{END}")), "the README has figures that are not stored");
        }
    }
}
