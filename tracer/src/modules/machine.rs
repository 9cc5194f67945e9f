//! The state of this system that affects requests, in addition to the configuration of modprobe.

use std::{
    collections::HashMap,
    fs::Metadata,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use crate::environment::HelperView;
use crate::kernel::{
    command_line,
    device_nodes::DeviceNodes,
    file::read,
    modules::{self, State},
    sysinfo::SystemInfo,
};

/// Settings that limit user namespaces: the kernel's, Debian's and AppArmor's, each with the value that denies them to
/// users, what that means, and whether some programs are exempt.
const USER_NAMESPACE_LIMITS: [(&str, &str, &str, bool); 3] = [
    (
        "proc/sys/user/max_user_namespaces",
        "0",
        "user.max_user_namespaces is 0, so there are no new user namespaces",
        false,
    ),
    (
        "proc/sys/kernel/unprivileged_userns_clone",
        "0",
        "kernel.unprivileged_userns_clone is 0, so only root can create a user namespace",
        false,
    ),
    (
        "proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1",
        "kernel.apparmor_restrict_unprivileged_userns is 1, so it takes a program with an AppArmor profile that allows it",
        true,
    ),
];

/// The parameter of the kernel command line that makes the kernel refuse modules.
const MODULE_BLACKLIST: &str = "module_blacklist";

/// A setting that keeps users from creating user namespaces.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NamespaceLimit {
    /// The setting and what it means.
    pub why: String,
    /// Whether users can still create one with some programs.
    pub has_exceptions: bool,
}

/// The state of a system, read once.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Machine {
    /// Loaded modules and their states. `None` if unknown.
    pub loaded: Option<HashMap<String, State>>,
    /// Reasons why the kernel does not load any module automatically.
    pub stops: Vec<String>,
    /// Reasons why modprobe's configuration may be another one than that which is known.
    pub doubts: Vec<String>,
    /// Whether any user may create a user namespace and be its root. `None` if unknown.
    pub user_namespaces: Option<bool>,
    /// The setting that keeps users from creating user namespaces.
    pub user_namespace_limit: Option<NamespaceLimit>,
    /// Whether any user may load line disciplines (`dev.tty.ldisc_autoload`). `None` if unknown.
    pub ldisc_autoload: Option<bool>,
    /// The character devices. `None` if unknown.
    pub nodes: Option<DeviceNodes>,
    /// Modules that the kernel refuses (`module_blacklist=` on its command line), byte by byte as written there.
    pub refused: Vec<String>,
}

impl Machine {
    /// Reads the state of a system.
    #[must_use]
    pub fn read(sysinfo: &SystemInfo) -> Self {
        let loaded = modules::load(sysinfo.root());
        let loaded = loaded.inspect_err(|error| log::info!("the loaded modules are unknown: {error}")).ok();
        let states = |list: modules::LoadedModules| {
            list.note().into_iter().for_each(|note| log::warn!("{note}"));
            list.modules.into_iter().map(|module| (module.name, module.state)).collect()
        };
        let (user_namespaces, user_namespace_limit) = user_namespaces(sysinfo.root());
        Self {
            loaded: loaded.map(states),
            stops: stops(sysinfo),
            doubts: Vec::new(),
            user_namespaces,
            user_namespace_limit,
            ldisc_autoload: ldisc_autoload(sysinfo.root()),
            nodes: None,
            refused: refused(sysinfo.root()),
        }
    }

    /// Adds the device nodes that the processes of the system see, not only those of a container.
    #[must_use]
    pub fn with_nodes(self, sysinfo: &SystemInfo, view: &HelperView) -> Self {
        let nodes = view.with(|| DeviceNodes::read(sysinfo.root()));
        Self { nodes: nodes.ok().flatten(), ..self }
    }

    /// Why the kernel refuses a module; `None` if it does not.
    #[must_use]
    pub fn refusal(&self, module: &str) -> Option<String> {
        self.refused.iter().any(|refused| refused == module).then(|| {
            format!(
                "{MODULE_BLACKLIST}={module} on the kernel command line: the kernel refuses {module} with EPERM until it is booted without \
                 this parameter"
            )
        })
    }

    /// Whether a module is loaded and live: modprobe neither loads it nor runs a command in its place.
    #[must_use]
    pub fn is_live(&self, module: &str) -> bool {
        self.loaded.as_ref().is_some_and(|loaded| loaded.get(module) == Some(&State::Live))
    }
}

fn stops(sysinfo: &SystemInfo) -> Vec<String> {
    let mut stops = Vec::new();
    if sysinfo.modules_disabled().is_ok_and(|disabled| disabled) {
        stops.push("kernel.modules_disabled is 1: no module can be loaded until the next boot".to_owned());
    }
    match sysinfo.modprobe() {
        Ok(path) if path.is_empty() => {
            stops.push("kernel.modprobe is empty: the kernel loads no modules on request".to_owned());
        }
        Ok(path) => {
            if let Some(why) = why_not_executable(sysinfo.root(), &path) {
                stops.push(format!("kernel.modprobe is {path}, which {why}"));
            }
        }
        Err(error) => log::info!("kernel.modprobe is unknown: {error}"),
    }
    stops
}

/// Why the kernel cannot execute a program; `None` if it can.
pub(crate) fn why_not_executable(root: &Path, program: &str) -> Option<&'static str> {
    let path: PathBuf = root.join(program.trim_start_matches('/'));
    match std::fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Some("does not exist"),
        // Unknown to this process, but the kernel runs it as root.
        Err(_) => None,
        Ok(metadata) if !is_executable(&metadata) => Some("is not executable"),
        Ok(_) => None,
    }
}

