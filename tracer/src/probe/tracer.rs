//! Loads the object into the running kernel and attaches every hook in the best way that works.

use std::{
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
};

use aya::{
    Btf as LoaderBtf, Ebpf, EbpfLoader,
    maps::{MapData, PerCpuArray, RingBuf},
};
use aya_log::EbpfLogger;

use super::{
    ProbeError, attach,
    hooks::{HOOKS, Hook, How, Need, Program},
    losses::Losses,
    object::object,
    offsets,
    pin::Pins,
    recorder::{self, Resumed},
    ring::Ring,
    skipped::{Watched, asked},
};
use crate::kernel::{btf::Btf, kallsyms::Kallsyms};

/// Which way of attaching to prefer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Preference {
    /// The best that works.
    #[default]
    Best,
    /// Without trampolines, as on kernels that have none.
    KProbe,
    /// Without kprobes wherever there is a choice, as on kernels that have none.
    Trampoline,
}

impl Preference {
    fn allows(self, way: &[Program]) -> bool {
        way.iter().all(|program| match self {
            Self::Best => true,
            Self::KProbe => !matches!(program.how, How::FEntry | How::FExit),
            Self::Trampoline => !matches!(program.how, How::KProbe | How::KRetProbe),
        })
    }
}

/// How much the probes say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogLevel {
    /// Nothing; the verifier removes the code.
    #[default]
    Off,
    /// What each probe sees.
    Debug,
}

/// What can be chosen about loading.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Bytes of the ring buffer; rounded up to a power of two of pages.
    pub ring_bytes: u32,
    /// Way of attaching.
    pub preference: Preference,
    /// Probe diagnostics.
    pub log: LogLevel,
    /// Whether the programs outlast this process: the flight recorder.
    pub pin: bool,
}

impl Default for Options {
    fn default() -> Self {
        // About 1,000 whole requests: twenty times what the kernel lets run at once.
        Self { ring_bytes: 4 << 20, preference: Preference::Best, log: LogLevel::Off, pin: false }
    }
}

/// What became of a hook.
#[derive(Debug)]
pub struct AttachedHook {
    /// The hook.
    pub hook: &'static Hook,
    /// The programs that are attached; empty when none could be.
    pub programs: &'static [Program],
    /// Ways that were tried in vain, and why.
    pub refused: Vec<String>,
    /// Whether it stays attached when this process is gone.
    pub pinned: bool,
}

impl AttachedHook {
    /// How it is attached: `fexit+fentry`; `None` when it is not.
    #[must_use]
    pub fn how(&self) -> Option<String> {
        let names: Vec<&str> = self.programs.iter().map(|program| program.how.name()).collect();
        (!names.is_empty()).then(|| names.join("+"))
    }
}

/// The attached programs. Dropping it detaches them, unless they are pinned.
pub struct Tracer {
    /// Records.
    pub ring: Ring,
    /// Loss counters.
    pub losses: Losses,
    /// Every hook and what became of it.
    pub hooks: Vec<AttachedHook>,
    /// What the flight recorder found when it began.
    pub resumed: Option<Resumed>,
    pub(super) logger: Option<EbpfLogger<&'static dyn log::Log>>,
    /// What was loaded by this process: all, or what could not be pinned.
    pub(super) ebpf: Option<Ebpf>,
    pub(super) pins: Option<Pins>,
}

impl Tracer {
    /// Loads and attaches. Afterwards every request is caught.
    ///
    /// # Errors
    /// When a required hook cannot be attached; the error says what to do.
    pub fn start(btf: &Btf, kallsyms: Option<&Kallsyms>, options: Options) -> Result<Self, ProbeError> {
        let mut tracer = Self::attempt(btf, kallsyms, options)?;
        match tracer.hooks.iter().find(|hook| hook.programs.is_empty() && hook.hook.need == Need::Required) {
            Some(AttachedHook { hook, refused, .. }) => {
                Err(ProbeError::Hook { hook: hook.name, without: hook.without, tried: refused.join("; ") })
            }
            None => {
                if let Some(pins) = &mut tracer.pins {
                    pins.publish()?;
                }
                Ok(tracer)
            }
        }
    }

    /// Loads, and attaches every hook that can be attached: to find out which can.
    ///
    /// # Errors
    /// When the object as a whole cannot be loaded.
    pub fn attempt(btf: &Btf, kallsyms: Option<&Kallsyms>, options: Options) -> Result<Self, ProbeError> {
        if options.pin {
            return recorder::attempt(btf, kallsyms, options);
        }
        let object = object().ok_or(ProbeError::NoObject)?;
        let loader_btf = LoaderBtf::from_sys_fs().map_err(|error| ProbeError::Load(Box::new(error.into())))?;
        let mut ebpf = load(object, btf, &loader_btf, kallsyms, options)?;

        let logger = match options.log {
            LogLevel::Off => None,
            LogLevel::Debug => Some(EbpfLogger::init(&mut ebpf).map_err(|error| ProbeError::Log(Box::new(error)))?),
        };
        let hooks: Vec<AttachedHook> =
            HOOKS.iter().map(|hook| attach_hook(&mut ebpf, hook, &loader_btf, options.preference, None)).collect();

        let ring: RingBuf<MapData> = take_map(&mut ebpf, "EVENTS")?;
        let counters: PerCpuArray<MapData, u64> = take_map(&mut ebpf, "COUNTERS")?;
        let programs = watched(&hooks, |program| descriptor(&ebpf, program.name))?;
        let pairs: PerCpuArray<MapData, u64> = take_map(&mut ebpf, "PAIRS")?;
        let mut losses = Losses::new(counters, pairs, programs, None)?;
        // What was counted while only some of the probes were attached is no loss: nothing was promised yet.
        losses.take_new(None)?;
        Ok(Self { ring: Ring::new(ring)?, losses, hooks, resumed: None, logger, ebpf: Some(ebpf), pins: None })
    }

