//! When a module arrived, from the order of the loaded modules and the times in sysfs.

use std::{collections::HashSet, fs, path::Path, time::SystemTime};

use jiff::{SignedDuration, Timestamp};

use crate::kernel::modules::{LoadedModule, LoadedModules};

/// Maximum number of newer modules that are examined for the one that needs this one.
const NEWER_MAX: usize = 64;

/// Modules that one request loads arrive within this time.
const TOGETHER: SignedDuration = SignedDuration::from_secs(10);

/// A neighbour in the order of arrival.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Neighbour {
    /// Its name.
    pub module: String,
    /// The time of its directory in sysfs.
    pub sysfs_time: Option<Timestamp>,
}

/// The position of a module among the loaded ones. Only modules that are still loaded have a position.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Arrival {
    /// The one that arrived last before it.
    pub older: Option<Neighbour>,
    /// The one that arrived first after it.
    pub newer: Option<Neighbour>,
    /// It was there at this time: the earliest time of its own directory in sysfs, and of those of all newer modules. The kernel
    /// sets the time when a directory is first looked at, usually by udev at once.
    pub no_later: Option<Timestamp>,
    /// The module that needs it, arrived right after it, and after nothing but other modules that it needs.
    pub brought_by: Option<String>,
}

impl Arrival {
    /// Finds the position of a module in `/proc/modules`, which lists the newest first; `None` if it is not loaded.
    #[must_use]
    pub fn of(root: &Path, modules: &LoadedModules, module: &str) -> Option<Self> {
        let at = modules.modules.iter().position(|loaded| loaded.name == module)?;
        let newer = modules.modules.get(..at)?;
        let neighbour = |loaded: &LoadedModule| Neighbour {
            module: loaded.name.clone(),
            sysfs_time: sysfs_time(root, &loaded.name),
        };
        let own = sysfs_time(root, module);
        let no_later = newer.iter().filter_map(|loaded| sysfs_time(root, &loaded.name)).chain(own).min();
        Some(Self {
            older: modules.modules.get(at + 1).map(neighbour),
            newer: newer.last().map(neighbour),
            no_later,
            brought_by: brought_by(root, modules, at),
        })
    }

    /// The time before which it did not arrive: that of the older neighbour, if the order of the times fits.
    #[must_use]
    pub fn not_before(&self) -> Option<Timestamp> {
        let older = self.older.as_ref()?.sysfs_time?;
        (older <= self.no_later?).then_some(older)
    }
}

/// The time of a module's directory.
fn sysfs_time(root: &Path, module: &str) -> Option<Timestamp> {
    if module.starts_with('.') {
        return None;
    }
    let modified = fs::metadata(root.join("sys/module").join(module)).ok()?.modified().ok()?;
    let since_epoch = modified.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    Timestamp::from_second(i64::try_from(since_epoch.as_secs()).ok()?)
        .ok()?
        .checked_add(SignedDuration::from_nanos(i64::from(since_epoch.subsec_nanos())))
        .ok()
}

/// The newest module that needs all modules that arrived from position `at` on to just before it.
fn brought_by(root: &Path, modules: &LoadedModules, at: usize) -> Option<String> {
    let all = &modules.modules;
    let own = all.get(at)?;
    let began = sysfs_time(root, &own.name);
    let oldest = at.saturating_sub(NEWER_MAX);
    let run = all.get(oldest..=at)?;
    // Newest first: each candidate with those that arrived between it and the module.
    let is_the_one = |(place, candidate): &(usize, &LoadedModule)| {
        let needed = needed_by(run, &candidate.name);
        let between = run.get(place + 1..).unwrap_or_default();
        let ended = sysfs_time(root, &candidate.name);
        let is_together = began.zip(ended).is_none_or(|(began, ended)| ended.duration_since(began).abs() <= TOGETHER);
        is_together && between.iter().all(|module| needed.contains(module.name.as_str()))
    };
    let candidates = run.iter().enumerate().take(run.len().saturating_sub(1));
    candidates.into_iter().find(is_the_one).map(|(_, candidate)| candidate.name.clone())
}