fn is_executable(metadata: &Metadata) -> bool {
    metadata.is_file() && metadata.permissions().mode() & 0o111 != 0
}

/// Whether all settings that this kernel has allow user namespaces, and the one that does not.
fn user_namespaces(root: &Path) -> (Option<bool>, Option<NamespaceLimit>) {
    let limited =
        |why: &str, has_exceptions| (Some(false), Some(NamespaceLimit { why: why.to_owned(), has_exceptions }));
    let mut any = false;
    for (path, forbids, why, has_exceptions) in USER_NAMESPACE_LIMITS {
        match read(root, path, "mount it with `mount -t proc proc /proc`") {
            Ok(value) if value.trim() == forbids => return limited(why, has_exceptions),
            Ok(_) => any = true,
            Err(error) => log::debug!("{error}"),
        }
    }
    let process = root.join("proc/self");
    if process.join("ns").exists() && !process.join("ns/user").exists() {
        return limited("this kernel has no user namespaces", false);
    }
    (any.then_some(true), None)
}

/// Kernels before 5.1 do not have the setting, and allow it.
fn ldisc_autoload(root: &Path) -> Option<bool> {
    let value = read(root, "proc/sys/dev/tty/ldisc_autoload", "mount it with `mount -t proc proc /proc`");
    value.inspect_err(|error| log::debug!("{error}")).ok().map(|value| value.trim() != "0")
}

/// The last parameter counts, as for every parameter that is a string.
fn refused(root: &Path) -> Vec<String> {
    let parameters = command_line::parameters(root).inspect_err(|error| log::info!("{error}")).unwrap_or_default();
    let list = parameters.into_iter().rfind(|parameter| parameter.name == MODULE_BLACKLIST);
    let names = list.iter().flat_map(|list| list.value.split(','));
    names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::Machine;
    use crate::kernel::{modules::State, sysinfo::SystemInfo};

    fn machine(files: &[(&str, &str)]) -> Machine {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        Machine::read(&SystemInfo::new(root.path()))
    }

    /// Each reason that prevents all automatic loads is reported.
    #[test]
    fn setting_that_stops_all_loads_is_reported() {
        let disabled = machine(&[("proc/sys/kernel/modules_disabled", "1\n"), ("proc/sys/kernel/modprobe", "\n")]);
        assert_eq!(disabled.stops.len(), 2, "{:?}", disabled.stops);
        let missing = machine(&[("proc/sys/kernel/modprobe", "/sbin/modprobe\n")]);
        assert_eq!(missing.stops, ["kernel.modprobe is /sbin/modprobe, which does not exist"]);
        let plain = machine(&[("proc/sys/kernel/modprobe", "/sbin/modprobe\n"), ("sbin/modprobe", "")]);
        assert_eq!(plain.stops, ["kernel.modprobe is /sbin/modprobe, which is not executable"]);
    }

    /// One setting that denies user namespaces is enough, and without settings the result is unknown.
    #[test]
    fn user_namespaces_follow_the_strictest_setting() {
        let max = ("proc/sys/user/max_user_namespaces", "15000\n");
        assert_eq!(machine(&[max]).user_namespaces, Some(true));
        let clone = ("proc/sys/kernel/unprivileged_userns_clone", "0\n");
        assert_eq!(machine(&[max, clone]).user_namespaces, Some(false));
        let apparmor = ("proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1\n");
        assert_eq!(machine(&[max, apparmor]).user_namespaces, Some(false));
        let limit = machine(&[max, apparmor]).user_namespace_limit.unwrap();
        assert!(limit.has_exceptions && limit.why.starts_with("kernel.apparmor_restrict"), "{limit:?}");
        assert_eq!(machine(&[]).user_namespaces, None);
        let without = machine(&[max, ("proc/self/ns/mnt", "")]);
        assert_eq!(without.user_namespace_limit.unwrap().why, "this kernel has no user namespaces");
    }

    /// The last `module_blacklist=` counts, and names are compared byte by byte, as in the kernel.
    #[test]
    fn modules_that_the_kernel_refuses_are_known() {
        let machine = machine(&[("proc/cmdline", "module_blacklist=vfat ro module_blacklist=udf,algif-aead,\n")]);
        assert_eq!(machine.refused, ["udf", "algif-aead"]);
        assert!(machine.refusal("udf").unwrap().starts_with("module_blacklist=udf on the kernel command line"));
        assert!(machine.refusal("vfat").is_none() && machine.refusal("algif_aead").is_none());
    }

    /// The setting for line disciplines is read; without it, nothing is known.
    #[test]
    fn ldisc_setting_is_read() {
        for (text, expected) in [("0\n", Some(false)), ("1\n", Some(true))] {
            assert_eq!(machine(&[("proc/sys/dev/tty/ldisc_autoload", text)]).ldisc_autoload, expected);
        }
        assert_eq!(machine(&[]).ldisc_autoload, None);
    }

    /// Loaded modules are known by name; without /proc/modules they are unknown.
    #[test]
    fn loaded_modules_without_proc_are_unknown() {
        let some = machine(&[("proc/modules", "dummy 16384 0 - Live 0x0\n")]);
        assert_eq!(some.loaded.unwrap().get("dummy"), Some(&State::Live));
        assert!(machine(&[]).loaded.is_none());
    }
}
