//! Loads and attaches one program.

use std::path::Path;

use aya::{
    Btf, Ebpf,
    maps::{MapError, ProgramArray},
    programs::{FEntry, FExit, KProbe, ProgramError, RawTracePoint, links::FdLink},
};

use super::hooks::{How, Place, Program};

/// Why a program could not be attached, short.
#[derive(Debug, thiserror::Error)]
pub(super) enum AttachError {
    #[error("{program} is not in the eBPF object")]
    Missing { program: &'static str },
    #[error("{how} {target}: {why}")]
    Refused { how: &'static str, target: &'static str, why: String },
    #[error("{how} {target}: cannot be pinned: {why}")]
    Pin { how: &'static str, target: &'static str, why: String },
    #[error("{program}, which does the rest, cannot be jumped to: {why}")]
    Tail { program: &'static str, why: String },
}

/// Loads and attaches `program`. The link lives as long as `ebpf`.
pub(super) fn attach(ebpf: &mut Ebpf, program: Program, btf: &Btf) -> Result<(), AttachError> {
    if let Some(tail) = program.jumps_to {
        make_ready(ebpf, *tail, btf)?;
    }
    let Program { name, how, target, .. } = program;
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
                // One that others jump to may have been loaded for them.
                if program.fd().is_err() {
                    program.load()?;
                }
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

/// Loads a program that others jump to, and puts it in its place. It is attached, if at all, by its own hook.
fn make_ready(ebpf: &mut Ebpf, program: Program, btf: &Btf) -> Result<(), AttachError> {
    let Program { name, how, target, place, .. } = program;
    let fail = |why: String| AttachError::Tail { program: name, why };
    let place = place.ok_or_else(|| fail("it has no place".to_owned()))?;
    let loaded = ebpf.program_mut(name).ok_or(AttachError::Missing { program: name })?;
    let mut load = || match how {
        How::KProbe => {
            let program: &mut KProbe = loaded.try_into()?;
            if program.fd().is_err() { program.load() } else { Ok(()) }
        }
        How::FExit => {
            let program: &mut FExit = loaded.try_into()?;
            if program.fd().is_err() { program.load(target, btf) } else { Ok(()) }
        }
        How::FEntry | How::KRetProbe | How::RawTracePoint => Err(ProgramError::UnexpectedProgramType),
    };
    load().map_err(|error| fail(explain(&error)))?;
    put(ebpf, name, place).map_err(|error| fail(error.to_string()))
}

/// Puts a loaded program in its place. The map stays with `ebpf`: when nobody holds it any more, its places are emptied.
fn put(ebpf: &mut Ebpf, name: &'static str, place: Place) -> Result<(), MapError> {
    let fd = ebpf.program(name).map(|program| program.fd().and_then(|fd| Ok(fd.try_clone()?)));
    let fd = fd.ok_or_else(|| MapError::IoError(std::io::Error::other("it is not in the object")))?;
    let fd = fd.map_err(|error| MapError::IoError(std::io::Error::other(error)))?;
    let map = ebpf.map_mut(place.map).ok_or_else(|| MapError::IoError(std::io::Error::other("it has no map")))?;
    ProgramArray::try_from(map)?.set(place.index, &fd, 0)
}

/// Whether this kernel can keep a program attached without a process: kprobes are links since 5.15.
pub(super) fn is_pinnable(how: How) -> bool {
    !matches!(how, How::KProbe | How::KRetProbe) || aya::features().bpf_perf_link()
}

/// Whether kprobes can be pinned on the running kernel; all other programs always can.
#[must_use]
pub fn can_pin_kprobes() -> bool {
    is_pinnable(How::KProbe)
}

/// What keeps a program attached, and the program: their names in the directory of pins.
pub(super) fn pin_names(name: &str) -> [String; 2] {
    [format!("{name}_link"), name.to_owned()]
}

/// As [`attach`], and keeps the program attached after this process.
pub(super) fn attach_pinned(ebpf: &mut Ebpf, program: Program, btf: &Btf, pins: &Path) -> Result<(), AttachError> {
    if let Some(tail) = program.jumps_to {
        make_ready(ebpf, *tail, btf)?;
    }
    let Program { name, how, target, .. } = program;
    if !is_pinnable(how) {
        let why = "this kernel has no links for kprobes (5.15 and later have)".to_owned();
        return Err(AttachError::Pin { how: how.name(), target, why });
    }
    let refused = |error: ProgramError| AttachError::Refused { how: how.name(), target, why: explain(&error) };
    let fail = |why: String| AttachError::Pin { how: how.name(), target, why };
    let loaded = ebpf.program_mut(name).ok_or(AttachError::Missing { program: name })?;
    let link: FdLink = match how {
        How::FEntry => take_link(loaded, |program: &mut FEntry| {
            program.load(target, btf)?;
            let id = program.attach()?;
            Ok(program.take_link(id)?.into())
        }),
        How::FExit => take_link(loaded, |program: &mut FExit| {
            program.load(target, btf)?;
            let id = program.attach()?;
            Ok(program.take_link(id)?.into())
        }),
        How::KProbe | How::KRetProbe => take_link(loaded, |program: &mut KProbe| {
            if program.fd().is_err() {
                program.load()?;
            }
            let id = program.attach(target, 0)?;
            let link = program.take_link(id)?;
            FdLink::try_from(link).map_err(|error| ProgramError::IOError(std::io::Error::other(error)))
        }),
        How::RawTracePoint => take_link(loaded, |program: &mut RawTracePoint| {
            program.load()?;
            let id = program.attach(target)?;
            Ok(program.take_link(id)?.into())
        }),
    }
    .map_err(refused)?;
    let [link_name, program_name] = pin_names(name);
    link.pin(pins.join(link_name)).map_err(|error| fail(error.to_string()))?;
    loaded.pin(pins.join(program_name)).map_err(|error| fail(error.to_string()))
}

/// Loads and attaches a program of one type, and takes what holds it.
fn take_link<'a, P: 'a>(
    program: &'a mut aya::programs::Program,
    attach: impl FnOnce(&mut P) -> Result<FdLink, ProgramError>,
) -> Result<FdLink, ProgramError>
where
    &'a mut P: TryFrom<&'a mut aya::programs::Program, Error = ProgramError>,
{
    attach(program.try_into()?)
}

/// Removes the pins of a way that failed half-way.
pub(super) fn detach_pinned(program: Program, pins: &Path) {
    for name in pin_names(program.name) {
        if let Err(error) = std::fs::remove_file(pins.join(&name)) {
            log::debug!("{name} was not pinned: {error}");
        }
    }
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
