//! The attack surface: every module that an unprivileged user can make the kernel load here, and by which request.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    event::{Reason, Text},
    modprobe::{Config, ModuleIndex, Planned, Resolution, resolve},
    modules::{
        Machine,
        families::{self, Access},
    },
};

/// Whether a request would load something now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum State {
    /// It would.
    Open,
    /// All modules are loaded already.
    Loaded,
    /// The configuration prevents it.
    Blocked,
}

/// A module that can be requested.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Entry {
    /// The requested module.
    pub module: String,
    /// The users that can request it.
    pub access: Access,
    /// The result of a request.
    pub state: State,
    /// All modules that would be loaded, in order.
    pub modules: Vec<String>,
    /// Normalized aliases that resolve to it.
    pub aliases: Vec<String>,
    /// The action that requests the first alias.
    pub action: String,
    /// The family of the first alias.
    pub family: &'static str,
}

/// Finds every module that can be requested without root privileges, those with the widest access first.
#[must_use]
pub fn surface(config: &Config, index: &ModuleIndex, machine: &Machine) -> Vec<Entry> {
    let mut entries: BTreeMap<String, Entry> = BTreeMap::new();
    let names = config.plain_aliases().map(str::to_owned).chain(index.names().map(str::to_owned));
    for name in names {
        let text = Text::from(name.as_str());
        let Some(found) = families::find(&text).filter(|found| found.family.access >= Access::UserNamespace) else {
            continue;
        };
        let (targets, modules, blocked) = targets(resolve(config, index, name.as_bytes()), machine);
        let is_loaded = |module: &String| machine.loaded.as_ref().is_some_and(|loaded| loaded.contains_key(module));
        let state = match blocked {
            true => State::Blocked,
            false if modules.iter().all(is_loaded) => State::Loaded,
            false => State::Open,
        };
        let access = found.family.access;
        for module in targets {
            let new = || Entry {
                module: module.clone(),
                access,
                state,
                modules: modules.clone(),
                aliases: Vec::new(),
                action: found.action.clone(),
                family: found.family.name,
            };
            let entry = entries.entry(module.clone()).or_insert_with(new);
            // The alias with the widest access comes first.
            if access > entry.access {
                (entry.access, entry.family) = (access, found.family.name);
                entry.action.clone_from(&found.action);
                entry.aliases.insert(0, name.clone());
            } else {
                entry.aliases.push(name.clone());
            }
            entry.state = entry.state.min(state);
        }
    }
    let mut entries: Vec<Entry> = entries.into_values().collect();
    for entry in &mut entries {
        entry.aliases.dedup();
    }
    entries
        .sort_by(|one, other| (other.access, one.family, &one.module).cmp(&(one.access, other.family, &other.module)));
    entries
}

