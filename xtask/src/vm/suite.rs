//! Runs scenarios in several guests at once. Some scenarios share a boot; others get a guest of their own.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use kmodtrace_tests::protocol::{EXAMPLE_PATH, Frame, Job, Orders, Outcome, Status};
use kmodtrace_tests::scenarios::{self, Scenario};

use crate::build;

use super::boot::Ending;
use super::extras::Set;
use super::guest::Guest;
use super::report::Report;
use super::snapshot::Snapshot;

/// Time limit of one scenario in an emulated guest.
const SCENARIO_LIMIT: Duration = Duration::from_secs(180);

/// Time limit of boot and power-off on a busy machine, without the scenarios.
const BOOT_LIMIT: Duration = Duration::from_secs(120);

/// Maximum number of scenarios that share a boot, so that they are distributed over guests.
const SHARED_BOOT_SIZE: usize = 8;

/// Guests with more programs, if a selected scenario needs them.
struct ExtendedGuests {
    extras: Option<Guest>,
    tracers: Option<Guest>,
    example: Option<Guest>,
    system: Option<Guest>,
}

impl ExtendedGuests {
    fn of(&self, boot: &[&Scenario]) -> Option<&Guest> {
        if boot.iter().any(|scenario| scenario.system().is_some()) {
            return self.system.as_ref();
        }
        if boot.iter().any(|scenario| scenario.needs_example()) {
            return self.example.as_ref();
        }
        if boot.iter().any(|scenario| scenario.needs_tracers()) {
            return self.tracers.as_ref();
        }
        self.extras.as_ref().filter(|_| boot.iter().any(|scenario| scenario.needs_extras()))
    }
}

impl Guest {
    /// Runs every scenario whose name contains one of the filters, or all without a filter, on up to `parallel` guests.
    ///
    /// `on_outcome` is called for each result as it arrives.
    pub(crate) fn run_scenarios(
        &self,
        filters: &[String],
        parallel: usize,
        on_outcome: &(dyn Fn(&Outcome) + Sync),
    ) -> Result<Report> {
        let chosen = choose(filters)?;
        // Prepare the archives before the run, in a single thread.
        let prepared = |set, needed: bool| needed.then(|| self.clone().with_extras(set)).transpose();
        let extended = ExtendedGuests {
            extras: prepared(Set::Programs, chosen.iter().any(|scenario| scenario.needs_extras()))?,
            // Tracers are packaged for one suite only, so prepare them only if a scenario applies to this kernel.
            example: if chosen.iter().any(|scenario| scenario.needs_example()) {
                Some(self.clone().with_file(build::static_binary(build::TRACE_LIVE)?, EXAMPLE_PATH))
            } else {
                None
            },
            tracers: prepared(
                Set::Tracers,
                chosen.iter().any(|scenario| scenario.needs_tracers() && scenario.applies_to(self.release())),
            )?,
            system: prepared(Set::System, chosen.iter().any(|scenario| scenario.system().is_some()))?,
        };
        let started = Instant::now();
        let planned = plan(&chosen, parallel);
        let restored = planned.iter().filter(|boot| is_plain(boot)).count();
        // Storing a guest takes about as long as a boot.
        let snapshot = if restored > 1 { Some(self.stored()?) } else { None };
        let boots = Mutex::new(planned);
        let report = Mutex::new(Report::new(self.line.name));
        let panicked = thread::scope(|scope| {
            let workers: Vec<_> = (0..parallel.max(1))
                .map(|_| scope.spawn(|| self.work(&extended, snapshot.as_ref(), &boots, &report, on_outcome)))
                .collect();
            workers.into_iter().filter_map(|worker| worker.join().err()).count()
        });
        let mut report = report.into_inner().unwrap_or_else(PoisonError::into_inner);
        if panicked > 0 {
            report.problems.push(format!("{panicked} threads that run guests panicked: results are missing"));
        }
        if let Some(snapshot) = &snapshot {
            report.boots += 1;
            report.boot_ms.push(snapshot.boot_ms);
        }
        report.took = started.elapsed();
        Ok(report)
    }

    /// A snapshot of this guest. A guest whose kernel dies during boot is booted once more, as in `work`.
    fn stored(&self) -> Result<Snapshot> {
        self.snapshot().or_else(|error| {
            eprintln!("vm: {}: booting again: {error:#}", self.line.name);
            self.snapshot()
        })
    }

