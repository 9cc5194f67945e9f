//! Begins a trace: checks what can be checked beforehand, loads the probes, describes the machine.

use std::path::Path;

use super::live_system::LiveSystem;
use crate::{
    capture::hash::{hash, to_hex},
    event::{Baseline, Body, Header, HeaderHook, SCHEMA_VERSION},
    kernel::{
        btf::Btf,
        clock::ClockTriple,
        facts::{Facts, Lockdown, major_minor},
        kallsyms::KallsymsError,
        modules,
        privileges::{Capabilities, Capability},
    },
    probe::{self, Addresses, AttachedHook, Options, ProbeError, Uevents},
};

/// A trace that has begun.
#[non_exhaustive]
pub struct Started {
    /// The attached programs.
    pub tracer: probe::Tracer,
    /// What is told of devices; `None` where the kernel does not let us listen.
    pub uevents: Option<Uevents>,
    /// What is known of the machine.
    pub system: LiveSystem,
    /// The clocks when it began.
    pub clocks: ClockTriple,
    /// First event.
    pub header: Body,
    /// Second event.
    pub baseline: Body,
    /// What could not be found out, and what is missing because of that.
    pub warnings: Vec<String>,
}

/// Loads and attaches everything. Afterwards every request is caught.
///
/// # Errors
/// When tracing is not possible here; the error says why and what to do.
pub fn start(options: Options) -> Result<Started, ProbeError> {
    let root = Path::new("/");
    let mut warnings = Vec::new();
    if !probe::is_built_in() {
        return Err(ProbeError::NoObject);
    }
    privileges(root)?;
    let facts = Facts::new(root);
    supported(&facts)?;
    let btf = Btf::load()?;
    let mut system = LiveSystem::new(root);
    let mut addresses = Addresses::default();
    // Elsewhere they are read when everything is attached: what takes longest is not needed for that.
    if facts.modprobe().is_ok_and(|path| path.trim().is_empty()) {
        let read = system.read_symbols().map(|found| addresses = found);
        warnings.extend(read.err().map(|error| without_symbols(&error)));
    }

    let release = facts.release().ok();
    let tracer = probe::Tracer::start(&btf, addresses, options);
    let tracer = tracer.map_err(|error| too_old(error, release.as_deref()))?;
    let clocks = ClockTriple::now();
    for hook in tracer.hooks.iter().filter(|hook| hook.programs.is_empty()) {
        warnings.push(format!(
            "hook {} is not attached: {} ({})",
            hook.hook.name,
            hook.hook.without,
            hook.refused.join("; ")
        ));
    }
    let (uevents, listening) = uevents(&mut warnings);
    let mut hooks: Vec<HeaderHook> = tracer.hooks.iter().map(header_hook).collect();
    hooks.push(listening);
    let header = header(&facts, clocks, hooks, &mut warnings);
    let baseline = baseline(root, &mut warnings);
    Ok(Started { tracer, uevents, system, clocks, header, baseline, warnings })
}

/// Reads the kernel's symbols, unless that was done, and has the programs know what they need of them; what is missing where
/// that does not work.
pub fn read_symbols(system: &mut LiveSystem, tracer: &probe::Tracer) -> Option<String> {
    if system.has_symbols() {
        return None;
    }
    match system.read_symbols() {
        Ok(addresses) => {
            tracer.set_addresses(addresses);
            None
        }
        Err(error) => Some(without_symbols(&error)),
    }
}

fn without_symbols(error: &KallsymsError) -> String {
    format!("kernel symbols cannot be read ({error}): stacks show addresses, and an empty kernel.modprobe is not seen")
}

fn privileges(root: &Path) -> Result<(), ProbeError> {
    // An unreadable /proc/self/status decides nothing: the kernel will.
    let Ok(own) = Capabilities::effective(root) else { return Ok(()) };
    let admin = own.has(Capability::SysAdmin);
    let missing = own.missing(&[Capability::Bpf, Capability::Perfmon]);
    if admin || missing.is_empty() {
        return Ok(());
    }
    Err(ProbeError::Privileges { missing: missing.join(", ") })
}

fn header(facts: &Facts, clocks: ClockTriple, hooks: Vec<HeaderHook>, warnings: &mut Vec<String>) -> Body {
    let mut known = |what: &str, value: Result<String, crate::kernel::FactError>| {
        value.unwrap_or_else(|error| {
            warnings.push(format!("{what} is not known: {error}"));
            String::new()
        })
    };
    let header = Header {
        schema: SCHEMA_VERSION,
        tool: concat!("kmodtrace ", env!("CARGO_PKG_VERSION")).to_owned(),
        kernel: known("the kernel's release", facts.release()),
        kernel_version: known("the kernel's version", facts.version()),
        arch: std::env::consts::ARCH.to_owned(),
        hostname: known("the host's name", facts.hostname()),
        boot_id: known("the boot's id", facts.boot_id()),
        machine_id: facts.machine_id().ok().flatten(),
        modprobe: known("kernel.modprobe", facts.modprobe()),
        realtime_minus_boot_ns: clocks.realtime_minus_boot_ns(),
        clock_uncertainty_ns: clocks.uncertainty_ns,
        filters: Vec::new(),
        boot_minus_monotonic_ns: Some(clocks.boot_ns.saturating_sub(clocks.monotonic_ns)),
        modules_dep_sha256: digest(facts, "modules.dep"),
        modules_alias_sha256: digest(facts, "modules.alias"),
        recording: None,
        segment: None,
        previous: None,
        hooks,
    };
    Body::Header(Box::new(header))
}

