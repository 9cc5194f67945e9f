//! Loads and attaches one program.

use aya::{
    Btf, Ebpf,
    programs::{FEntry, FExit, KProbe, ProgramError, RawTracePoint},
};

use super::hooks::{How, Program};

/// Why a program could not be attached, short.
#[derive(Debug, thiserror::Error)]
pub(super) enum AttachError {
    #[error("{program} is not in the eBPF object")]
    Missing { program: &'static str },
    #[error("{how} {target}: {why}")]
    Refused { how: &'static str, target: &'static str, why: String },
}

/// Loads and attaches `program`. The link lives as long as `ebpf`.
pub(super) fn attach(ebpf: &mut Ebpf, program: Program, btf: &Btf) -> Result<(), AttachError> {
    let Program { name, how, target } = program;
    let loaded = ebpf.program_mut(name).ok_or(AttachError::Missing { program: name })?;
    let result = (|| -> Result<(), ProgramError> {
        match how {
            How::FEntry => {
                let program: &mut FEntry = loaded.try_into()?;
                program.load(target, btf)?;
                program.attach()?;
            }
            How::FExit => {
                let program: &mut FExit = loaded.try_into()?;
                program.load(target, btf)?;
                program.attach()?;
            }
            How::KProbe | How::KRetProbe => {
                let program: &mut KProbe = loaded.try_into()?;
                program.load()?;
                program.attach(target, 0)?;
            }
            How::RawTracePoint => {
                let program: &mut RawTracePoint = loaded.try_into()?;
                program.load()?;
                program.attach(target)?;
            }
        }
        Ok(())
    })();
    result.map_err(|error| AttachError::Refused { how: how.name(), target, why: explain(&error) })
}

/// Unloads what a way that failed half-way has attached.
pub(super) fn detach(ebpf: &mut Ebpf, program: Program) {
    let Some(loaded) = ebpf.program_mut(program.name) else { return };
    let result = match program.how {
        How::FEntry => <&mut FEntry>::try_from(loaded).and_then(FEntry::unload),
        How::FExit => <&mut FExit>::try_from(loaded).and_then(FExit::unload),
        How::KProbe | How::KRetProbe => <&mut KProbe>::try_from(loaded).and_then(KProbe::unload),
        How::RawTracePoint => <&mut RawTracePoint>::try_from(loaded).and_then(RawTracePoint::unload),
    };
    if let Err(error) = result {
        // Not loaded: nothing to undo.
        log::debug!("{} was not loaded: {error}", program.name);
    }
}

/// One line: the system's word, and the end of the verifier's log when there is one.
fn explain(error: &ProgramError) -> String {
    match error {
        ProgramError::LoadError { io_error, verifier_log } => {
            let log = verifier_log.to_string();
            log::debug!("verifier: {log}");
            let said = log.lines().rev().filter(|line| !line.trim().is_empty()).take(3).collect::<Vec<_>>();
            let said = said.into_iter().rev().collect::<Vec<_>>().join(" / ");
            if said.is_empty() { format!("{io_error}") } else { format!("{io_error}; verifier: {said}") }
        }
        ProgramError::SyscallError(error) => format!("{}: {}", error.call, error.io_error),
        other => other.to_string(),
    }
}
