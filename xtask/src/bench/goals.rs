//! Performance goals, as ratios and amounts of one run, and whether they are met.

use super::boot::Boot;
use super::guest::Online;
use super::offline::{Offline, Row};
use super::stats::float;

/// A goal.
pub(super) struct Goal {
    pub(super) what: String,
    pub(super) found: f64,
    /// The limit as text.
    pub(super) wanted: &'static str,
    pub(super) is_met: bool,
    /// Known reasons if the goal is missed, and how to measure them.
    pub(super) cause: Option<&'static str>,
}

const ARMED: &str = "Breakdown of the time until armed: according to a profile (`cargo xtask vm run --tracers -- sh -c 'perf record -o /run/p -F 999 -g \
                     kmodtrace watch --duration 1ms; perf report -i /run/p --children -g none'`), the time before the last hook consists of \
                     the verifier (two fifths), attaching (a quarter; for each hook, ftrace searches all functions of the kernel), \
                     the start of the program (a sixth), and aya's processing of the object and of the kernel's types (a tenth \
                     each). Programs are loaded one after the other, and symbols are read after attaching.";

const MEMORY: &str = "Breakdown of memory from `/proc/PID/smaps` when idle: the ring buffer is the largest part (4 MiB by default); code \
                      and heap have 3 MiB each, the kernel's symbols 1 MiB.";

const IDLE: &str = "When idle, the tracer wakes up once per second, and every thirty seconds if nothing has happened for four, to read \
                    the counters of missed runs, for which there is no notification.";

const PROGRAMS: &str = "Breakdown of the programs' run time: more than half is the program of the request, which captures the requester \
                        (executable, arguments, cgroup, eight parents, two stacks); the kernel checks each of these reads. The \
                        cheapest request starts a program that does nothing; a real modprobe takes longer.";

/// The tick of the kernel's clock for processor time (`USER_HZ`).
const TICK_MS: f64 = 10.0;

impl Goal {
    fn at_most(what: impl Into<String>, found: f64, limit: f64, wanted: &'static str) -> Self {
        Self { what: what.into(), found, wanted, is_met: found <= limit, cause: None }
    }

    fn missed_by(self, cause: &'static str) -> Self {
        Self { cause: Some(cause), ..self }
    }
}

/// The goals of tracing.
pub(super) fn online(found: &Online) -> Vec<Goal> {
    let median = |figure: &str, tracer: &str| found.get(figure, tracer).map(|figure| figure.median);
    let mut goals = Vec::new();
    for ours in ["kmodtrace watch", "kmodtrace record"] {
        if let (Some(our), Some(their)) = (median("armed_ms", ours), median("armed_ms", "bpftrace")) {
            let what = format!("`{ours}`: time until armed (bpftrace = 1)");
            goals.push(Goal::at_most(what, our / their, 0.2, "at most 0.2").missed_by(ARMED));
        }
        if let (Some(our), Some(their)) = (median("resident_after_kib", ours), median("resident_after_kib", "bpftrace"))
        {
            let what = format!("`{ours}`: memory after all storms (bpftrace = 1)");
            goals.push(Goal::at_most(what, our / their, 0.125, "at most 0.125").missed_by(MEMORY));
            let what = format!("`{ours}`: memory after all storms, MiB");
            goals.push(Goal::at_most(what, our / 1024.0, 14.0, "under 14").missed_by(MEMORY));
        }
        if let Some(taken) = found.get("idle_cpu_ms_per_s", ours) {
            let what = format!("`{ours}`: processor time while idle, ms per second");
            // One tick is the resolution of the clock, and is charged to a process that runs when it ticks.
            let tick = TICK_MS / float(found.plan.idle_s.max(1));
            goals.push(Goal::at_most(what, taken.max, tick, "at most one tick in total").missed_by(IDLE));
        }
    }
    for ours in ["kmodtrace watch", "kmodtrace record", "kmodtrace record --pin"] {
        let lost = ["one_by_one", "storm_62", "storm_long", "stopped", "after_arming"];
        let lost = lost.iter().filter_map(|phase| found.get(&format!("lost_{phase}"), ours));
        let lost = lost.map(|figure| figure.max).sum();
        goals.push(Goal::at_most(format!("`{ours}`: requests lost, all storms together"), lost, 0.0, "none"));
    }
    if let Some(request) = median("with_statistics_request_ns", "kmodtrace record") {
        let programs = found.rows.iter().filter(|row| row.figure.ends_with("ns_per_request"));
        let programs = programs.filter(|row| row.figure.starts_with("program ")).map(|row| row.value.median);
        let found = 100.0 * programs.sum::<f64>() / request;
        let goal = Goal::at_most("all programs together, share of the cheapest request, %", found, 1.0, "under 1");
        goals.push(goal.missed_by(PROGRAMS));
    }
    for (figure, what) in [("programs_per_s", "programs started"), ("opens_per_s", "files opened")] {
        let Some((nothing, again)) = found.get(figure, "nothing").zip(found.get(figure, "nothing, again")) else {
            continue;
        };
        if let Some(ours) = found.get(figure, "kmodtrace record") {
            // By how much it is below the minimum without a tracer.
            let least = nothing.min.min(again.min);
            let what = format!("{what} per second while recording: below the minimum without a tracer, %");
            goals.push(Goal::at_most(what, 100.0 * (1.0 - ours.median / least).max(0.0), 0.0, "within the noise"));
        }
    }
    goals
}

/// The goals of boots with the recorder.
pub(super) fn boot(found: &Boot) -> Vec<Goal> {
    let share = found.recorder_percent.median;
    vec![Goal::at_most("the recorder's share of the processor time of a boot, %", share, 3.0, "at most 3")]
}