/// Begins to listen for devices.
fn uevents(warnings: &mut Vec<String>) -> (Option<Uevents>, HeaderHook) {
    const WITHOUT: &str = "for which device udev loads a module is not known";
    let (uevents, missing) = match Uevents::open() {
        Ok(uevents) => (Some(uevents), None),
        Err(error) => (None, Some(format!("{WITHOUT}: {error}"))),
    };
    warnings.extend(missing.iter().map(|missing| format!("uevents cannot be heard, so {missing}")));
    let hook = HeaderHook {
        hook: "uevents".to_owned(),
        attached: uevents.is_some().then(|| "netlink".to_owned()),
        target: "NETLINK_KOBJECT_UEVENT".to_owned(),
        missing,
    };
    (uevents, hook)
}

/// The digest of an index of the kernel's modules; without the file there is none.
fn digest(facts: &Facts, file: &str) -> Option<String> {
    let path = facts.root().join("lib/modules").join(facts.release().ok()?).join(file);
    let bytes = std::fs::read(&path).inspect_err(|error| log::info!("{}: {error}", path.display())).ok()?;
    Some(to_hex(&hash(&bytes)))
}

fn header_hook(hook: &AttachedHook) -> HeaderHook {
    let attached = hook.how();
    let target = hook.hook.ways.first().and_then(|way| way.first()).map_or("", |program| program.target);
    HeaderHook {
        hook: hook.hook.name.to_owned(),
        missing: attached.is_none().then(|| format!("{}: {}", hook.hook.without, hook.refused.join("; "))),
        attached,
        target: target.to_owned(),
    }
}

fn baseline(root: &Path, warnings: &mut Vec<String>) -> Body {
    let mut names: Vec<String> = match modules::load(root) {
        Ok(modules) => modules.into_iter().map(|module| module.name).collect(),
        Err(error) => {
            warnings.push(format!("the modules loaded before are not known: {error}"));
            Vec::new()
        }
    };
    names.sort_unstable();
    Body::Baseline(Baseline { modules: names })
}

/// What rules tracing out, seen without trying.
fn supported(facts: &Facts) -> Result<(), ProbeError> {
    if facts.lockdown().is_ok_and(|lockdown| lockdown == Lockdown::Confidentiality) {
        return Err(ProbeError::Lockdown);
    }
    if !facts.root().join("proc/modules").exists() {
        return Err(ProbeError::NoModules);
    }
    let path = facts.root().join("sys/kernel/btf/vmlinux");
    if path.exists() { Ok(()) } else { Err(ProbeError::NoBtf { path }) }
}

/// A kernel that cannot load the object may be too old for it. Its number alone says little: distributions port BPF back.
fn too_old(error: ProbeError, release: Option<&str>) -> ProbeError {
    /// The BPF ring buffer came with this one.
    const NEEDED: (u32, u32) = (5, 8);
    match (error, release) {
        (ProbeError::Load(source), Some(release)) if major_minor(release).is_some_and(|version| version < NEEDED) => {
            ProbeError::TooOld { release: release.to_owned(), source }
        }
        (error, _) => error,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{Facts, ProbeError, supported, too_old};

    /// Check that each thing a kernel can lack is told from the others, and that a whole one passes.
    #[test]
    fn what_rules_tracing_out_is_told() {
        let root = tempfile::tempdir().unwrap();
        let facts = Facts::new(root.path());
        for directory in ["proc", "sys/kernel/btf", "sys/kernel/security"] {
            fs::create_dir_all(root.path().join(directory)).unwrap();
        }
        let write = |path: &str, text: &str| fs::write(root.path().join(path), text).unwrap();
        assert!(matches!(supported(&facts), Err(ProbeError::NoModules)));
        write("proc/modules", "");
        let no_btf = supported(&facts).unwrap_err();
        assert!(no_btf.to_string().contains("CONFIG_DEBUG_INFO_BTF=y"), "{no_btf}");
        write("sys/kernel/btf/vmlinux", "");
        supported(&facts).unwrap();
        write("sys/kernel/security/lockdown", "none integrity [confidentiality]\n");
        assert!(matches!(supported(&facts), Err(ProbeError::Lockdown)));
        write("sys/kernel/security/lockdown", "none [integrity] confidentiality\n");
        supported(&facts).unwrap();
    }

    /// Check that only an old kernel that cannot load the object is said to be too old.
    #[test]
    fn old_kernels_are_told() {
        let load = || ProbeError::Load(Box::new(aya::EbpfError::NoBTF));
        assert!(matches!(too_old(load(), Some("5.4.0-216-generic")), ProbeError::TooOld { .. }));
        assert!(matches!(too_old(load(), Some("5.10.0-46-amd64")), ProbeError::Load(_)));
        assert!(matches!(too_old(load(), None), ProbeError::Load(_)));
        assert!(matches!(too_old(ProbeError::Lockdown, Some("4.19.0")), ProbeError::Lockdown));
    }
}
