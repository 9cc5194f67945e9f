//! Loads the object with the struct offsets of the running kernel.

use std::{
    os::fd::{AsFd, OwnedFd},
    path::PathBuf,
};

use aya::{Btf as Targets, Ebpf, EbpfLoader};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracer_ebpf::{offsets::ABSENT, wire::CgroupHierarchy};

use super::{
    ProbeError,
    offsets::{self, Offset},
    options::{LogLevel, Options},
    targets::targets,
};
use crate::kernel::{btf::Btf, cgroup};

/// Duplicates the descriptor of a loaded program.
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

/// The kernel's types, and the options for loading.
#[derive(Clone, Copy)]
pub(super) struct Fit<'a> {
    pub(super) btf: &'a Btf,
    pub(super) options: Options,
}

/// A loader without the kernel's types: the object has no relocations against them.
///
/// `EbpfLoader::new` of aya 0.14 reads all of them, wanted or not, unless it cannot open their file, so no file can be opened
/// meanwhile. aya 0.16 reads them only on demand, but needs Rust 1.98. Without this and `targets.rs`, resident memory
/// after a storm is 19.5 MiB instead of 14.9, and its peak 37.7 MiB instead of 19 (`watch --json`, Debian 6.1).
fn loader<'a>() -> EbpfLoader<'a> {
    let limit = getrlimit(Resource::Nofile);
    let none = Rlimit { current: Some(0), maximum: limit.maximum };
    let set = |limit| setrlimit(Resource::Nofile, limit).inspect_err(|error| log::debug!("RLIMIT_NOFILE: {error}"));
    let is_closed = set(none).is_ok();
    let mut loader = EbpfLoader::new();
    if is_closed {
        // The old limit is always allowed: the hard limit did not change.
        let _ = set(limit);
    }
    loader.btf(None);
    loader
}

/// Loads the object; also returns the functions that its programs attach to.
pub(super) fn load(object: &[u8], fit: Fit<'_>) -> Result<(Ebpf, Targets), ProbeError> {
    Ok((load_with(object, fit, &[])?, targets(fit.btf)))
}

/// Loads the object with maps that are pinned already.
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
        value.and_then(|value| u32::try_from(value).ok()).unwrap_or(ABSENT)
    };
    let reading_module = reading("READING_MODULE");
    let reading_compressed = reading("READING_MODULE_COMPRESSED");
    let have_task_pt_regs = u32::from(btf.has_func("bpf_task_pt_regs"));
    let regs_above_stack = regs_above_stack(btf);
    let (hierarchy, cgroup_state) = cgroups(btf, cgroup::hierarchy());
    let cgroup_hierarchy = hierarchy.bits();
    // The level of aya-log: the verifier prunes all statements above it.
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
        .override_global("CGROUP_HIERARCHY", &cgroup_hierarchy, true)
        .override_global("CGROUP_STATE", &cgroup_state, true)
        .override_global(aya_log::LEVEL, &log_level, true);
    loader.load(object).map_err(|error| ProbeError::Load(Box::new(error)))
}

/// State maps and their minimum size, entries.
const STATES: [(&str, u32); 5] =
    [("IN_FLIGHT", 16384), ("HANDOVERS", 4096), ("HELPERS", 8192), ("INITS", 1024), ("KTHREADS", 4096)];

/// Size of a state map. Each CPU reserves up to 128 free entries of an LRU map (`LOCAL_FREE_TARGET`, kernel/bpf/bpf_lru_list.h);
/// a CPU without free entries evicts its own youngest entry, even if it is in use.
fn state_entries(least: u32) -> u32 {
    const A_PROCESSOR: u32 = 256;
    // If the number of CPUs is unknown, the minimum is enough for most machines.
    let processors = aya::util::nr_cpus().map_or(1, |count| u32::try_from(count).unwrap_or(u32::MAX));
    least.max(processors.saturating_mul(A_PROCESSOR).min(MOST_STATE_ENTRIES))
}

/// Upper limit, for the largest machines: an entry takes about 100 bytes.
const MOST_STATE_ENTRIES: u32 = 1 << 18;

/// Offset of the registers of a system call on a task's kernel stack, for kernels without a helper for it (before 5.15): at
/// the top of the stack. x86-64 only, whose stack is 16 KiB (arch/x86/include/asm/page_64_types.h; 32 KiB with KASAN,
/// which the programs detect by the frame's privilege level).
fn regs_above_stack(btf: &Btf) -> u32 {
    const THREAD_SIZE: u32 = 16 << 10;
    let size = if cfg!(target_arch = "x86_64") { btf.struct_size("pt_regs") } else { None };
    size.and_then(|size| THREAD_SIZE.checked_sub(size)).unwrap_or(ABSENT)
}

/// Offset in `struct css_set` of the state of a v1 hierarchy's controller; `ABSENT` for v2. A hierarchy that the programs cannot
/// read on this kernel is unknown.
fn cgroups(btf: &Btf, hierarchy: CgroupHierarchy) -> (CgroupHierarchy, u32) {
    let Some(controller) = hierarchy.controller() else { return (hierarchy, ABSENT) };
    // One pointer for each `enum cgroup_subsys_id` (include/linux/cgroup-defs.h, unchanged 5.10 to 7.3).
    let index = btf.enum_value("cgroup_subsys_id", &format!("{controller}_cgrp_id"));
    let index = index.and_then(|index| u32::try_from(index).ok());
    let first = btf.offset(&["css_set", "subsys"]).map(|member| member.offset_bytes);
    let is_known = btf.offset(&["cgroup_subsys_state", "cgroup"]).is_some();
    match (first, index) {
        (Some(first), Some(index)) if is_known => (hierarchy, first + index * 8),
        _ => (CgroupHierarchy::Unknown, ABSENT),
    }
}
