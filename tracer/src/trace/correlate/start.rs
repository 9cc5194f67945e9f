//! Starts a trace: checks the requirements, loads the probes, describes the system.

use std::path::Path;

use super::live_system::LiveSystem;
use crate::{
    capture::hash::{hash, to_hex},
    event::{Baseline, Body, Header, HeaderHook, SCHEMA_VERSION},
    kernel::{
        btf::Btf,
        clock::ClockTriple,
        kallsyms::KallsymsError,
        modules,
        privileges::{Capabilities, Capability},
        sysinfo::{Lockdown, SystemInfo, major_minor},
    },
    probe::{self, Addresses, AttachedHook, Options, ProbeError, Uevents},
};

/// A started trace.
#[non_exhaustive]
pub struct Started {
    /// The attached programs.
    pub tracer: probe::Tracer,
    /// The uevent socket; `None` if the kernel does not allow it.
    pub uevents: Option<Uevents>,
    /// The system as the tracker's environment.
    pub system: LiveSystem,
    /// The clocks at the start.
    pub clocks: ClockTriple,
    /// First event.
    pub header: Body,
    /// Second event.
    pub baseline: Body,
    /// What could not be set up, and what is missing because of it.
    pub warnings: Vec<String>,
}

/// Loads and attaches everything. Afterwards every request is traced. `btf` is type information for a kernel that has none.
///
/// # Errors
/// If tracing is not possible here; the error names the reason and the fix.
pub fn start(options: Options, btf: Option<&Path>) -> Result<Started, ProbeError> {
    let root = Path::new("/");
    let mut warnings = Vec::new();
    if !probe::is_built_in() {
        return Err(ProbeError::NoObject);
    }
    privileges(root)?;
    let sysinfo = SystemInfo::new(root);
    supported(&sysinfo)?;
    let btf = types(&sysinfo, btf, &mut warnings)?;
    let mut system = LiveSystem::new(root);
    warnings.extend(system.helper_note());
    let mut addresses = Addresses::default();
    // In all other cases symbols are read after attaching, because reading them takes longest.
    if sysinfo.modprobe().is_ok_and(|path| path.trim().is_empty()) {
        let read = system.read_symbols().map(|found| addresses = found);
        warnings.extend(read.err().map(|error| without_symbols(&error)));
        warnings.extend(system.symbols_note());
    }

    let release = sysinfo.release().ok();
    let tracer = probe::Tracer::start(&btf, addresses, options);
    let mut tracer = tracer.map_err(|error| too_old(error, release.as_deref()))?;
    warnings.extend(tracer.self_test.check());
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
    let header = header(&sysinfo, clocks, hooks, &mut warnings);
    let baseline = baseline(root, &mut warnings);
    Ok(Started { tracer, uevents, system, clocks, header, baseline, warnings })
}

/// Prepares symbols for stacks, and passes the addresses that the programs need, unless that was done before: reading all symbols
/// takes longest of all. Returns a warning if something is missing.
pub fn read_symbols(system: &mut LiveSystem, tracer: &mut probe::Tracer) -> Option<String> {
    let was_read = system.has_symbols();
    let symbolizer = tracer.symbolizer.take();
    let is_asked = symbolizer.is_some();
    if let Some(symbolizer) = symbolizer {
        system.ask_for_symbols(symbolizer);
    }
    if was_read || (is_asked && tracer.has_addresses()) {
        return None;
    }
    match system.read_symbols() {
        Ok(addresses) => {
            tracer.set_addresses(addresses);
            system.symbols_note()
        }
        Err(error) if is_asked => Some(format!("{error}; meanwhile {NO_ADDRESSES}")),
        Err(error) => Some(without_symbols(&error)),
    }
}

/// What is missing without the addresses of symbols.
const NO_ADDRESSES: &str = "an empty kernel.modprobe is not detected";

fn without_symbols(error: &KallsymsError) -> String {
    format!("{error}; meanwhile stacks show addresses, and {NO_ADDRESSES}")
}

fn privileges(root: &Path) -> Result<(), ProbeError> {
    // If /proc/self/status is unreadable, loading is tried.
    let Ok(own) = Capabilities::effective(root) else { return Ok(()) };
    let admin = own.has(Capability::SysAdmin);
    let missing = own.missing(&[Capability::Bpf, Capability::Perfmon]);
    if admin || missing.is_empty() {
        return Ok(());
    }
    Err(ProbeError::Privileges { missing: missing.join(", ") })
}

