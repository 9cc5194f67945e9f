//! Figures to a page: tables, the goals, and whether they are met.

use std::collections::BTreeSet;

use kmodtrace_tests::protocol::Who;

use super::Found;
use super::goals::{self, Goal};
use super::guest::Online;
use super::offline::Offline;
use super::programs::{self, Native};
use super::stats::{Figure, digits, float};

const HEAD: &str = "# Performance

Made by `cargo xtask bench --write`: nobody has to believe a number. Every figure is the median of the rounds, with the least
and the most in parentheses; rounds are interleaved, so that what else the machine does hits everyone alike. The same figures
for programs are in [performance.json](performance.json).

";

/// Title, text, and the columns: a figure and how it is called.
type Table = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

/// The figures of the guest.
const TABLES: &[Table] = &[
    (
        "From the start to the first request that is seen, and memory",
        "Requests are made without a pause while a tracer starts. Memory is that of the tracer and all it started, shared \
         pages in part (`Pss`); the second figure is from 10 s after all storms. Idle: processor time while nothing is asked, in the \
         kernel's ticks of 10 ms.",
        &[
            ("armed_ms", "armed, ms"),
            ("resident_armed_kib", "memory, KiB"),
            ("resident_after_kib", "after storms, KiB"),
            ("idle_cpu_ms_per_s", "idle, ms a second"),
        ],
    ),
    (
        "What a request and a load cost, and what has nothing to do with modules",
        "A request that fails at once, for which the kernel starts a program that does nothing; `modprobe` and `rmmod` of one \
         module; programs started and ended, files opened. `nothing` runs twice: what these two differ by is chance.",
        &[
            ("request_us", "request, µs"),
            ("load_us", "load and unload, µs"),
            ("programs_per_s", "programs a second"),
            ("opens_per_s", "files a second"),
        ],
    ),
    (
        "Requests lost",
        "Every request is for a name of its own; lost are those whose name the tracer does not tell (the tracepoint of trace-cmd \
         and perf is not passed by a request that the kernel gives up because 50 others run). 62 at a time, by a user \
         without rights; for a long time, by 8 threads of such a user; while the tracer is stopped (`SIGSTOP`); and after the \
         first that it saw while it started.",
        &[
            ("asked_storm_62", "62 at a time"),
            ("lost_storm_62", "lost"),
            ("asked_storm_long", "long"),
            ("lost_storm_long", "lost"),
            ("asked_stopped", "stopped"),
            ("lost_stopped", "lost"),
            ("lost_one_by_one", "one by one, lost"),
            ("lost_after_arming", "starting, lost"),
        ],
    ),
];

/// The page.
pub(super) fn markdown(found: &Found) -> String {
    let mut out = HEAD.to_owned();
    out.push_str(&format!("The machine: {}.\n", found.machine));
    if let Some(online) = &found.tracing {
        tracing(&mut out, online);
    }
    if let Some(native) = &found.programs {
        programs(&mut out, native);
    }
    if let Some(offline) = &found.captures {
        captures(&mut out, offline);
    }
    out
}