/// The modules of `run` that a module needs, directly or not. `used_by` names the direct users of each.
fn needed_by<'a>(run: &'a [LoadedModule], module: &str) -> HashSet<&'a str> {
    let mut needed: HashSet<&str> = HashSet::new();
    // A module arrives after those that it needs, and the newest comes first: one pass finds all.
    for loaded in run {
        let is_used = loaded.used_by.iter().any(|user| user == module || needed.contains(user.as_str()));
        if is_used {
            needed.insert(&loaded.name);
        }
    }
    needed
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, File, FileTimes},
        path::Path,
        time::{Duration, SystemTime},
    };

    use super::Arrival;
    use crate::kernel::modules;

    fn module(root: &Path, name: &str, seconds: u64) {
        let path = root.join("sys/module").join(name);
        fs::create_dir_all(&path).unwrap();
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        File::open(path).unwrap().set_times(FileTimes::new().set_modified(time)).unwrap();
    }

    fn tree(lines: &str, times: &[(&str, u64)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("proc")).unwrap();
        fs::write(root.path().join("proc/modules"), lines).unwrap();
        times.iter().for_each(|(name, seconds)| module(root.path(), name, *seconds));
        root
    }

    fn arrival(root: &Path, name: &str) -> Arrival {
        Arrival::of(root, &modules::load(root).unwrap(), name).unwrap()
    }

    const OUTAGE: &str = "dummy 1 0 - Live 0x0\n\
                          iptable_nat 1 0 - Live 0x0\n\
                          ip_tables 1 1 iptable_nat, Live 0x0\n\
                          nf_nat 1 1 iptable_nat, Live 0x0\n\
                          nf_conntrack 1 1 nf_nat, Live 0x0\n\
                          xfs 1 0 - Live 0x0\n";

    /// A dependency is attributed to the module that needs it and all that arrived in between.
    #[test]
    fn dependency_is_brought_by_the_module_that_needs_it() {
        let times = [
            ("dummy", 900),
            ("iptable_nat", 503),
            ("ip_tables", 502),
            ("nf_nat", 502),
            ("nf_conntrack", 501),
            ("xfs", 40),
        ];
        let root = tree(OUTAGE, &times);
        let found = arrival(root.path(), "nf_conntrack");
        assert_eq!(found.brought_by.as_deref(), Some("iptable_nat"));
        assert_eq!(found.older.as_ref().unwrap().module, "xfs");
        assert_eq!(found.newer.as_ref().unwrap().module, "nf_nat");
        assert_eq!(found.no_later.unwrap().as_second(), 501);
        assert_eq!(found.not_before().unwrap().as_second(), 40);
        for name in ["iptable_nat", "dummy", "xfs"] {
            assert_eq!(arrival(root.path(), name).brought_by, None, "{name}");
        }
    }

    /// A module that arrived much later, or after an unrelated module, brought nothing.
    #[test]
    fn later_user_brought_nothing() {
        let root = tree(OUTAGE, &[("iptable_nat", 5000), ("nf_nat", 5000), ("nf_conntrack", 501)]);
        assert_eq!(arrival(root.path(), "nf_conntrack").brought_by, None);
        let lines = "iptable_nat 1 0 - Live 0x0\ndummy 1 0 - Live 0x0\nnf_nat 1 1 iptable_nat, Live 0x0\n";
        assert_eq!(arrival(tree(lines, &[]).path(), "nf_nat").brought_by, None);
    }

    /// The earliest time of all newer modules counts, since they arrived later; times that contradict the order give no range.
    #[test]
    fn time_of_newer_module_is_a_limit() {
        let root = tree(OUTAGE, &[("nf_conntrack", 700), ("ip_tables", 600), ("xfs", 800)]);
        let found = arrival(root.path(), "nf_conntrack");
        assert_eq!(found.no_later.unwrap().as_second(), 600);
        assert_eq!(found.not_before(), None);
        let bare = arrival(tree("a 1 0 - Live 0x0\n", &[]).path(), "a");
        assert_eq!(bare, Arrival::default());
        let root = tree("x 1 0 - Live 0x0\n", &[]);
        assert!(Arrival::of(root.path(), &modules::load(root.path()).unwrap(), "..").is_none());
    }
}
