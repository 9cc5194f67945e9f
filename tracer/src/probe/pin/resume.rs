//! The flight recorder: pins programs, maps and links, and resumes where the last recorder ended.

use std::{
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

use aya::{
    maps::{HashMap, Map, MapData, MapError, MapInfo, MapType},
    programs::{FEntry, FExit, KProbe, ProbeKind, ProgramError, RawTracePoint, links::PinnedLink},
};
use tracer_ebpf::wire::{ALIVE_COUNT, COUNTER_COUNT, SETTING_COUNT};

use super::{PIN_DIRECTORY, PinError, Pins, remove};
use crate::kernel::btf::Btf;
use crate::probe::{
    Addresses, ProbeError,
    attach::{AttachedHook, Attaching, attach_hooks, can_pin_kprobes, pin_names},
    hooks::{HOOKS, Hook, How, Need, Program, SELF_TESTS},
    load::{Fit, descriptor, load, load_with},
    losses::{Losses, REPORTED, ReportedTotals, missed_runs},
    mmap_counters::MmapCounters,
    object::object,
    options::Options,
    ring::{Ring, RingConsumer},
    runtime_config::RuntimeConfig,
    self_test::{ALIVE, SelfTest, check_ftrace, tests_for},
    symbolizer::{Symbolizer, TEXT},
    targets::targets,
    tracer::{Resumed, Tracer},
};

/// Every map of the object that programs share.
const MAPS: [&str; 11] =
    ["EVENTS", "COUNTERS", ALIVE, "SETTINGS", "IN_FLIGHT", "HANDOVERS", "HELPERS", "INITS", "KTHREADS", REPORTED, TEXT];

/// Key of the pinned object's digest in the checkpoint map.
const OBJECT_DIGEST: &str = "object-digest";

/// Resumes from pinned programs, or pins new ones.
pub(in crate::probe) fn attempt(btf: &Btf, addresses: Addresses, options: Options) -> Result<Tracer, ProbeError> {
    let pins = Pins::open(Path::new(PIN_DIRECTORY))?;
    let mut found = Resumed::default();
    discard_foreign(&pins, &mut found)?;
    let Some(path) = pins.published() else { return begin(pins, btf, addresses, options, found) };
    match check(&path) {
        Ok(ring) => resume(pins, &path, ring, (btf, addresses, options), found),
        Err(error) => {
            found.notes.push(format!("{error}; starting with new pins"));
            discard(&path, &mut found)?;
            begin(pins, btf, addresses, options, found)
        }
    }
}

fn discard_foreign(pins: &Pins, found: &mut Resumed) -> Result<(), PinError> {
    for path in pins.foreign()? {
        found.notes.push(format!("{} was pinned by another version of kmodtrace and is removed", path.display()));
        discard(&path, found)?;
    }
    Ok(())
}

/// Removes pins, and counts the unread records in their ring: its framing does not depend on the version.
fn discard(path: &Path, found: &mut Resumed) -> Result<(), PinError> {
    let events = path.join("EVENTS");
    let is_ring =
        MapInfo::from_pin(&events).and_then(|info| info.map_type()).is_ok_and(|kind| kind == MapType::RingBuf);
    let ring = is_ring.then(|| MapData::from_pin(&events).ok().and_then(|map| RingConsumer::new(map).ok())).flatten();
    // Detach first: later events are recorded by the new programs.
    remove(path)?;
    match ring.and_then(|ring| ring.waiting()) {
        Some(waiting) => found.unreadable += waiting,
        None => found.notes.push("the number of its unread records is unknown".to_owned()),
    }
    Ok(())
}

fn begin(
    mut pins: Pins,
    btf: &Btf,
    addresses: Addresses,
    options: Options,
    found: Resumed,
) -> Result<Tracer, ProbeError> {
    let object = object().ok_or(ProbeError::NoObject)?;
    check_ftrace()?;
    let (mut ebpf, targets) = load(object, Fit { btf, options })?;
    let path = pins.begin()?;
    for name in MAPS {
        let fail = |why: String| PinError::Refused { what: format!("map {name}"), why };
        let map = ebpf.map(name).ok_or_else(|| fail("it is not in the object".to_owned()))?;
        map.pin(path.join(name)).map_err(|error| fail(error.to_string()))?;
    }
    let settings = settings(&path, addresses)?;
    let how = Attaching::new(&targets, btf, options.preference, Some(&path));
    let hooks = attach_hooks(&mut ebpf, HOOKS, how);
    let tests = attach_hooks(&mut ebpf, tests_for(&hooks), how);
    let self_test = SelfTest::new(open_map(&path, ALIVE, MmapCounters::try_from)?, &tests, &hooks);
    let symbolizer = Symbolizer::load(&mut ebpf)?;
    if symbolizer.is_some() {
        Symbolizer::pin(&mut ebpf, &path)?;
    }
    let links = pinned_links(&path, &hooks)?;
    let programs = missed_runs(&hooks, btf, |program| descriptor(&ebpf, program.name))?;
    let mut reported = ReportedTotals::new(open_map(&path, REPORTED, HashMap::try_from)?);
    reported.set(OBJECT_DIGEST, digest(object))?;
    let counters = open_map(&path, "COUNTERS", MmapCounters::try_from)?;
    let mut losses = Losses::new(counters, programs, Some(reported))?;
    // Losses while only some of the probes were attached do not count: the trace had not started.
    losses.take_new(true);
    losses.save_checkpoint()?;
    let ring = RingConsumer::new(open_data(&path, "EVENTS")?).map_err(ProbeError::Wait)?;
    let found = (found != Resumed::default()).then_some(found);
    Ok(Tracer {
        ring: Ring::pinned(ring)?,
        losses,
        self_test,
        hooks,
        resumed: found,
        symbolizer,
        logger: None,
        ebpf: Some(ebpf),
        pins: Some(pins),
        _links: links,
        settings,
    })
}

/// Checks that the pins have the layout of this build. aya does not check.
fn check(path: &Path) -> Result<RingConsumer, PinError> {
    let differs = |why: String| PinError::Layout { path: path.to_owned(), why };
    for (name, kind, sizes) in [
        ("EVENTS", MapType::RingBuf, None),
        ("COUNTERS", MapType::Array, Some((4, 8, COUNTER_COUNT))),
        (ALIVE, MapType::Array, Some((4, 8, ALIVE_COUNT))),
        ("SETTINGS", MapType::Array, Some((4, 8, SETTING_COUNT))),
        (REPORTED, MapType::Hash, Some((32, 8, 256))),
    ] {
        let info = MapInfo::from_pin(path.join(name)).map_err(|error| differs(format!("map {name}: {error}")))?;
        let is_kind = info.map_type().is_ok_and(|found| found == kind);
        let found = (info.key_size(), info.value_size(), info.max_entries());
        if !is_kind || sizes.is_some_and(|sizes| sizes != found) {
            return Err(differs(format!("map {name} differs")));
        }
    }
    // Before 5.15 a required hook may have only methods that cannot be pinned.
    if can_pin_kprobes() {
        let mut required = HOOKS.iter().filter(|hook| hook.need == Need::Required);
        if let Some(hook) = required.find(|hook| pinned_method(path, hook).is_none()) {
            return Err(differs(format!("hook {} is not attached", hook.name)));
        }
    }
    let map = MapData::from_pin(path.join("EVENTS")).map_err(|error| differs(error.to_string()))?;
    RingConsumer::new(map).map_err(|error| differs(error.to_string()))
}

/// The attach method of a hook whose programs are all pinned.
fn pinned_method(path: &Path, hook: &Hook) -> Option<&'static [Program]> {
    let is_pinned = |program: &Program| pin_names(program.name).iter().all(|name| path.join(name).exists());
    hook.methods.iter().find(|method| method.iter().all(is_pinned)).copied()
}

