//! The flight recorder: programs, maps and links that outlast the process, and a process that goes on where the last
//! one ended.

use std::{
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

use aya::{
    maps::{HashMap, Map, MapData, MapError, MapInfo, MapType},
    programs::{FEntry, FExit, KProbe, ProbeKind, ProgramError, RawTracePoint, links::PinnedLink},
};
use tracer_ebpf::wire::{COUNTER_COUNT, SETTING_COUNT};

use super::{
    Addresses, ProbeError,
    attach::{can_pin_kprobes, pin_names},
    attached::{AttachedHook, Attaching, attach_hooks},
    counts::Counts,
    held::HeldRing,
    hooks::{HOOKS, Hook, How, Need, Program},
    load::{Fit, descriptor, load, load_with},
    losses::Losses,
    object::object,
    options::Options,
    pin::{self, PIN_DIRECTORY, PinError, Pins},
    ring::Ring,
    settings::Settings,
    skipped::watched,
    targets::targets,
    told::{TOLD, Told},
    tracer::{Resumed, Tracer},
};
use crate::kernel::btf::Btf;

/// Every map of the object that programs share.
const MAPS: [&str; 9] =
    ["EVENTS", "COUNTERS", "SETTINGS", "IN_FLIGHT", "HANDOVERS", "HELPERS", "INITS", "KTHREADS", TOLD];

/// Under this name the digest of the object that was pinned is kept among the losses.
const OBJECT_DIGEST: &str = "object-digest";

/// Goes on where the last recorder ended, or begins.
pub(super) fn attempt(btf: &Btf, addresses: Addresses, options: Options) -> Result<Tracer, ProbeError> {
    let pins = Pins::open(Path::new(PIN_DIRECTORY))?;
    let mut found = Resumed::default();
    discard_foreign(&pins, &mut found)?;
    let Some(path) = pins.published() else { return begin(pins, btf, addresses, options, found) };
    match check(&path) {
        Ok(ring) => resume(pins, &path, ring, (btf, addresses, options), found),
        Err(error) => {
            found.notes.push(format!("{error}; begun anew"));
            discard(&path, &mut found)?;
            begin(pins, btf, addresses, options, found)
        }
    }
}

fn discard_foreign(pins: &Pins, found: &mut Resumed) -> Result<(), PinError> {
    for path in pins.foreign()? {
        found.notes.push(format!("{} was pinned by another version of kmodtrace, and is removed", path.display()));
        discard(&path, found)?;
    }
    Ok(())
}

/// Removes pins, and counts what waited in their ring: its framing is the kernel's, whatever the records are.
fn discard(path: &Path, found: &mut Resumed) -> Result<(), PinError> {
    let events = path.join("EVENTS");
    let is_ring =
        MapInfo::from_pin(&events).and_then(|info| info.map_type()).is_ok_and(|kind| kind == MapType::RingBuf);
    let ring = is_ring.then(|| MapData::from_pin(&events).ok().and_then(|map| HeldRing::new(map).ok())).flatten();
    // Detached first: what comes later is not lost, it is recorded by the new programs.
    pin::remove(path)?;
    match ring.and_then(|ring| ring.waiting()) {
        Some(waiting) => found.unreadable += waiting,
        None => found.notes.push("how many records waited there is not known".to_owned()),
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
    let (mut ebpf, targets) = load(object, Fit { btf, options })?;
    let path = pins.begin()?;
    for name in MAPS {
        let fail = |why: String| PinError::Refused { what: format!("map {name}"), why };
        let map = ebpf.map(name).ok_or_else(|| fail("it is not in the object".to_owned()))?;
        map.pin(path.join(name)).map_err(|error| fail(error.to_string()))?;
    }
    let settings = settings(&path, addresses)?;
    let how = Attaching { targets: &targets, preference: options.preference, pins: Some(&path) };
    let hooks = attach_hooks(&mut ebpf, HOOKS, how);
    let links = pinned_links(&path, &hooks)?;
    let programs = watched(&hooks, |program| descriptor(&ebpf, program.name))?;
    let mut told = Told::new(open_map(&path, TOLD, HashMap::try_from)?);
    told.set(OBJECT_DIGEST, digest(object))?;
    let counters = open_map(&path, "COUNTERS", Counts::try_from)?;
    let mut losses = Losses::new(counters, programs, Some(told))?;
    // What was counted while only some of the probes were attached is no loss: nothing was promised yet.
    losses.take_new();
    losses.keep_told()?;
    let ring = HeldRing::new(open_data(&path, "EVENTS")?).map_err(ProbeError::Wait)?;
    let found = (found != Resumed::default()).then_some(found);
    Ok(Tracer {
        ring: Ring::held(ring)?,
        losses,
        hooks,
        resumed: found,
        logger: None,
        ebpf: Some(ebpf),
        pins: Some(pins),
        _links: links,
        settings,
    })
}

/// Looks whether what is pinned is what this build would have pinned. aya does not look.
fn check(path: &Path) -> Result<HeldRing, PinError> {
    let differs = |why: String| PinError::Layout { path: path.to_owned(), why };
    for (name, kind, sizes) in [
        ("EVENTS", MapType::RingBuf, None),
        ("COUNTERS", MapType::Array, Some((4, 8, COUNTER_COUNT))),
        ("SETTINGS", MapType::Array, Some((4, 8, SETTING_COUNT))),
        (TOLD, MapType::Hash, Some((32, 8, 256))),
    ] {
        let info = MapInfo::from_pin(path.join(name)).map_err(|error| differs(format!("map {name}: {error}")))?;
        let is_kind = info.map_type().is_ok_and(|found| found == kind);
        let found = (info.key_size(), info.value_size(), info.max_entries());
        if !is_kind || sizes.is_some_and(|sizes| sizes != found) {
            return Err(differs(format!("map {name} has another layout")));
        }
    }
    // Elsewhere a required hook may be one that cannot be pinned.
    if can_pin_kprobes() {
        let mut required = HOOKS.iter().filter(|hook| hook.need == Need::Required);
        if let Some(hook) = required.find(|hook| pinned_way(path, hook).is_none()) {
            return Err(differs(format!("hook {} is not attached", hook.name)));
        }
    }
    let map = MapData::from_pin(path.join("EVENTS")).map_err(|error| differs(error.to_string()))?;
    HeldRing::new(map).map_err(|error| differs(error.to_string()))
}

/// The way of a hook that is pinned whole.
fn pinned_way(path: &Path, hook: &Hook) -> Option<&'static [Program]> {
    let is_pinned = |program: &Program| pin_names(program.name).iter().all(|name| path.join(name).exists());
    hook.ways.iter().find(|way| way.iter().all(is_pinned)).copied()
}

fn resume(
    pins: Pins,
    path: &Path,
    ring: HeldRing,
    (btf, addresses, options): (&Btf, Addresses, Options),
    mut found: Resumed,
) -> Result<Tracer, ProbeError> {
    found.waiting = ring.waiting();
    let told = Told::new(open_map(path, TOLD, HashMap::try_from)?);
    let object = object().ok_or(ProbeError::NoObject)?;
    let is_same = told.get(OBJECT_DIGEST)? == digest(object);
    if !is_same {
        let note =
            "the pinned programs are another build's and go on recording: kmodtrace record --unpin replaces them";
        found.notes.push(note.to_owned());
    }
    let mut hooks: Vec<AttachedHook> = HOOKS.iter().map(|hook| pinned_hook(path, hook)).collect();
    let links = pinned_links(path, &hooks)?;
    let mut programs = watched(&hooks, |program| pinned_program(path, program))?;
    // What this kernel cannot pin died with the last recorder.
    let mut ebpf = None;
    if is_same && !can_pin_kprobes() {
        let targets = targets(btf);
        let pinned: Vec<_> = MAPS.iter().map(|name| (*name, path.join(name))).collect();
        let mut loaded = load_with(object, Fit { btf, options }, &pinned)?;
        let (mut attached, missing): (Vec<_>, Vec<_>) = hooks.into_iter().partition(|hook| !hook.programs.is_empty());
        let how = Attaching { targets: &targets, preference: options.preference, pins: None };
        let anew = attach_hooks(&mut loaded, missing.into_iter().map(|hook| hook.hook), how);
        programs.extend(watched(&anew, |program| descriptor(&loaded, program.name))?);
        attached.extend(anew);
        hooks = attached;
        ebpf = Some(loaded);
    }
    let counters = open_map(path, "COUNTERS", Counts::try_from)?;
    let losses = Losses::new(counters, programs, Some(told))?;
    let resumed = Some(found);
    let settings = settings(path, addresses)?;
    let ring = Ring::held(ring)?;
    Ok(Tracer { ring, losses, hooks, resumed, logger: None, ebpf, pins: Some(pins), _links: links, settings })
}

fn pinned_hook(path: &Path, hook: &'static Hook) -> AttachedHook {
    match pinned_way(path, hook) {
        Some(programs) => AttachedHook { hook, programs, refused: Vec::new(), pinned: true },
        None => {
            let refused = vec!["it was not attached when the programs were pinned".to_owned()];
            AttachedHook { hook, programs: &[], refused, pinned: false }
        }
    }
}

/// The words of the programs, with what is known already; what an earlier recorder found out stays.
fn settings(path: &Path, addresses: Addresses) -> Result<Settings, ProbeError> {
    let settings = open_map(path, "SETTINGS", |map| Settings::try_from(&map))?;
    // Who recorded before may have been awake when it was killed.
    settings.set_awake(false);
    if addresses != Addresses::default() {
        settings.set_addresses(addresses);
    }
    Ok(settings)
}

/// What keeps the programs attached, open: it tells what it has missed (since 6.17).
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

/// Tells builds of the object apart (FNV-1a); no protection against anyone.
fn digest(object: &[u8]) -> u64 {
    object.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
