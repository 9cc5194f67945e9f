//! Shows the programs which process traces.

use aya::{
    Ebpf,
    programs::{ProgramError, RawTracePoint, RawTracePointRunOptions, TestRun as _},
};

use super::ProbeError;

/// A program that only notes the process that runs it: see `tracer-ebpf/src/probes/own_process.rs`.
const PROGRAM: &str = "own";

/// Makes the programs skip what this process does, and mark what its descendants do.
pub(super) fn identify(ebpf: &mut Ebpf) -> Result<(), ProbeError> {
    let result = run(ebpf).map_err(|error| ProbeError::Program { name: PROGRAM, why: error.to_string() })?;
    match result {
        0 => Ok(()),
        code => Err(ProbeError::Program { name: PROGRAM, why: format!("it returned {code}") }),
    }
}

fn run(ebpf: &mut Ebpf) -> Result<u32, ProgramError> {
    let program = ebpf.program_mut(PROGRAM).ok_or_else(|| ProgramError::InvalidName { name: PROGRAM.to_owned() })?;
    let program: &mut RawTracePoint = program.try_into()?;
    program.load()?;
    Ok(program.test_run(RawTracePointRunOptions::new())?.return_value)
}
