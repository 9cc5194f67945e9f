//! The state of this system that affects requests, in addition to the configuration of modprobe.

use std::{
    collections::HashMap,
    fs::Metadata,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use crate::kernel::{
    file::read,
    modules::{self, State},
    sysinfo::SystemInfo,
};

/// Settings that limit user namespaces: the kernel's, Debian's and AppArmor's, each with the value that denies them to
/// users.
const USER_NAMESPACE_LIMITS: [(&str, &str); 3] = [
    ("proc/sys/user/max_user_namespaces", "0"),
    ("proc/sys/kernel/unprivileged_userns_clone", "0"),
    ("proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1"),
];

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
        Self {
            loaded: loaded.map(states),
            stops: stops(sysinfo),
            doubts: Vec::new(),
            user_namespaces: user_namespaces(sysinfo.root()),
        }
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

/// Whether all settings that this kernel has allow user namespaces.
fn user_namespaces(root: &Path) -> Option<bool> {
    let mut any = false;
    for (path, forbids) in USER_NAMESPACE_LIMITS {
        match read(root, path, "mount it with `mount -t proc proc /proc`") {
            Ok(value) if value.trim() == forbids => return Some(false),
            Ok(_) => any = true,
            Err(error) => log::debug!("{error}"),
        }
    }
    any.then_some(true)
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
        assert_eq!(machine(&[]).user_namespaces, None);
    }

    /// Loaded modules are known by name; without /proc/modules they are unknown.
    #[test]
    fn loaded_modules_without_proc_are_unknown() {
        let some = machine(&[("proc/modules", "dummy 16384 0 - Live 0x0\n")]);
        assert_eq!(some.loaded.unwrap().get("dummy"), Some(&State::Live));
        assert!(machine(&[]).loaded.is_none());
    }
}