/// The modules that a request is for, all modules that would be loaded, and whether the configuration prevents it.
fn targets(resolution: Resolution, machine: &Machine) -> (Vec<String>, Vec<String>, bool) {
    let blocked = resolution.block(|module| machine.is_live(module)).is_some();
    let names = |planned: Vec<Planned>| planned.into_iter().map(|planned| planned.module).collect();
    match resolution {
        Resolution::Modules(mut planned) => {
            // A command that replaces one of several modules loads nothing here.
            planned.retain(|planned| planned.command.is_none() || planned.reason == Reason::Dependency);
            // An alias may resolve to several modules.
            let is_meant = |planned: &&Planned| matches!(planned.reason, Reason::Asked | Reason::Alias);
            let targets = planned.iter().filter(is_meant).map(|planned| planned.module.clone()).collect();
            (targets, names(planned), blocked)
        }
        Resolution::Install { module, before, .. } => (vec![module], names(before), true),
        Resolution::Blacklisted { module } => (vec![module], Vec::new(), true),
        Resolution::NotFound | Resolution::Off { .. } | Resolution::BuiltIn { .. } => (Vec::new(), Vec::new(), blocked),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::{Access, Config, Entry, Machine, ModuleIndex, State, surface};
    use crate::modules::samples::CONFIG;

    const DEP: &str = "\
kernel/net/tipc.ko: kernel/net/udp_tunnel.ko
kernel/net/udp_tunnel.ko:
kernel/net/can.ko:
kernel/net/bluetooth.ko:
kernel/net/sctp.ko: kernel/net/udp_tunnel.ko
kernel/net/sch_sfq.ko:
kernel/drivers/dummy.ko:
kernel/fs/vfat.ko:
kernel/drivers/e1000.ko:
kernel/net/ax25.ko:
kernel/crypto/twofish-x86_64.ko:
kernel/crypto/twofish-x86_64-3way.ko: kernel/crypto/twofish-x86_64.ko
";

    fn entries() -> Vec<Entry> {
        let config = Config::parse(CONFIG).unwrap();
        let index = ModuleIndex::parse(DEP, "", "");
        let loaded = HashMap::from([("ax25".to_owned(), crate::kernel::modules::State::Live)]);
        surface(&config, &index, &Machine { loaded: Some(loaded), ..Machine::default() })
    }

    /// Modules that any user can request are included with everything they load; modules for root or hardware are not.
    #[test]
    fn surface_has_modules_that_users_can_request() {
        let entries = entries();
        let find = |module: &str| entries.iter().find(|entry| entry.module == module);
        let tipc = find("tipc").unwrap();
        assert_eq!((tipc.access, tipc.state), (Access::Anyone, State::Open));
        assert_eq!(tipc.modules, ["udp_tunnel", "tipc"]);
        assert_eq!(tipc.aliases, ["net_pf_30"]);
        assert!(tipc.action.contains("AF_TIPC"), "{}", tipc.action);
        assert_eq!(find("dummy").unwrap().access, Access::UserNamespace);
        assert!(find("sch_sfq").is_some(), "requested by its own name");
        assert!(find("e1000").is_none() && find("bluetooth").is_none(), "hardware, and an alias that is off");
        assert!(entries.is_sorted_by_key(|entry| std::cmp::Reverse(entry.access)));
    }

    /// An alias of several modules adds an entry for each.
    #[test]
    fn alias_of_several_modules_has_an_entry_for_each() {
        let entries = entries();
        for module in ["twofish_x86_64", "twofish_x86_64_3way"] {
            let entry = entries.iter().find(|entry| entry.module == module).unwrap();
            assert_eq!(entry.aliases, ["crypto_twofish_asm"], "{module}");
            assert_eq!(entry.modules, ["twofish_x86_64", "twofish_x86_64_3way"]);
        }
    }

    /// A dependency that is blocked and loaded already blocks nothing before the next boot.
    #[test]
    fn block_of_a_loaded_dependency_does_not_close_the_surface() {
        let config = Config::parse(format!("install udp_tunnel /bin/false\n{CONFIG}")).unwrap();
        let index = ModuleIndex::parse(DEP, "", "");
        let tipc = |machine: &Machine| {
            let found = surface(&config, &index, machine).into_iter().find(|entry| entry.module == "tipc");
            found.map(|entry| entry.state)
        };
        assert_eq!(tipc(&Machine::default()), Some(State::Blocked));
        let live = HashMap::from([("udp_tunnel".to_owned(), crate::kernel::modules::State::Live)]);
        assert_eq!(tipc(&Machine { loaded: Some(live), ..Machine::default() }), Some(State::Open));
    }

    /// Blocked and loaded modules are distinguished from open ones.
    #[test]
    fn entry_that_is_blocked_or_loaded_is_not_open() {
        let state = |module: &str| entries().into_iter().find(|entry| entry.module == module).map(|entry| entry.state);
        assert_eq!(state("can"), Some(State::Blocked));
        assert_eq!(state("sctp"), Some(State::Blocked));
        assert_eq!(state("ax25"), Some(State::Loaded));
    }
}
