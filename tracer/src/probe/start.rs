//! Start: loads the object, attaches every hook with the best method that works, opens ring and counters.

use aya::{Ebpf, maps::Map};
use aya_log::EbpfLogger;

use super::{
    Addresses, ProbeError,
    attach::{AttachedHook, Attaching, attach_hooks},
    hooks::{HOOKS, Need},
    load::{Fit, descriptor, failed_map, load, missing_map, take_map},
    losses::{Losses, missed_runs},
    mmap_counters::MmapCounters,
    object::object,
    options::{LogLevel, Options},
    own_process::identify,
    pin::resume,
    requirements,
    ring::{Ring, RingConsumer},
    runtime_config::RuntimeConfig,
    self_test::{ALIVE, SelfTest, check_ftrace, tests_for},
    symbolizer::Symbolizer,
    tracer::Tracer,
};
use crate::kernel::btf::Btf;

impl Tracer {
    /// Loads and attaches. Afterwards every request is traced. Addresses may be set later (see [`Addresses`]).
    ///
    /// # Errors
    /// If a required hook cannot be attached; the error names the fix.
    pub fn start(btf: &Btf, addresses: Addresses, options: Options) -> Result<Self, ProbeError> {
        let mut tracer = Self::attempt(btf, addresses, options)?;
        match tracer.hooks.iter().find(|hook| hook.programs.is_empty() && hook.hook.need == Need::Required) {
            Some(AttachedHook { hook, refused, .. }) => {
                Err(ProbeError::Hook { hook: hook.name, without: hook.without, refused: refused.join("; ") })
            }
            None => {
                if let Some(pins) = &mut tracer.pins {
                    pins.publish()?;
                }
                Ok(tracer)
            }
        }
    }

    /// Loads, and attaches every hook that can be attached.
    ///
    /// # Errors
    /// If the programs must not be attached to this kernel, or the object cannot be loaded.
    pub fn attempt(btf: &Btf, addresses: Addresses, options: Options) -> Result<Self, ProbeError> {
        requirements::check(btf)?;
        if options.pin {
            return resume::attempt(btf, addresses, options);
        }
        let object = object().ok_or(ProbeError::NoObject)?;
        check_ftrace()?;
        let (mut ebpf, targets) = load(object, Fit { btf, options })?;
        let settings = ebpf.map("SETTINGS").map(RuntimeConfig::try_from);
        let settings =
            settings.ok_or_else(|| missing_map("SETTINGS"))?.map_err(|error| failed_map("SETTINGS", error))?;
        settings.set_addresses(addresses);
        identify(&mut ebpf)?;

        let logger = match options.log {
            LogLevel::Off => None,
            LogLevel::Debug => Some(EbpfLogger::init(&mut ebpf).map_err(|error| ProbeError::Log(Box::new(error)))?),
        };
        let how = Attaching::new(&targets, btf, options.preference, None);
        let hooks = attach_hooks(&mut ebpf, HOOKS, how);
        let tests = attach_hooks(&mut ebpf, tests_for(&hooks), how);
        let self_test = SelfTest::new(take_map(&mut ebpf, ALIVE)?, &tests, &hooks);

        let symbolizer = Symbolizer::load(&mut ebpf)?;
        let ring = take_ring(&mut ebpf)?;
        let counters: MmapCounters = take_map(&mut ebpf, "COUNTERS")?;
        let programs = missed_runs(&hooks, btf, |program| descriptor(&ebpf, program.name))?;
        let mut losses = Losses::new(counters, programs, None)?;
        // Losses while only some of the probes were attached do not count: the trace had not started.
        losses.take_new(true);
        let ring = Ring::live(ring)?;
        let ebpf = Some(ebpf);
        Ok(Self {
            ring,
            losses,
            self_test,
            hooks,
            resumed: None,
            symbolizer,
            logger,
            ebpf,
            pins: None,
            _links: Vec::new(),
            settings,
        })
    }
}

fn take_ring(ebpf: &mut Ebpf) -> Result<RingConsumer, ProbeError> {
    match ebpf.take_map("EVENTS") {
        Some(Map::RingBuf(map)) => RingConsumer::new(map).map_err(ProbeError::Wait),
        _ => Err(ProbeError::Map { name: "EVENTS", source: "it is not a ring buffer in the object".into() }),
    }
}