fn tracing(out: &mut String, found: &Online) {
    out.push_str(&format!(
        "\n## Tracing\n\nIn a guest with Debian's kernel {}, run by QEMU ({}), one boot for everyone. Rounds: {}; idle {} s, the \
         long storm {} s (both in the first round only), stopped {} s.{}\n",
        found.kernel,
        found.accelerator,
        found.plan.rounds,
        found.plan.idle_s,
        found.plan.storm_s,
        found.plan.stopped_s,
        if found.accelerator == "tcg" {
            " Everything is emulated: only the ratios mean something, and times are far longer than on real hardware."
        } else {
            ""
        }
    ));
    for (title, text, columns) in TABLES {
        out.push_str(&format!("\n### {title}\n\n{text}\n\n|"));
        for (_, name) in *columns {
            out.push_str(&format!(" | {name}"));
        }
        out.push_str(&format!(" |\n|{}\n", "---|".repeat(columns.len() + 1)));
        for who in Who::ALL {
            let cells: Vec<_> = columns.iter().map(|(figure, _)| found.get(figure, who.name())).collect();
            if cells.iter().any(Option::is_some) {
                let cells = cells.iter().map(|cell| cell.map_or_else(String::new, Figure::show));
                out.push_str(&format!("| {} | {} |\n", who.name(), cells.collect::<Vec<_>>().join(" | ")));
            }
        }
    }
    out.push_str(
        "\nbpftrace runs [this script](../tests/src/guest/bench/modules.bt), perf and trace-cmd all events of `module`.\n\n\
         ### What the programs take\n\nBy the kernel's own statistics (`kernel.bpf_stats_enabled`), for the request above; \
         instructions are those that the verifier went through ([kernels.md](kernels.md) has them for every kernel).\n\n\
         | program | runs a request | ns a run | ns a request | instructions |\n|---|---|---|---|---|\n",
    );
    let names: BTreeSet<&str> =
        found.rows.iter().filter_map(|row| row.figure.strip_prefix("program ")?.strip_suffix(" ns_per_run")).collect();
    for name in names {
        let cells = ["runs_per_request", "ns_per_run", "ns_per_request", "verified_instructions"].map(|figure| {
            let value = found.get(&format!("program {name} {figure}"), Who::Record.name());
            value.map_or_else(String::new, |value| digits(value.median))
        });
        out.push_str(&format!("| `{name}` | {} |\n", cells.join(" | ")));
    }
    goal_table(out, &goals::online(found));
}

fn programs(out: &mut String, found: &Native) {
    out.push_str(&format!(
        "\n## The programs without emulation\n\nWhat two of them cost on the machine itself (kernel {}), which runs them without any module \
         (`BPF_PROG_TEST_RUN`; of the types in use the kernel does so for raw tracepoints). They capture what the program of \
         a request captures, its two stacks aside: who acts, its executable, arguments, cgroup and eight parents. Other records than that of a load \
         wake the reader only where he sleeps, which is so for the first of many, and dear in a virtual machine. Beside them a program that does nothing, started and \
         ended, which is the least that any request costs.\n\n",
        found.kernel
    ));
    if let Some(why) = &found.absent {
        out.push_str(&format!("Not measured: {why}\n"));
        return;
    }
    out.push_str("| | ns | of a program started and ended, % |\n|---|---|---|\n");
    let start = found.rows.iter().find(|row| row.name == programs::START);
    for row in &found.rows {
        let share = start.map_or_else(String::new, |start| digits(100.0 * row.ns.median / start.ns.median));
        out.push_str(&format!("| `{}` | {} | {share} |\n", row.name, row.ns.show()));
    }
}

fn captures(out: &mut String, found: &Offline) {
    out.push_str(&format!(
        "\n## Captures\n\nProcessor time is that of the whole pipeline, user and kernel; memory is the most that one process \
         held (what the bench itself holds, some 9 MiB, is the least that can be seen). Rounds: {}.\n\n",
        found.rounds
    ));
    out.push_str("| events | bytes | bytes an event |\n|---|---|---|\n");
    for size in &found.sizes {
        let each = float(size.bytes) / float(size.events);
        out.push_str(&format!("| {} | {} | {} |\n", size.events, size.bytes, digits(each)));
    }
    out.push_str("\n| | events | processor time, s | wall time, s | memory, MiB |\n|---|---|---|---|---|\n");
    for row in &found.rows {
        out.push_str(&format!(
            "| `{}` | {} | {} | {} | {} |\n",
            // A bar ends a cell, even within code.
            row.name.replace('|', "\\|"),
            row.events,
            row.cpu_s.show(),
            row.wall_s.show(),
            row.peak_mib.show()
        ));
    }
    out.push_str(
        "\n`zstdcat | jq` counts modules by program, which is the least that `report` tells; DuckDB makes the table of `report` \
         ([the script](../xtask/src/bench/duckdb.py)). The tables of `report` read only the fields that they count; filters, \
         `--lines`, `verify` and `check` need whole events, and parsing those is most of their time: serde keeps every field of \
         a flattened object aside before it knows what to make of it (`cargo bench -p kmodtrace` measures that step alone).\n",
    );
    for absent in &found.absent {
        out.push_str(&format!("\nNot there: {absent}\n"));
    }
    goal_table(out, &goals::offline(found));
}

