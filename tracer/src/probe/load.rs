//! Loads the object into the running kernel, fitted to its layout.

use std::{
    os::fd::{AsFd, OwnedFd},
    path::PathBuf,
};

use aya::{Btf as Targets, Ebpf, EbpfLoader};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::{
    ProbeError,
    offsets::{self, Offset},
    options::{LogLevel, Options},
    targets::targets,
};
use crate::kernel::btf::Btf;

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
    let map = ebpf.take_map(name).ok_or_else(|| missing_map(name))?;
    T::try_from(map).map_err(|error| failed_map(name, error))
}

pub(super) fn missing_map(name: &'static str) -> ProbeError {
    ProbeError::Map { name, source: "it is not in the object".into() }
}

pub(super) fn failed_map(name: &'static str, error: aya::maps::MapError) -> ProbeError {
    ProbeError::Map { name, source: Box::new(error) }
}

/// The kernel that the object is fitted to, and how.
#[derive(Clone, Copy)]
pub(super) struct Fit<'a> {
    pub(super) btf: &'a Btf,
    pub(super) options: Options,
}

/// A loader that knows nothing of the kernel's types: the object has no relocations against them.
///
/// Making one, aya 0.14 reads all types of the kernel, wanted or not: megabytes, a page a system call. It does without when
/// it cannot, so no file can be opened meanwhile.
fn loader<'a>() -> EbpfLoader<'a> {
    let limit = getrlimit(Resource::Nofile);
    let none = Rlimit { current: Some(0), maximum: limit.maximum };
    let set = |limit| setrlimit(Resource::Nofile, limit).inspect_err(|error| log::debug!("RLIMIT_NOFILE: {error}"));
    let is_closed = set(none).is_ok();
    let mut loader = EbpfLoader::new();
    if is_closed {
        // To what it was: the hard limit is the same.
        let _ = set(limit);
    }
    loader.btf(None);
    loader
}

/// Loads the object; and the functions that its programs attach to.
pub(super) fn load(object: &[u8], fit: Fit<'_>) -> Result<(Ebpf, Targets), ProbeError> {
    Ok((load_with(object, fit, &[])?, targets(fit.btf)))
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
    let Fit { btf, options } = fit;
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

    let mut loader = loader();
    loader.map_max_entries("EVENTS", options.ring_bytes);
    for (name, least) in STATES {
        loader.map_max_entries(name, state_entries(least));
    }
    for (name, path) in pinned {
        loader.map_pin_path(name, path);
    }
    for (symbol, offset) in members {
        loader.override_global(symbol, offset, false);
    }
    loader
        .override_global("READING_MODULE", &reading_module, true)
        .override_global("READING_MODULE_COMPRESSED", &reading_compressed, true)
        .override_global("HAVE_TASK_PT_REGS", &have_task_pt_regs, true)
        .override_global("REGS_ABOVE_STACK", &regs_above_stack, true)
        .override_global("OWN_PID", &own_pid, true)
        .override_global(aya_log::LEVEL, &log_level, true);
    loader.load(object).map_err(|error| ProbeError::Load(Box::new(error)))
}

/// Maps of what is under way, and how many entries they have at least.
const STATES: [(&str, u32); 5] =
    [("IN_FLIGHT", 16384), ("HANDOVERS", 4096), ("HELPERS", 8192), ("INITS", 1024), ("KTHREADS", 4096)];

/// Each processor keeps up to 128 free entries of such a map for itself (`LOCAL_FREE_TARGET`, kernel/bpf/bpf_lru_list.h),
/// and one that finds none takes the youngest of its own, in use or not.
fn state_entries(least: u32) -> u32 {
    const A_PROCESSOR: u32 = 256;
    // Where it cannot be read, the least is what most machines need.
    let processors = aya::util::nr_cpus().map_or(1, |count| u32::try_from(count).unwrap_or(u32::MAX));
    least.max(processors.saturating_mul(A_PROCESSOR).min(MOST_STATE_ENTRIES))
}

/// Of the largest machines: some 100 bytes each.
const MOST_STATE_ENTRIES: u32 = 1 << 18;

/// Where the registers of a system call lie on a task's kernel stack, on kernels that have no helper for it (before
/// 5.15): at its very top. x86-64 only, whose stack is 16 KiB (arch/x86/include/asm/page_64_types.h; 32 KiB with KASAN,
/// which the programs notice by the frame's privilege level).
fn regs_above_stack(btf: &Btf) -> u32 {
    const THREAD_SIZE: u32 = 16 << 10;
    let size = if cfg!(target_arch = "x86_64") { btf.struct_size("pt_regs") } else { None };
    size.and_then(|size| THREAD_SIZE.checked_sub(size)).unwrap_or(tracer_ebpf::offsets::ABSENT)
}
