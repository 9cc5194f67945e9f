//! Measures the cost of programs on this machine with `BPF_PROG_TEST_RUN`.
//!
//! Of the program types in use, the kernel supports that for raw tracepoints (since 5.10); their programs capture the same as
//! the preferred kprobes. No module is loaded, so it works on kernels without modules as well.

use aya::{
    Ebpf,
    maps::Map,
    programs::{ProgramError, RawTracePoint, RawTracePointRunOptions, TestRun as _},
    sys::{Stats, enable_stats},
};

use super::{
    ProbeError,
    hooks::{HOOKS, How},
    load::{Fit, descriptor, failed_map, load_at, missing_map},
    losses::{fdinfo, number},
    object::object,
    offsets,
    options::Options,
    ring::RingConsumer,
    runtime_config::RuntimeConfig,
};
use crate::kernel::{btf::Btf, kallsyms::Kallsyms};

/// The ring is drained after this many runs: with a full ring a program has less to do.
const RUNS_BETWEEN: u32 = 64;

/// The measured cost of a program.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ProgramCost {
    /// Its name.
    pub program: &'static str,
    /// Whether it wakes a sleeping reader, or leaves its records to a polling one.
    pub wakes: bool,
    /// Mean of each batch by the kernel's clock (`BPF_STATS_RUN_TIME`).
    pub ns_per_run: Vec<f64>,
}

/// Runs every program that supports test runs, one batch of each in turn, and calls `between` after each round. Programs that
/// record nothing without a request are left out.
///
/// # Errors
/// If the object cannot be loaded, or the kernel cannot run or time programs.
pub fn measure_programs(batches: u32, runs: u32, mut between: impl FnMut()) -> Result<Vec<ProgramCost>, ProbeError> {
    let object = object().ok_or(ProbeError::NoObject)?;
    let btf = Btf::load()?;
    let kallsyms = Kallsyms::load().ok();
    // The programs do not know which process traces, so they record this one.
    let fit = Fit { btf: &btf, options: Options::default() };
    let members = offsets::resolve_available(&btf);
    let mut ebpf = load_at(object, &members, fit, &[])?;
    let settings = ebpf.map("SETTINGS").map(RuntimeConfig::try_from);
    let settings = settings.ok_or_else(|| missing_map("SETTINGS"))?.map_err(|error| failed_map("SETTINGS", error))?;
    let Some(Map::RingBuf(ring)) = ebpf.take_map("EVENTS") else { return Err(missing_map("EVENTS")) };
    let mut ring = RingConsumer::new(ring).map_err(ProbeError::Wait)?;
    let _counting = enable_stats(Stats::RunTime).map_err(|error| fail("any", &error))?;
    // `init_task` stands in for a module: kernel memory that always exists. Its name is garbage of the same length.
    let [module] = kallsyms.as_ref().map_or([None], |symbols| symbols.addresses_of(["init_task"]));
    let module = module.unwrap_or(0);

    let mut found: Vec<ProgramCost> = Vec::new();
    for program in HOOKS.iter().flat_map(|hook| hook.methods).copied().flatten() {
        if program.how == How::RawTracePoint && found.iter().all(|one| one.program != program.name) {
            raw_tracepoint(&mut ebpf, program.name)?.load().map_err(|error| fail(program.name, &error))?;
            found.extend([false, true].map(|wakes| ProgramCost {
                program: program.name,
                wakes,
                ns_per_run: Vec::new(),
            }));
        }
    }
    for _ in 0..batches {
        for one in &mut found {
            settings.set_polling(!one.wakes);
            let before = Taken::of(&ebpf, one.program)?;
            let recorded = batch(raw_tracepoint(&mut ebpf, one.program)?, &mut ring, module, runs);
            let recorded = recorded.map_err(|error| fail(one.program, &error))?;
            let ns_per_run = Taken::of(&ebpf, one.program)?.since(&before);
            if recorded == runs {
                one.ns_per_run.extend(ns_per_run);
            }
        }
        between();
    }
    found.retain(|one| !one.ns_per_run.is_empty());
    Ok(found)
}

/// Runs a program; returns the number of its records.
fn batch(program: &RawTracePoint, ring: &mut RingConsumer, argument: u64, runs: u32) -> Result<u32, ProgramError> {
    let mut recorded = 0;
    for run in 1..=runs {
        let mut options = RawTracePointRunOptions::new();
        options.args[0] = argument;
        program.test_run(options)?;
        if run % RUNS_BETWEEN == 0 || run == runs {
            while ring.next().is_some() {
                recorded += 1;
            }
            ring.commit();
        }
    }
    Ok(recorded)
}

/// Run time of a program since it was loaded.
struct Taken {
    ns: u64,
    runs: u64,
}

impl Taken {
    fn of(ebpf: &Ebpf, program: &'static str) -> Result<Self, ProbeError> {
        let text = std::fs::read_to_string(fdinfo(&descriptor(ebpf, program)?)).unwrap_or_default();
        match (number(&text, "run_time_ns"), number(&text, "run_cnt")) {
            (Some(ns), Some(runs)) => Ok(Self { ns, runs }),
            _ => Err(fail(program, &"this kernel does not measure the run time of programs (added in 5.8)")),
        }
    }

    /// The mean of the runs since `before`; `None` if there was none.
    fn since(&self, before: &Self) -> Option<f64> {
        let (ns, runs) = (self.ns.checked_sub(before.ns)?, self.runs.checked_sub(before.runs)?);
        #[expect(clippy::cast_precision_loss, reason = "a mean needs no precision")]
        let mean = (runs > 0).then(|| ns as f64 / runs as f64);
        mean
    }
}

fn raw_tracepoint<'a>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut RawTracePoint, ProbeError> {
    let program = ebpf.program_mut(name).ok_or_else(|| fail(name, &"it is not in the object"))?;
    program.try_into().map_err(|error: ProgramError| fail(name, &error))
}

fn fail(name: &'static str, why: &dyn std::fmt::Display) -> ProbeError {
    ProbeError::Program { name, why: why.to_string() }
}

#[cfg(test)]
mod tests {
    use super::Taken;

    /// The mean covers only the runs since `before`; without a run there is none.
    #[test]
    fn mean_covers_new_runs_only() {
        let before = Taken { ns: 1000, runs: 10 };
        assert_eq!(Taken { ns: 4000, runs: 16 }.since(&before), Some(500.0));
        assert_eq!(Taken { ns: 1000, runs: 10 }.since(&before), None);
    }
}