fn goal_table(out: &mut String, goals: &[Goal]) {
    out.push_str("\n### Goals\n\n| goal | wanted | found | met |\n|---|---|---|---|\n");
    for goal in goals {
        let met = if goal.is_met { "yes" } else { "no" };
        out.push_str(&format!("| {} | {} | {} | {met} |\n", goal.what, goal.wanted, digits(goal.found)));
    }
    let causes: BTreeSet<&str> = goals.iter().filter(|goal| !goal.is_met).filter_map(|goal| goal.cause).collect();
    for cause in causes {
        out.push_str(&format!("\n{cause}\n"));
    }
}

#[cfg(test)]
mod tests {
    use kmodtrace_tests::protocol::Plan;

    use super::super::Found;
    use super::super::guest::{self, Online};
    use super::super::offline::{Offline, Row, Size};
    use super::{Figure, Native, markdown, programs};

    /// Check that the page tells the figures that are stored.
    #[test]
    fn the_page_is_made_from_the_stored_figures() {
        let stored: Found = serde_json::from_str(include_str!("../../../docs/performance.json")).unwrap();
        let page = include_str!("../../../docs/performance.md");
        assert_eq!(markdown(&stored), page, "run `cargo xtask bench --write`");
    }

    /// Check that who could not take part is named, that a table is one, and that what was not measured is left out.
    #[test]
    fn the_page_tells_all() {
        let same = |number| Figure { median: number, min: number, max: number };
        let row =
            Row { name: "a | b".to_owned(), events: 100, wall_s: same(2.0), cpu_s: same(2.0), peak_mib: same(8.0) };
        let captures = Offline {
            rounds: 3,
            sizes: vec![Size { events: 100, bytes: 900 }],
            rows: vec![row],
            absent: vec!["duckdb: no pip".to_owned()],
        };
        let row = |figure: &str, value| guest::Row {
            figure: figure.to_owned(),
            who: "kmodtrace record".to_owned(),
            rounds: 1,
            value: same(value),
        };
        let tracing = Online {
            kernel: "6.1.0".to_owned(),
            accelerator: "tcg".to_owned(),
            plan: Plan { rounds: 1, idle_s: 2, storm_s: 3, stopped_s: 4 },
            rows: vec![row("armed_ms", 5.0), row("program x ns_per_run", 7.0)],
        };
        let row = |name: &str, value| programs::Row { name: name.to_owned(), ns: same(value) };
        let rows = vec![row("/bin/true", 800.0), row("module_load", 4.0)];
        let native = Native { kernel: "6.18".to_owned(), rows, absent: None };
        let page = markdown(&Found {
            machine: "one core".to_owned(),
            tracing: Some(tracing),
            programs: Some(native),
            captures: Some(captures),
        });
        for part in [
            "Not there: duckdb: no pip\n",
            "| `a \\| b` | 100 | 2.00 (2.00 to 2.00) | 2.00 (2.00 to 2.00) | 8.00 (8.00 to 8.00) |\n",
            "| 100 | 900 | 9.00 |\n",
            "| kmodtrace record | 5.00 (5.00 to 5.00) |  |  |  |\n",
            "| `x` |  | 7.00 |  |  |\n",
            "| `module_load` | 4.00 (4.00 to 4.00) | 0.50 |\n",
        ] {
            assert!(page.contains(part), "{part} is not in\n{page}");
        }
        let page = markdown(&Found { machine: "one core".to_owned(), tracing: None, programs: None, captures: None });
        assert!(!page.contains("##"), "{page}");
    }
}