/// The goals of reading captures.
pub(super) fn offline(found: &Offline) -> Vec<Goal> {
    let row = |name: &str, events: u64| found.rows.iter().find(|row| row.name == name && row.events == events);
    let mut goals = Vec::new();
    let Some(most) = found.sizes.iter().map(|size| size.events).max() else { return goals };
    let Some(report) = row("kmodtrace report", most) else { return goals };
    let ratio = |other: &Row| other.cpu_s.median / report.cpu_s.median;
    if let Some(jq) = row("zstdcat | jq", most) {
        let found = ratio(jq);
        let what = format!("`report` of {most} events: speed relative to `zstdcat \\| jq`");
        goals.push(Goal { what, found, wanted: "at least 10", is_met: found >= 10.0, cause: None });
    }
    if let Some(duckdb) = row("DuckDB", most) {
        let what = format!("`report` of {most} events: processor time (DuckDB = 1)");
        goals.push(Goal::at_most(what, 1.0 / ratio(duckdb), 2.0, "at most 2"));
    }
    let memory = report.peak_mib.median;
    goals.push(Goal::at_most(format!("`report` of {most} events: memory, MiB"), memory, 64.0, "under 64"));
    let least = found.sizes.iter().map(|size| size.events).min().unwrap_or(most);
    if let Some(small) = row("kmodtrace report", least).filter(|_| least < most) {
        let found = report.cpu_s.median / small.cpu_s.median / (float(most) / float(least));
        let what = format!("`report`: growth from {least} to {most} events (linear = 1)");
        goals.push(Goal::at_most(what, found, 1.2, "at most 1.2"));
    }
    goals
}

#[cfg(test)]
mod tests {
    use kmodtrace_tests::protocol::Plan;

    use super::super::guest::{self, Online};
    use super::super::offline::{Offline, Row, Size};
    use super::super::stats::Figure;
    use super::{offline, online};

    fn same(number: f64) -> Figure {
        Figure { median: number, min: number, max: number }
    }

    fn row(name: &'static str, events: u64, seconds: f64, mib: f64) -> Row {
        Row { name: name.to_owned(), events, wall_s: same(seconds), cpu_s: same(seconds), peak_mib: same(mib) }
    }

    /// Goals of captures are ratios for the largest capture, met and missed.
    #[test]
    fn goals_of_captures_are_ratios() {
        let ours =
            |small, large, mib| vec![row("kmodtrace report", 10, small, mib), row("kmodtrace report", 100, large, mib)];
        let others = || [row("zstdcat | jq", 100, 110.0, 4.0), row("DuckDB", 100, 4.0, 900.0)];
        let met = |rows: Vec<Row>| {
            let sizes = vec![Size { events: 10, bytes: 100 }, Size { events: 100, bytes: 900 }];
            let found = Offline { rounds: 3, sizes, rows, absent: Vec::new() };
            offline(&found).iter().map(|goal| goal.is_met).collect::<Vec<_>>()
        };
        assert_eq!(met(ours(1.0, 10.0, 8.0).into_iter().chain(others()).collect()), [true, false, true, true]);
        assert_eq!(met(ours(1.0, 5.0, 80.0).into_iter().chain(others()).collect()), [true, true, false, true]);
        assert_eq!(met(ours(1.0, 20.0, 8.0)), [true, false]);
    }

    /// One tick while idle meets the goal, two ticks do not.
    #[test]
    fn idle_goal_allows_one_tick() {
        let is_met = |ms_per_s| {
            let figure = "idle_cpu_ms_per_s".to_owned();
            let rows =
                vec![guest::Row { figure, tracer: "kmodtrace watch".to_owned(), rounds: 1, value: same(ms_per_s) }];
            let plan = Plan { rounds: 1, idle_s: 60, storm_s: 1, stopped_s: 1 };
            let found = Online { kernel: String::new(), accelerator: String::new(), plan, rows };
            online(&found).first().unwrap().is_met
        };
        assert!(is_met(0.0) && is_met(10.0 / 60.0));
        assert!(!is_met(20.0 / 60.0));
    }

    /// One lost request, or a lower fork rate, misses a goal.
    #[test]
    fn goals_of_tracing_are_ratios() {
        let row = |figure: &str, tracer: &str, number| guest::Row {
            figure: figure.to_owned(),
            tracer: tracer.to_owned(),
            rounds: 1,
            value: same(number),
        };
        let met = |armed_ms, lost, programs_per_s| {
            let rows = vec![
                row("armed_ms", "bpftrace", 100.0),
                row("armed_ms", "kmodtrace watch", armed_ms),
                row("lost_storm_62", "kmodtrace record --pin", lost),
                row("programs_per_s", "nothing", 90.0),
                row("programs_per_s", "nothing, again", 100.0),
                row("programs_per_s", "kmodtrace record", programs_per_s),
                row("with_statistics_request_ns", "kmodtrace record", 1000.0),
                row("program a ns_per_request", "kmodtrace record", 6.0),
                row("program b ns_per_request", "kmodtrace record", 6.0),
            ];
            let plan = Plan { rounds: 1, idle_s: 1, storm_s: 1, stopped_s: 1 };
            let found = Online { kernel: String::new(), accelerator: String::new(), plan, rows };
            online(&found).iter().map(|goal| goal.is_met).collect::<Vec<_>>()
        };
        // Time until armed, losses of each of three, all programs together, and programs started.
        assert_eq!(met(20.0, 0.0, 91.0), [true, true, true, true, false, true]);
        assert_eq!(met(30.0, 1.0, 89.0), [false, true, true, false, false, false]);
    }
}