    /// Boots or restores guests until no scenarios are left. The scenarios of a guest that cannot be started fail; the others still run.
    fn work(
        &self,
        extended: &ExtendedGuests,
        snapshot: Option<&Snapshot>,
        boots: &Mutex<VecDeque<Vec<&'static Scenario>>>,
        report: &Mutex<Report>,
        on_outcome: &(dyn Fn(&Outcome) + Sync),
    ) {
        loop {
            // The locks protect plain data, so the data is valid even after a panic in another thread.
            let Some(boot) = boots.lock().unwrap_or_else(PoisonError::into_inner).pop_front() else { return };
            let limit = BOOT_LIMIT + SCENARIO_LIMIT * u32::try_from(boot.len()).unwrap_or(u32::MAX);
            let names: Vec<String> = boot.iter().map(|scenario| scenario.name.to_owned()).collect();
            let orders = Orders { job: Job::Scenarios { names, timeout_s: SCENARIO_LIMIT.as_secs() } };
            let mut outcomes = Vec::new();
            let arguments = boot.iter().flat_map(|scenario| scenario.kernel_arguments());
            let guest = extended.of(&boot).unwrap_or(self).clone();
            let guest = arguments.fold(guest, Self::with_kernel_arguments).with_timeout(limit);
            let mut on_frame = |frame: &Frame| {
                if let Frame::TestEnd(outcome) = frame {
                    on_outcome(outcome);
                    outcomes.push(outcome.clone());
                }
            };
            let snapshot = snapshot.filter(|_| is_plain(&boot));
            let mut booted = match snapshot {
                Some(snapshot) => guest.continue_from(snapshot, &orders, &mut on_frame),
                None => guest.boot(&orders, &mut on_frame),
            };
            if let Some(evidence) = died_before_agent(&booted) {
                eprintln!("vm: {}: booting again: {evidence}", self.line.name);
                booted = guest.boot(&orders, &mut on_frame);
            }
            let mut report = report.lock().unwrap_or_else(PoisonError::into_inner);
            let (ending, evidence) = match booted {
                Ok(booted) => booted,
                Err(error) => {
                    let lost = not_run(&boot, &outcomes, &error);
                    lost.iter().for_each(on_outcome);
                    report.outcomes.extend(outcomes.into_iter().chain(lost));
                    continue;
                }
            };
            report.boots += usize::from(snapshot.is_none());
            report.restores += usize::from(snapshot.is_some());
            report.boot_ms.extend(ending.boot_ms);
            report.evidence.extend(evidence);
            let release = ending.release.as_deref().unwrap_or_default();
            report.problems.extend(result_problems(&boot, &outcomes, release));
            report.outcomes.extend(outcomes);
        }
    }
}

/// Describes a guest whose kernel died before the agent started. An emulated guest that does not get enough processor time
/// sometimes panics while the kernel calibrates clocks or patches code. Such a guest is booted once more, with a message.
fn died_before_agent(booted: &Result<(Ending, Option<String>)>) -> Option<&str> {
    match booted {
        Ok((Ending { release: None, boot_ms: None, .. }, Some(evidence))) => Some(evidence),
        _ => None,
    }
}

/// The scenarios that the filters match. It is an error if there are none.
pub(super) fn choose(filters: &[String]) -> Result<Vec<&'static Scenario>> {
    let wanted =
        |scenario: &&Scenario| filters.is_empty() || filters.iter().any(|part| scenario.name.contains(part.as_str()));
    let chosen: Vec<_> = scenarios::all().filter(wanted).collect();
    if chosen.is_empty() {
        bail!(
            "invalid scenario filter {:?}: expected a part of a name; list the names with cargo xtask vm test --list",
            filters.join(" or ")
        );
    }
    Ok(chosen)
}

/// Failures for the scenarios of a boot that have no result because the guest could not be run.
fn not_run(ordered: &[&Scenario], outcomes: &[Outcome], error: &anyhow::Error) -> Vec<Outcome> {
    let lost = ordered.iter().filter(|scenario| outcomes.iter().all(|outcome| outcome.name != scenario.name));
    let outcome = |scenario: &&Scenario| Outcome {
        name: scenario.name.to_owned(),
        status: Status::Failed,
        reason: format!("the guest could not be run: {error:#}"),
        duration_ms: 0,
        output: String::new(),
    };
    lost.map(outcome).collect()
}

/// Distributes scenarios over boots. Shared boots are filled evenly; scenarios with a guest of their own come last.
fn plan<'a>(chosen: &[&'a Scenario], parallel: usize) -> VecDeque<Vec<&'a Scenario>> {
    let (fresh, shared): (Vec<&Scenario>, Vec<&Scenario>) =
        chosen.iter().copied().partition(|scenario| is_alone(scenario));
    let mut boots = VecDeque::new();
    if !shared.is_empty() {
        let guests = shared.len().div_ceil(SHARED_BOOT_SIZE).max(parallel.clamp(1, shared.len().div_ceil(2)));
        boots.extend(shared.chunks(shared.len().div_ceil(guests)).map(<[_]>::to_vec));
    }
    boots.extend(fresh.into_iter().map(|scenario| vec![scenario]));
    boots
}

/// Whether the scenarios need nothing that a plain guest lacks, so that they can run in a restored one.
fn is_plain(boot: &[&Scenario]) -> bool {
    boot.iter().all(|scenario| {
        let has_more = scenario.needs_extras() || scenario.needs_tracers() || scenario.needs_example();
        !has_more && scenario.system().is_none() && scenario.kernel_arguments().next().is_none()
    })
}

/// Whether a scenario needs a guest of its own.
fn is_alone(scenario: &Scenario) -> bool {
    scenario.fresh_boot || !is_plain(&[scenario])
}