fn header(sysinfo: &SystemInfo, clocks: ClockTriple, hooks: Vec<HeaderHook>, warnings: &mut Vec<String>) -> Body {
    let mut known = |what: &str, value: Result<String, crate::kernel::ReadError>| {
        value.unwrap_or_else(|error| {
            warnings.push(format!("{what} is unknown: {error}"));
            String::new()
        })
    };
    let header = Header {
        schema: SCHEMA_VERSION,
        tool: concat!("kmodtrace ", env!("CARGO_PKG_VERSION")).to_owned(),
        kernel: known("the kernel release", sysinfo.release()),
        kernel_version: known("the kernel version", sysinfo.version()),
        arch: std::env::consts::ARCH.to_owned(),
        hostname: known("the host name", sysinfo.hostname()),
        boot_id: known("the boot id", sysinfo.boot_id()),
        machine_id: sysinfo.machine_id().ok().flatten(),
        modprobe: known("kernel.modprobe", sysinfo.modprobe()),
        realtime_minus_boot_ns: clocks.realtime_minus_boot_ns(),
        clock_uncertainty_ns: clocks.uncertainty_ns,
        filters: Vec::new(),
        boot_minus_monotonic_ns: Some(clocks.boot_ns.saturating_sub(clocks.monotonic_ns)),
        modules_dep_sha256: digest(sysinfo, "modules.dep"),
        modules_alias_sha256: digest(sysinfo, "modules.alias"),
        recording: None,
        segment: None,
        previous: None,
        hooks,
    };
    Body::Header(Box::new(header))
}

/// Opens the uevent socket.
fn uevents(warnings: &mut Vec<String>) -> (Option<Uevents>, HeaderHook) {
    const WITHOUT: &str = "the device for which udev loads a module is unknown";
    let (uevents, missing) = match Uevents::open() {
        Ok(uevents) => (Some(uevents), None),
        Err(error) => (None, Some(format!("{WITHOUT}: {error}"))),
    };
    warnings.extend(missing.iter().map(|missing| format!("cannot receive uevents, so {missing}")));
    let hook = HeaderHook {
        hook: "uevents".to_owned(),
        attached: uevents.is_some().then(|| "netlink".to_owned()),
        target: "NETLINK_KOBJECT_UEVENT".to_owned(),
        missing,
    };
    (uevents, hook)
}

/// The digest of an index of the kernel's modules; `None` without the file.
fn digest(sysinfo: &SystemInfo, file: &str) -> Option<String> {
    let path = sysinfo.root().join("lib/modules").join(sysinfo.release().ok()?).join(file);
    let bytes = std::fs::read(&path).inspect_err(|error| log::info!("{}: {error}", path.display())).ok()?;
    Some(to_hex(&hash(&bytes)))
}

fn header_hook(hook: &AttachedHook) -> HeaderHook {
    let attached = hook.how();
    let target = hook.hook.methods.first().and_then(|method| method.first()).map_or("", |program| program.target);
    HeaderHook {
        hook: hook.hook.name.to_owned(),
        missing: attached.is_none().then(|| format!("{}: {}", hook.hook.without, hook.refused.join("; "))),
        attached,
        target: target.to_owned(),
    }
}

fn baseline(root: &Path, warnings: &mut Vec<String>) -> Body {
    let mut names: Vec<String> = match modules::load(root) {
        Ok(loaded) => {
            warnings.extend(loaded.note());
            loaded.modules.into_iter().map(|module| module.name).collect()
        }
        Err(error) => {
            warnings.push(format!("the modules that are loaded already are unknown: {error}"));
            Vec::new()
        }
    };
    names.sort_unstable();
    Body::Baseline(Baseline { modules: names })
}

/// Checks the known requirements without attaching anything.
fn supported(sysinfo: &SystemInfo) -> Result<(), ProbeError> {
    if sysinfo.lockdown().is_ok_and(|lockdown| lockdown == Lockdown::Confidentiality) {
        return Err(ProbeError::Lockdown);
    }
    if !sysinfo.root().join("proc/modules").exists() {
        return Err(ProbeError::NoModules);
    }
    Ok(())
}