fn resume(
    pins: Pins,
    path: &Path,
    ring: RingConsumer,
    (btf, addresses, options): (&Btf, Addresses, Options),
    mut found: Resumed,
) -> Result<Tracer, ProbeError> {
    found.waiting = ring.waiting();
    let reported = ReportedTotals::new(open_map(path, REPORTED, HashMap::try_from)?);
    let object = object().ok_or(ProbeError::NoObject)?;
    let is_same = reported.get(OBJECT_DIGEST)? == digest(object);
    if !is_same {
        let note = "the pinned programs are from another build and keep recording; replace them with `kmodtrace record --unpin`";
        found.notes.push(note.to_owned());
    }
    let mut hooks: Vec<AttachedHook> = HOOKS.iter().map(|hook| pinned_hook(path, hook)).collect();
    let links = pinned_links(path, &hooks)?;
    let mut programs = missed_runs(&hooks, btf, |program| pinned_program(path, program))?;
    // Programs that this kernel cannot pin ended with the last recorder.
    let mut ebpf = None;
    let mut tests: Vec<AttachedHook> = SELF_TESTS.iter().map(|test| pinned_hook(path, test)).collect();
    if is_same && !can_pin_kprobes() {
        check_ftrace()?;
        let targets = targets(btf);
        let pinned: Vec<_> = MAPS.iter().map(|name| (*name, path.join(name))).collect();
        let mut loaded = load_with(object, Fit { btf, options }, &pinned)?;
        let (mut attached, missing): (Vec<_>, Vec<_>) = hooks.into_iter().partition(|hook| !hook.programs.is_empty());
        let how = Attaching::new(&targets, btf, options.preference, None);
        let reattached = attach_hooks(&mut loaded, missing.into_iter().map(|hook| hook.hook), how);
        programs.extend(missed_runs(&reattached, btf, |program| descriptor(&loaded, program.name))?);
        attached.extend(reattached);
        hooks = attached;
        let missing: Vec<_> = tests.extract_if(.., |test| test.programs.is_empty()).map(|test| test.hook).collect();
        let used = tests_for(&hooks).filter(|test| missing.iter().any(|missing| missing.name == test.name));
        tests.extend(attach_hooks(&mut loaded, used, how));
        ebpf = Some(loaded);
    }
    let counters = open_map(path, "COUNTERS", MmapCounters::try_from)?;
    let losses = Losses::new(counters, programs, Some(reported))?;
    let self_test = SelfTest::new(open_map(path, ALIVE, MmapCounters::try_from)?, &tests, &hooks);
    let resumed = Some(found);
    let settings = settings(path, addresses)?;
    let ring = Ring::pinned(ring)?;
    Ok(Tracer {
        ring,
        losses,
        self_test,
        hooks,
        resumed,
        symbolizer: Symbolizer::open(path)?,
        logger: None,
        ebpf,
        pins: Some(pins),
        _links: links,
        settings,
    })
}