    /// Whether something was handed out that a crash would have the next recorder tell again, and how much of the ring it
    /// takes, from 0 to 1.
    #[must_use]
    pub fn held(&self) -> Option<f64> {
        self.ring.held_share().or_else(|| self.losses.is_untold().then_some(0.0))
    }

    /// Says that everything handed out so far is safe.
    ///
    /// # Errors
    /// When the kernel refuses to store what was told.
    pub fn release(&mut self) -> Result<(), ProbeError> {
        self.ring.release();
        self.losses.keep_told()
    }

    /// Passes on what the probes said since the last call.
    pub fn flush_log(&mut self) {
        if let Some(logger) = &mut self.logger {
            logger.flush();
        }
    }

    /// Cost of each loaded program to the verifier, in instructions (kernel 5.16 and later).
    #[must_use]
    pub fn verified_instructions(&self) -> Vec<(String, u32)> {
        self.ebpf
            .iter()
            .flat_map(Ebpf::programs)
            .filter_map(|(name, program)| Some((name.to_owned(), program.info().ok()?.verified_instruction_count()?)))
            .collect()
    }
}

/// What is asked for runs that the kernel skipped.
pub(super) fn watched(
    hooks: &[AttachedHook],
    open: impl Fn(Program) -> Result<OwnedFd, ProbeError>,
) -> Result<Vec<Watched>, ProbeError> {
    asked(hooks).map(|program| Ok(Watched::new(program, open(program)?))).collect()
}

/// A descriptor of our own of a loaded program.
pub(super) fn descriptor(ebpf: &Ebpf, name: &'static str) -> Result<OwnedFd, ProbeError> {
    let fail = |why: String| ProbeError::Program { name, why };
    let program = ebpf.program(name).ok_or_else(|| fail("it is not in the object".to_owned()))?;
    let fd = program.fd().map_err(|error| fail(error.to_string()))?;
    fd.as_fd().try_clone_to_owned().map_err(|error| fail(error.to_string()))
}

fn take_map<T>(ebpf: &mut Ebpf, name: &'static str) -> Result<T, ProbeError>
where
    T: TryFrom<aya::maps::Map, Error = aya::maps::MapError>,
{
    let missing = || ProbeError::Map { name, source: "it is not in the object".into() };
    let map = ebpf.take_map(name).ok_or_else(missing)?;
    T::try_from(map).map_err(|error| ProbeError::Map { name, source: Box::new(error) })
}

pub(super) fn load(
    object: &[u8],
    btf: &Btf,
    loader_btf: &LoaderBtf,
    kallsyms: Option<&Kallsyms>,
    options: Options,
) -> Result<Ebpf, ProbeError> {
    load_with(object, btf, loader_btf, kallsyms, options, &[])
}

/// Loads the object on top of maps that are there already.
pub(super) fn load_with(
    object: &[u8],
    btf: &Btf,
    loader_btf: &LoaderBtf,
    kallsyms: Option<&Kallsyms>,
    options: Options,
    pinned: &[(&str, PathBuf)],
) -> Result<Ebpf, ProbeError> {
    let members = offsets::resolve(btf)?;
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
    for (symbol, offset) in &members {
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

/// Attaches a hook in the best way that works; with `pins`, in one that outlasts this process if there is any.
pub(super) fn attach_hook(
    ebpf: &mut Ebpf,
    hook: &'static Hook,
    btf: &LoaderBtf,
    preference: Preference,
    pins: Option<&Path>,
) -> AttachedHook {
    let mut refused = Vec::new();
    let places: &[Option<&Path>] = if pins.is_some() { &[pins, None] } else { &[None] };
    for place in places {
        for way in hook.ways {
            if !preference.allows(way) && hook.ways.iter().any(|way| preference.allows(way)) {
                continue;
            }
            let attached = way.iter().try_for_each(|program| match place {
                Some(pins) => attach::attach_pinned(ebpf, *program, btf, pins),
                None => attach::attach(ebpf, *program, btf),
            });
            match attached {
                Ok(()) => return AttachedHook { hook, programs: way, refused, pinned: place.is_some() },
                Err(error) => {
                    refused.push(error.to_string());
                    for program in *way {
                        attach::detach(ebpf, *program);
                        if let Some(pins) = place {
                            attach::detach_pinned(*program, pins);
                        }
                    }
                }
            }
        }
    }
    AttachedHook { hook, programs: &[], refused, pinned: false }
}
