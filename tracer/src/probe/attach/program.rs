//! Loads and attaches one program.

use std::path::Path;

use aya::{
    Btf, Ebpf,
    programs::{FEntry, FExit, KProbe, ProgramError, RawTracePoint, links::FdLink},
};

use crate::probe::hooks::{How, Program};

/// Why a program could not be attached, in one line.
#[derive(Debug, thiserror::Error)]
pub(super) enum AttachError {
    #[error("{program} is not in the eBPF object")]
    Missing { program: &'static str },
    #[error("{how} {target}: {why}")]
    Refused { how: &'static str, target: &'static str, why: String },
    #[error("{how} {target}: cannot pin: {why}")]
    Pin { how: &'static str, target: &'static str, why: String },
}

/// Loads and attaches `program`. The link lives as long as the object.
pub(super) fn attach(ebpf: &mut Ebpf, program: Program, btf: &Btf) -> Result<(), AttachError> {
    let Program { name, how, target, .. } = program;
    let loaded = ebpf.program_mut(name).ok_or(AttachError::Missing { program: name })?;
    let attached = load(loaded, program, btf).and_then(|()| match how {
        How::FEntry => <&mut FEntry>::try_from(loaded)?.attach().map(drop),
        How::FExit => <&mut FExit>::try_from(loaded)?.attach().map(drop),
        How::KProbe | How::KRetProbe => <&mut KProbe>::try_from(loaded)?.attach(target, 0).map(drop),
        How::RawTracePoint => <&mut RawTracePoint>::try_from(loaded)?.attach(target).map(drop),
    });
    attached.map_err(|error| AttachError::Refused { how: how.name(), target, why: explain(&error) })
}

/// Loads a program, unless another attach method has done so.
fn load(loaded: &mut aya::programs::Program, program: Program, btf: &Btf) -> Result<(), ProgramError> {
    if loaded.fd().is_ok() {
        return Ok(());
    }
    match program.how {
        How::FEntry => <&mut FEntry>::try_from(loaded)?.load(program.target, btf),
        How::FExit => <&mut FExit>::try_from(loaded)?.load(program.target, btf),
        How::KProbe | How::KRetProbe => <&mut KProbe>::try_from(loaded)?.load(),
        How::RawTracePoint => <&mut RawTracePoint>::try_from(loaded)?.load(),
    }
}

/// Whether this kernel can keep a program attached without a process: kprobes are links since 5.15.
fn is_pinnable(how: How) -> bool {
    !matches!(how, How::KProbe | How::KRetProbe) || aya::features().bpf_perf_link()
}

/// Whether kprobes can be pinned on the running kernel; all other programs always can.
#[must_use]
pub fn can_pin_kprobes() -> bool {
    is_pinnable(How::KProbe)
}

/// File names of a program's link and of the program itself in the pin directory.
pub(in crate::probe) fn pin_names(name: &str) -> [String; 2] {
    [format!("{name}_link"), name.to_owned()]
}

/// Like [`attach`], and pins link and program: they outlast this process.
pub(super) fn attach_pinned(ebpf: &mut Ebpf, program: Program, btf: &Btf, pins: &Path) -> Result<(), AttachError> {
    let Program { name, how, target, .. } = program;
    let fail = |why: String| AttachError::Pin { how: how.name(), target, why };
    if !is_pinnable(how) {
        return Err(fail("this kernel has no links for kprobes (added in 5.15)".to_owned()));
    }
    let loaded = ebpf.program_mut(name).ok_or(AttachError::Missing { program: name })?;
    let link = load(loaded, program, btf).and_then(|()| link(loaded, program));
    let link = link.map_err(|error| AttachError::Refused { how: how.name(), target, why: explain(&error) })?;
    let [link_name, program_name] = pin_names(name);
    link.pin(pins.join(link_name)).map_err(|error| fail(error.to_string()))?;
    loaded.pin(pins.join(program_name)).map_err(|error| fail(error.to_string()))
}

/// Attaches a loaded program and takes its link.
fn link(loaded: &mut aya::programs::Program, program: Program) -> Result<FdLink, ProgramError> {
    match program.how {
        How::FEntry => take_link(loaded, |program: &mut FEntry| {
            let id = program.attach()?;
            Ok(program.take_link(id)?.into())
        }),
        How::FExit => take_link(loaded, |program: &mut FExit| {
            let id = program.attach()?;
            Ok(program.take_link(id)?.into())
        }),
        How::KProbe | How::KRetProbe => take_link(loaded, |probe: &mut KProbe| {
            let id = probe.attach(program.target, 0)?;
            let link = probe.take_link(id)?;
            FdLink::try_from(link).map_err(|error| ProgramError::IOError(std::io::Error::other(error)))
        }),
        How::RawTracePoint => take_link(loaded, |probe: &mut RawTracePoint| {
            let id = probe.attach(program.target)?;
            Ok(probe.take_link(id)?.into())
        }),
    }
}

/// Attaches a program of one type and takes its link.
fn take_link<'a, P: 'a>(
    program: &'a mut aya::programs::Program,
    attach: impl FnOnce(&mut P) -> Result<FdLink, ProgramError>,
) -> Result<FdLink, ProgramError>
where
    &'a mut P: TryFrom<&'a mut aya::programs::Program, Error = ProgramError>,
{
    attach(program.try_into()?)
}

/// Removes the pins of a partly attached method.
pub(super) fn detach_pinned(program: Program, pins: &Path) {
    for name in pin_names(program.name) {
        if let Err(error) = std::fs::remove_file(pins.join(&name)) {
            log::debug!("cannot remove the pin {name}: {error}");
        }
    }
}

/// Detaches the programs of a partly attached method.
pub(super) fn detach(ebpf: &mut Ebpf, program: Program) {
    let result = ebpf.program_mut(program.name).map(|loaded| match program.how {
        How::FEntry => <&mut FEntry>::try_from(loaded).and_then(FEntry::unload),
        How::FExit => <&mut FExit>::try_from(loaded).and_then(FExit::unload),
        How::KProbe | How::KRetProbe => <&mut KProbe>::try_from(loaded).and_then(KProbe::unload),
        How::RawTracePoint => <&mut RawTracePoint>::try_from(loaded).and_then(RawTracePoint::unload),
    });
    if let Some(Err(error)) = result {
        // An error means that the program was not loaded.
        log::debug!("cannot unload {}: {error}", program.name);
    }
}

/// The error of the system call, and the end of the verifier log if there is one, in one line.
fn explain(error: &ProgramError) -> String {
    match error {
        ProgramError::LoadError { io_error, verifier_log } => {
            let log = verifier_log.to_string();
            log::debug!("verifier: {log}");
            let last = log.lines().rev().filter(|line| !line.trim().is_empty()).take(3).collect::<Vec<_>>();
            let last = last.into_iter().rev().collect::<Vec<_>>().join(" / ");
            if last.is_empty() { format!("{io_error}") } else { format!("{io_error}; verifier: {last}") }
        }
        ProgramError::SyscallError(error) => format!("{}: {}", error.call, error.io_error),
        other => other.to_string(),
    }
}