fn pinned_hook(path: &Path, hook: &'static Hook) -> AttachedHook {
    match pinned_method(path, hook) {
        Some(programs) => AttachedHook { hook, programs, refused: Vec::new(), pinned: true },
        None => {
            let refused = vec!["it was not attached when the programs were pinned".to_owned()];
            AttachedHook { hook, programs: &[], refused, pinned: false }
        }
    }
}

/// Opens the runtime configuration. Addresses of an earlier recorder stay if there are no new ones.
fn settings(path: &Path, addresses: Addresses) -> Result<RuntimeConfig, ProbeError> {
    let settings = open_map(path, "SETTINGS", |map| RuntimeConfig::try_from(&map))?;
    // The last recorder may have been killed while it polled.
    settings.set_polling(false);
    if addresses != Addresses::default() {
        settings.set_addresses(addresses);
    }
    Ok(settings)
}

/// Opens the pinned links: they have counters of missed runs (since 6.17).
fn pinned_links(path: &Path, hooks: &[AttachedHook]) -> Result<Vec<PinnedLink>, ProbeError> {
    let programs = hooks.iter().filter(|hook| hook.pinned).flat_map(|hook| hook.programs);
    let open = |program: &Program| {
        let [file, _] = pin_names(program.name);
        let link = PinnedLink::from_pin(path.join(file));
        link.map_err(|error| ProbeError::Program { name: program.name, why: error.to_string() })
    };
    programs.map(open).collect()
}

fn pinned_program(path: &Path, program: Program) -> Result<OwnedFd, ProbeError> {
    let name = program.name;
    let fail = |why: String| ProbeError::Program { name, why };
    let [_, file] = pin_names(name);
    let path = path.join(file);
    let open = || -> Result<OwnedFd, ProgramError> {
        let fd = match program.how {
            How::FEntry => FEntry::from_pin(&path)?.fd()?.as_fd().try_clone_to_owned(),
            How::FExit => FExit::from_pin(&path)?.fd()?.as_fd().try_clone_to_owned(),
            How::KProbe => KProbe::from_pin(&path, ProbeKind::Entry)?.fd()?.as_fd().try_clone_to_owned(),
            How::KRetProbe => KProbe::from_pin(&path, ProbeKind::Return)?.fd()?.as_fd().try_clone_to_owned(),
            How::RawTracePoint => RawTracePoint::from_pin(&path)?.fd()?.as_fd().try_clone_to_owned(),
        };
        fd.map_err(ProgramError::IOError)
    };
    open().map_err(|error| fail(error.to_string()))
}

fn open_data(path: &Path, name: &'static str) -> Result<MapData, ProbeError> {
    MapData::from_pin(path.join(name)).map_err(|error| ProbeError::Map { name, source: Box::new(error) })
}

fn open_map<T>(
    path: &Path,
    name: &'static str,
    make: impl FnOnce(Map) -> Result<T, MapError>,
) -> Result<T, ProbeError> {
    let map = Map::from_map_data(open_data(path, name)?).and_then(make);
    map.map_err(|error| ProbeError::Map { name, source: Box::new(error) })
}

/// Distinguishes builds of the object (FNV-1a, not cryptographic).
fn digest(object: &[u8]) -> u64 {
    object.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