/// The types of the running kernel: its own, or those of a file if it has none.
fn types(sysinfo: &SystemInfo, file: Option<&Path>, warnings: &mut Vec<String>) -> Result<Btf, ProbeError> {
    let own = sysinfo.root().join("sys/kernel/btf/vmlinux");
    match (file, own.exists()) {
        (None, true) => Ok(Btf::load_from(sysinfo.root())?),
        (None, false) => Err(ProbeError::NoBtf { path: own }),
        (Some(_), true) => Err(ProbeError::OwnBtf { path: own }),
        (Some(file), false) => {
            // A BTF blob does not say which kernel it belongs to.
            warnings.push(format!(
                "type information comes from {}: if it was not made for exactly this kernel, names and ids are wrong",
                file.display()
            ));
            Ok(Btf::read(file)?)
        }
    }
}

/// Turns a load error on an old kernel into a version error. The version alone is not enough: distributions backport BPF.
fn too_old(error: ProbeError, release: Option<&str>) -> ProbeError {
    /// The BPF ring buffer was added in this version.
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

    use super::{ProbeError, SystemInfo, supported, too_old, types};
    use crate::kernel::btf::{BtfError, builder::Builder};

    /// Each missing kernel feature has its own error, and a complete kernel passes.
    #[test]
    fn kernel_without_a_feature_has_its_own_error() {
        let root = tempfile::tempdir().unwrap();
        let sysinfo = SystemInfo::new(root.path());
        for directory in ["proc", "sys/kernel/btf", "sys/kernel/security"] {
            fs::create_dir_all(root.path().join(directory)).unwrap();
        }
        let write = |path: &str, text: &str| fs::write(root.path().join(path), text).unwrap();
        assert!(matches!(supported(&sysinfo), Err(ProbeError::NoModules)));
        write("proc/modules", "");
        supported(&sysinfo).unwrap();
        write("sys/kernel/security/lockdown", "none integrity [confidentiality]\n");
        assert!(matches!(supported(&sysinfo), Err(ProbeError::Lockdown)));
        write("sys/kernel/security/lockdown", "none [integrity] confidentiality\n");
        supported(&sysinfo).unwrap();
    }

    /// The kernel's own types are used; those of a file only, and with a warning, where it has none.
    #[test]
    fn types_of_a_file_are_used_only_without_own_ones() {
        let root = tempfile::tempdir().unwrap();
        let sysinfo = SystemInfo::new(root.path());
        let blob = Builder::new().bytes();
        let (file, own) = (root.path().join("x.btf"), root.path().join("sys/kernel/btf/vmlinux"));
        let mut warnings = Vec::new();
        let none = types(&sysinfo, None, &mut warnings).unwrap_err().to_string();
        assert!(none.contains("CONFIG_DEBUG_INFO_BTF=y") && none.contains("--btf FILE"), "{none}");
        let absent = types(&sysinfo, Some(&file), &mut Vec::new());
        assert!(matches!(absent, Err(ProbeError::Btf(BtfError::File { .. }))));
        fs::write(&file, &blob).unwrap();
        types(&sysinfo, Some(&file), &mut warnings).unwrap();
        assert!(warnings.len() == 1 && warnings[0].contains("x.btf"), "{warnings:?}");
        fs::create_dir_all(own.parent().unwrap()).unwrap();
        fs::write(own, blob).unwrap();
        types(&sysinfo, None, &mut warnings).unwrap();
        assert!(matches!(types(&sysinfo, Some(&file), &mut warnings), Err(ProbeError::OwnBtf { .. })));
    }

    /// Only a kernel below 5.8 that cannot load the object is reported as too old.
    #[test]
    fn old_kernel_that_cannot_load_is_too_old() {
        let load = || ProbeError::Load(Box::new(aya::EbpfError::NoBTF));
        assert!(matches!(too_old(load(), Some("5.4.0-216-generic")), ProbeError::TooOld { .. }));
        assert!(matches!(too_old(load(), Some("5.10.0-46-amd64")), ProbeError::Load(_)));
        assert!(matches!(too_old(load(), None), ProbeError::Load(_)));
        assert!(matches!(too_old(ProbeError::Lockdown, Some("4.19.0")), ProbeError::Lockdown));
    }
}
