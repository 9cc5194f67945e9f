//! The symbols of kernel addresses, from the kernel itself: see `tracer-ebpf/src/probes/symbol.rs`.

use std::{
    io,
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
    path::Path,
};

use aya::{
    Ebpf,
    maps::{Map, MapData, MapError},
    programs::{ProgramError, RawTracePoint},
};
use rustix::mm::ProtFlags;
use tracer_ebpf::wire::SYMBOL_BYTES;

use super::{
    ProbeError,
    load::{descriptor, failed_map, missing_map},
    mapping::{Mapping, page_bytes},
};

/// Name of the program, and of its pin.
pub(super) const PROGRAM: &str = "symbol";

/// Name of the map with the text.
pub(super) const TEXT: &str = "SYMBOL";

/// `BPF_PROG_TEST_RUN`, include/uapi/linux/bpf.h. It looks into no map, so no kprobe is skipped meanwhile.
const PROG_TEST_RUN: libc::c_long = 10;

/// The symbol that contains an address.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SymbolAt {
    /// Its name.
    pub name: String,
    /// Bytes from its start.
    pub offset: u64,
    /// Its module; `None` for the kernel itself and for BPF programs.
    pub module: Option<String>,
}

/// The members of `union bpf_attr` for a test run, include/uapi/linux/bpf.h.
#[repr(C)]
#[derive(Default)]
struct TestRun {
    program: u32,
    result: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    context_size_in: u32,
    context_size_out: u32,
    context_in: u64,
    context_out: u64,
    flags: u32,
    cpu: u32,
}

/// Asks the kernel for symbols.
pub struct Symbolizer {
    program: OwnedFd,
    text: Mapping,
}

impl std::fmt::Debug for Symbolizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Symbolizer").finish_non_exhaustive()
    }
}

impl Symbolizer {
    /// Loads the program; `None` if the kernel has no `bpf_snprintf` (before 5.13).
    pub(super) fn load(ebpf: &mut Ebpf) -> Result<Option<Self>, ProbeError> {
        if let Err(error) = program(ebpf).and_then(RawTracePoint::load) {
            log::info!("symbols are read from /proc/kallsyms: the kernel cannot be asked for them (before 5.13)");
            log::debug!("the program {PROGRAM} is refused: {error}");
            return Ok(None);
        }
        let text = match ebpf.map(TEXT) {
            Some(Map::Array(map)) => mapped(map).map_err(|error| failed_map(TEXT, MapError::IoError(error)))?,
            _ => return Err(missing_map(TEXT)),
        };
        Ok(Some(Self { program: descriptor(ebpf, PROGRAM)?, text }))
    }

    /// Pins the loaded program.
    pub(super) fn pin(ebpf: &mut Ebpf, directory: &Path) -> Result<(), ProbeError> {
        let pinned = program(ebpf).and_then(|program| {
            program.pin(directory.join(PROGRAM)).map_err(|error| ProgramError::IOError(io::Error::other(error)))
        });
        pinned.map_err(|error| ProbeError::Program { name: PROGRAM, why: error.to_string() })
    }

    /// Opens the pinned program; `None` if there is none.
    pub(super) fn open(directory: &Path) -> Result<Option<Self>, ProbeError> {
        let path = directory.join(PROGRAM);
        if !path.exists() {
            return Ok(None);
        }
        let open = || -> Result<OwnedFd, ProgramError> {
            RawTracePoint::from_pin(&path)?.fd()?.as_fd().try_clone_to_owned().map_err(ProgramError::IOError)
        };
        let program = open().map_err(|error| ProbeError::Program { name: PROGRAM, why: error.to_string() })?;
        let map = MapData::from_pin(directory.join(TEXT)).map_err(|error| failed_map(TEXT, error))?;
        let text = mapped(&map).map_err(|error| failed_map(TEXT, MapError::IoError(error)))?;
        Ok(Some(Self { program, text }))
    }

    /// The symbol that contains an address; `None` if there is none.
    ///
    /// # Errors
    /// If the kernel refuses the call, for example without CAP_BPF before 5.19.
    pub fn symbol_at(&mut self, address: u64) -> io::Result<Option<SymbolAt>> {
        // `bpf_raw_tracepoint_args` of the program: it uses the first one.
        let context = [address];
        let size = u32::try_from(size_of_val(&context)).unwrap_or(0);
        let mut run = TestRun {
            program: self.program.as_raw_fd().cast_unsigned(),
            context_size_in: size,
            context_in: context.as_ptr().expose_provenance() as u64,
            ..TestRun::default()
        };
        // SAFETY: the attributes are those of the command, and `context_in` points to `context_size_in` bytes.
        let result = unsafe { libc::syscall(libc::SYS_bpf, PROG_TEST_RUN, &raw mut run, size_of::<TestRun>()) };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the mapping has at least this size, and the program writes to it only in the run that has just ended.
        let text = unsafe { self.text.start().cast::<[u8; SYMBOL_BYTES]>().as_ptr().read_volatile() };
        Ok(parse(&text))
    }
}

/// Maps the text.
fn mapped(map: &MapData) -> io::Result<Mapping> {
    let info = map.info().map_err(io::Error::other)?;
    if usize::try_from(info.value_size()) != Ok(SYMBOL_BYTES) {
        return Err(io::Error::other("its value has another size"));
    }
    Mapping::new(map.fd().as_fd(), page_bytes()?, 0, ProtFlags::READ)
}

fn program(ebpf: &mut Ebpf) -> Result<&mut RawTracePoint, ProgramError> {
    let program = ebpf.program_mut(PROGRAM).ok_or_else(|| ProgramError::InvalidName { name: PROGRAM.to_owned() })?;
    program.try_into()
}

/// Parses `NAME+0xOFFSET/0xSIZE [MODULE]`; `None` for an address without a symbol (`0xADDRESS`).
fn parse(text: &[u8]) -> Option<SymbolAt> {
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    let text = String::from_utf8_lossy(text);
    // A name of a module may contain any byte, the name of a symbol contains no plus sign.
    let (name, rest) = text.split_once("+0x")?;
    let (offset, rest) = rest.split_once("/0x")?;
    let module = rest.split_once(" [").map(|(_, module)| module.strip_suffix(']').unwrap_or(module).to_owned());
    Some(SymbolAt { name: name.to_owned(), offset: u64::from_str_radix(offset, 16).ok()?, module })
}

#[cfg(test)]
mod tests {
    use super::{SymbolAt, parse};

    /// The forms of the kernel are understood; an address without a symbol has none.
    #[test]
    fn text_of_the_kernel_is_parsed() {
        let symbol = |name: &str, offset, module: Option<&str>| {
            Some(SymbolAt { name: name.to_owned(), offset, module: module.map(str::to_owned) })
        };
        for (text, expected) in [
            ("__sock_create+0x152/0x4a0\0rest+0x1/0x2", symbol("__sock_create", 0x152, None)),
            ("nft_x.constprop.0+0x0/0x10 [nf_tables]\0", symbol("nft_x.constprop.0", 0, Some("nf_tables"))),
            ("f+0x1/0x2 [a] [b]]\0", symbol("f", 1, Some("a] [b]"))),
            // Cut.
            ("f+0x1/0x2 [nf_ta", symbol("f", 1, Some("nf_ta"))),
            ("0xffffffffc0123456\0", None),
            ("f+0xzz/0x2\0", None),
            ("f+0x1", None),
            ("", None),
        ] {
            assert_eq!(parse(text.as_bytes()), expected, "{text}");
        }
    }
}
