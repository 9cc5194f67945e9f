//! Loads the object into the running kernel, fitted to its layout.

use std::{
    os::fd::{AsFd, OwnedFd},
    path::PathBuf,
};

use aya::{Btf as LoaderBtf, Ebpf, EbpfLoader, Endianness};

use super::{
    ProbeError,
    offsets::{self, Offset},
    options::{LogLevel, Options},
};
use crate::kernel::{btf::Btf, kallsyms::Kallsyms};

/// A descriptor of our own of a loaded program.
pub(super) fn descriptor(ebpf: &Ebpf, name: &'static str) -> Result<OwnedFd, ProbeError> {
    let fail = |why: String| ProbeError::Program { name, why };
    let program = ebpf.program(name).ok_or_else(|| fail("it is not in the object".to_owned()))?;
    let fd = program.fd().map_err(|error| fail(error.to_string()))?;
    fd.as_fd().try_clone_to_owned().map_err(|error| fail(error.to_string()))
}

pub(super) fn take_map<T>(ebpf: &mut Ebpf, name: &'static str) -> Result<T, ProbeError>
where
    T: TryFrom<aya::maps::Map, Error = aya::maps::MapError>,
{
    let missing = || ProbeError::Map { name, source: "it is not in the object".into() };
    let map = ebpf.take_map(name).ok_or_else(missing)?;
    T::try_from(map).map_err(|error| ProbeError::Map { name, source: Box::new(error) })
}

/// The kernel that the object is fitted to, and how.
#[derive(Clone, Copy)]
pub(super) struct Fit<'a> {
    pub(super) btf: &'a Btf,
    /// The same as aya reads it.
    pub(super) loader_btf: &'a LoaderBtf,
    pub(super) kallsyms: Option<&'a Kallsyms>,
    pub(super) options: Options,
}

/// Has aya read the types that were read from the kernel already.
pub(super) fn loader_btf(btf: &Btf) -> Result<LoaderBtf, ProbeError> {
    LoaderBtf::parse(btf.bytes(), Endianness::default()).map_err(|error| ProbeError::Load(Box::new(error.into())))
}

pub(super) fn load(object: &[u8], fit: Fit<'_>) -> Result<Ebpf, ProbeError> {
    load_with(object, fit, &[])
}

/// Loads the object on top of maps that are there already.
pub(super) fn load_with(object: &[u8], fit: Fit<'_>, pinned: &[(&str, PathBuf)]) -> Result<Ebpf, ProbeError> {
    load_at(object, &offsets::resolve(fit.btf)?, fit, pinned)
}

/// Loads the object for these offsets.
pub(super) fn load_at(
    object: &[u8],
    members: &[Offset],
    fit: Fit<'_>,
    pinned: &[(&str, PathBuf)],
) -> Result<Ebpf, ProbeError> {
    let Fit { btf, loader_btf, kallsyms, options } = fit;
    let address = |name: &str| kallsyms.and_then(|symbols| symbols.address_of(name)).unwrap_or(0);
    let modprobe_path = address("modprobe_path");
    let free_modprobe_argv = address("free_modprobe_argv");
    let reading = |name: &str| {
        let value = btf.enum_value("kernel_read_file_id", name);
        value.and_then(|value| u32::try_from(value).ok()).unwrap_or(tracer_ebpf::offsets::ABSENT)
    };
    let reading_module = reading("READING_MODULE");
    let reading_compressed = reading("READING_MODULE_COMPRESSED");
    let have_task_pt_regs = u32::from(btf.has_func("bpf_task_pt_regs"));
    let regs_above_stack = regs_above_stack(btf);
    // Programs that outlast this process would leave out whoever has its id next.
    let own_pid = if options.pin { 0 } else { std::process::id() };
    // aya-log's own switch: every level above it is pruned by the verifier.
    let log_level: u8 = match options.log {
        LogLevel::Off => 0,
        LogLevel::Debug => aya_log::Level::Debug as u8,
    };

    let mut loader = EbpfLoader::new();
    loader.btf(Some(loader_btf)).map_max_entries("EVENTS", options.ring_bytes);
    for (name, path) in pinned {
        loader.map_pin_path(name, path);
    }
    for (symbol, offset) in members {
        loader.override_global(symbol, offset, false);
    }
    loader
        .override_global("MODPROBE_PATH", &modprobe_path, true)
        .override_global("FREE_MODPROBE_ARGV", &free_modprobe_argv, true)
        .override_global("READING_MODULE", &reading_module, true)
        .override_global("READING_MODULE_COMPRESSED", &reading_compressed, true)
        .override_global("HAVE_TASK_PT_REGS", &have_task_pt_regs, true)
        .override_global("REGS_ABOVE_STACK", &regs_above_stack, true)
        .override_global("OWN_PID", &own_pid, true)
        .override_global(aya_log::LEVEL, &log_level, true);
    loader.load(object).map_err(|error| ProbeError::Load(Box::new(error)))
}

/// Where the registers of a system call lie on a task's kernel stack, on kernels that have no helper for it (before
/// 5.15): at its very top. x86-64 only, whose stack is 16 KiB (arch/x86/include/asm/page_64_types.h; 32 KiB with KASAN,
/// which the programs notice by the frame's privilege level).
fn regs_above_stack(btf: &Btf) -> u32 {
    const THREAD_SIZE: u32 = 16 << 10;
    let size = if cfg!(target_arch = "x86_64") { btf.struct_size("pt_regs") } else { None };
    size.and_then(|size| THREAD_SIZE.checked_sub(size)).unwrap_or(tracer_ebpf::offsets::ABSENT)
}
