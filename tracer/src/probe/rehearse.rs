//! Runs programs at the kernel's bidding of ours (`BPF_PROG_TEST_RUN`), without anything that they trace: what they cost on
//! this machine.
//!
//! Of the program types in use the kernel does so for raw tracepoints (since 5.10), and the programs there capture the same as
//! the probes that are preferred to them. No module is loaded, so it works on kernels without modules as well.

use aya::{
    Ebpf,
    maps::Map,
    programs::{ProgramError, RawTracePoint, RawTracePointRunOptions, TestRun as _},
    sys::{Stats, enable_stats},
};

use super::{
    ProbeError,
    held::HeldRing,
    hooks::{HOOKS, How},
    load::{Fit, descriptor, failed_map, load_at, missing_map},
    object::object,
    offsets,
    options::Options,
    settings::Settings,
    skipped::{fdinfo, number, read},
};
use crate::kernel::{btf::Btf, kallsyms::Kallsyms};

/// The ring is emptied after this many runs: where it is full, a program has less to do.
const RUNS_BETWEEN: u32 = 64;

/// What one program took.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Rehearsal {
    /// Its name.
    pub program: &'static str,
    /// Whether it wakes a reader who sleeps, or leaves its records to one who looks by itself.
    pub wakes: bool,
    /// By the kernel's own clock (`BPF_STATS_RUN_TIME`), the mean of each batch.
    pub ns_per_run: Vec<f64>,
}

/// Has every program run that can be run so, each batch of all of them after the other, and calls `between` after each.
/// Programs that have nothing to record without a request are left out.
///
/// # Errors
/// When the object cannot be loaded, or the kernel does not run or time programs.
pub fn rehearse(batches: u32, runs: u32, mut between: impl FnMut()) -> Result<Vec<Rehearsal>, ProbeError> {
    let object = object().ok_or(ProbeError::NoObject)?;
    let btf = Btf::load()?;
    let kallsyms = Kallsyms::load().ok();
    // Pinned programs leave nobody out: the one who asks for these runs is the one whom they describe.
    let options = Options { pin: true, ..Options::default() };
    let fit = Fit { btf: &btf, options };
    let members = offsets::what_there_is(&btf);
    let mut ebpf = load_at(object, &members, fit, &[])?;
    let settings = ebpf.map("SETTINGS").map(Settings::try_from);
    let settings = settings.ok_or_else(|| missing_map("SETTINGS"))?.map_err(|error| failed_map("SETTINGS", error))?;
    let Some(Map::RingBuf(ring)) = ebpf.take_map("EVENTS") else { return Err(missing_map("EVENTS")) };
    let mut ring = HeldRing::new(ring).map_err(ProbeError::Wait)?;
    let _counting = enable_stats(Stats::RunTime).map_err(|error| fail("any", &error))?;
    // In place of a module, memory of the kernel that is always there: its name is nonsense, and as long.
    let [module] = kallsyms.as_ref().map_or([None], |symbols| symbols.addresses_of(["init_task"]));
    let module = module.unwrap_or(0);

    let mut found: Vec<Rehearsal> = Vec::new();
    for program in HOOKS.iter().flat_map(|hook| hook.ways).copied().flatten() {
        if program.how == How::RawTracePoint && found.iter().all(|one| one.program != program.name) {
            raw_tracepoint(&mut ebpf, program.name)?.load().map_err(|error| fail(program.name, &error))?;
            found.extend([false, true].map(|wakes| Rehearsal { program: program.name, wakes, ns_per_run: Vec::new() }));
        }
    }
    for _ in 0..batches {
        for one in &mut found {
            settings.set_awake(!one.wakes);
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

/// Has a program run, and says how many records it made.
fn batch(program: &RawTracePoint, ring: &mut HeldRing, argument: u64, runs: u32) -> Result<u32, ProgramError> {
    let mut recorded = 0;
    for run in 1..=runs {
        let mut options = RawTracePointRunOptions::new();
        options.args[0] = argument;
        program.test_run(options)?;
        if run % RUNS_BETWEEN == 0 || run == runs {
            while ring.next().is_some() {
                recorded += 1;
            }
            ring.release();
        }
    }
    Ok(recorded)
}

/// What a program has taken since it was loaded.
struct Taken {
    ns: u64,
    runs: u64,
}

impl Taken {
    fn of(ebpf: &Ebpf, program: &'static str) -> Result<Self, ProbeError> {
        let text = read(&fdinfo(&descriptor(ebpf, program)?)).unwrap_or_default();
        match (number(&text, "run_time_ns"), number(&text, "run_cnt")) {
            (Some(ns), Some(runs)) => Ok(Self { ns, runs }),
            _ => Err(fail(program, &"this kernel does not time programs (5.8 and later do)")),
        }
    }

    /// The mean of the runs since then; nothing where none was timed.
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

    /// Check that only what came since counts, and that no run is no figure.
    #[test]
    fn a_mean_is_of_what_came_since() {
        let before = Taken { ns: 1000, runs: 10 };
        assert_eq!(Taken { ns: 4000, runs: 16 }.since(&before), Some(500.0));
        assert_eq!(Taken { ns: 1000, runs: 10 }.since(&before), None);
    }
}