/// Problems with the results of a boot besides failures: missing, unknown, or unexpectedly skipped ones.
fn result_problems(ordered: &[&Scenario], outcomes: &[Outcome], release: &str) -> Vec<String> {
    let mut problems = Vec::new();
    for scenario in ordered {
        let found: Vec<&Outcome> = outcomes.iter().filter(|outcome| outcome.name == scenario.name).collect();
        match found[..] {
            [] => problems.push(format!("{}: no result", scenario.name)),
            [outcome] if outcome.status == Status::Skipped && scenario.applies_to(release) => {
                problems.push(format!("{}: skipped, although it applies to {release}", scenario.name));
            }
            [_] => {}
            _ => problems.push(format!("{}: {} results", scenario.name, found.len())),
        }
    }
    for outcome in outcomes {
        if ordered.iter().all(|scenario| scenario.name != outcome.name) {
            problems.push(format!("{}: unexpected result", outcome.name));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;
    use kmodtrace_tests::scenarios::Need;

    const fn scenario(name: &'static str, fresh_boot: bool, needs: &'static [Need]) -> Scenario {
        Scenario { name, fresh_boot, needs, run: |_| Ok(()) }
    }

    static A: Scenario = scenario("a", false, &[]);
    static B: Scenario = scenario("b", true, &[]);
    static ARGUMENT: Scenario = scenario("argument", false, &[Need::KernelArgument("x=1")]);
    static NEW: Scenario = scenario("new", false, &[Need::Kernel(6, 12)]);

    fn outcome(name: &str, status: Status) -> Outcome {
        Outcome { name: name.into(), status, reason: String::new(), duration_ms: 1, output: String::new() }
    }

    /// A scenario that needs a fresh boot never shares one, and every scenario is run exactly once.
    #[test]
    fn fresh_boots_are_alone() {
        let many: Vec<&Scenario> = [&A; 19].into_iter().chain([&B; 3]).chain([&ARGUMENT; 2]).collect();
        for parallel in [0, 1, 2, 5] {
            let boots = plan(&many, parallel);
            assert_eq!(boots.iter().map(Vec::len).sum::<usize>(), many.len());
            assert!(boots.iter().all(|boot| boot.len() == 1 || boot.iter().all(|scenario| !is_alone(scenario))));
            assert!(boots.iter().all(|boot| !boot.is_empty() && boot.len() <= SHARED_BOOT_SIZE));
        }
        assert!(plan(&[], 2).is_empty());
    }

    /// Scenarios of a guest that could not be run fail with the reason; earlier results are kept.
    #[test]
    fn scenarios_of_a_failed_guest_fail() {
        let error = anyhow::anyhow!("no space left").context("cannot create qemu.log");
        let lost = not_run(&[&A, &B, &NEW], &[outcome("b", Status::Passed)], &error);
        assert_eq!(lost.iter().map(|outcome| outcome.name.as_str()).collect::<Vec<_>>(), ["a", "new"]);
        assert!(lost.iter().all(|outcome| outcome.status == Status::Failed));
        assert_eq!(lost[0].reason, "the guest could not be run: cannot create qemu.log: no space left");
        assert!(!choose(&[]).unwrap().is_empty());
        assert!(choose(&["no such scenario".to_owned()]).is_err());
    }

    /// Only a guest without any frame is booted again.
    #[test]
    fn guest_is_booted_again_only_before_its_agent() {
        let booted = |release: Option<&str>, evidence: Option<&str>| {
            let ending = Ending { problems: Vec::new(), release: release.map(str::to_owned), boot_ms: None };
            Ok((ending, evidence.map(str::to_owned)))
        };
        assert_eq!(died_before_agent(&booted(None, Some("panic"))), Some("panic"));
        assert_eq!(died_before_agent(&booted(None, None)), None);
        assert_eq!(died_before_agent(&booted(Some("6.1.0"), Some("panic"))), None);
        assert_eq!(died_before_agent(&Err(anyhow::anyhow!("no QEMU"))), None);
    }

    /// Missing, duplicate, unknown and unexpectedly skipped results are problems; an expected skip is not.
    #[test]
    fn inconsistent_results_are_problems() {
        let passed = outcome("a", Status::Passed);
        assert!(result_problems(&[&A], std::slice::from_ref(&passed), "6.1.0").is_empty());
        assert_eq!(result_problems(&[&A], &[], "6.1.0").len(), 1);
        assert_eq!(result_problems(&[&A], &[passed.clone(), passed.clone()], "6.1.0").len(), 1);
        assert_eq!(result_problems(&[], &[passed], "6.1.0").len(), 1);
        assert_eq!(result_problems(&[&A], &[outcome("a", Status::Skipped)], "6.1.0").len(), 1);
        assert!(result_problems(&[&NEW], &[outcome("new", Status::Skipped)], "6.1.0").is_empty());
        assert_eq!(result_problems(&[&NEW], &[outcome("new", Status::Skipped)], "6.12.1").len(), 1);
    }
}
