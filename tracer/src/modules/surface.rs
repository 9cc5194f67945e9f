//! The attack surface: every module that an unprivileged user can make the kernel load here, and by which request.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    event::{Reason, Text},
    kernel::device_nodes::DeviceNodes,
    modprobe::{Config, ModuleIndex, Resolution, resolve},
    modules::{
        Effect, Machine, Prospect, Reach,
        families::{self, Access, Explanation},
        prospect::prospect_of_module,
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
    /// The configuration or the kernel prevents it.
    Blocked,
}

impl State {
    const fn of(effect: Effect) -> Option<Self> {
        match effect {
            Effect::Loads => Some(Self::Open),
            Effect::Loaded => Some(Self::Loaded),
            Effect::Blocked => Some(Self::Blocked),
            Effect::BuiltIn | Effect::NotFound => None,
        }
    }
}

/// A module that can be requested.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Entry {
    /// The requested module.
    pub module: String,
    /// The users that can request it.
    pub access: Access,
    /// The users in words.
    pub who: String,
    /// The setting or device node of this system that decides who they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The result of a request.
    pub state: State,
    /// What prevents the load.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub blocks: Vec<String>,
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
    let aliases = config.plain_aliases().map(str::to_owned);
    let names = aliases.chain(index.names().map(str::to_owned)).chain(device_names(machine));
    for name in names {
        let text = Text::from(name.as_str());
        let Some(found) = families::find(&text) else { continue };
        let reach = Reach::of(&text, found.family, machine);
        if reach.is_for_users() {
            add(&mut entries, &name, &found, &reach, (config, index), machine);
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

/// The names that opening a device asks for: most modules have an alias with a wildcard for them.
fn device_names(machine: &Machine) -> impl Iterator<Item = String> {
    let numbers = machine.nodes.iter().flat_map(DeviceNodes::numbers);
    numbers.flat_map(|(major, minor)| [format!("char_major_{major}_{minor}"), format!("char_major_{major}")])
}

/// Adds what a request for a name leads to.
fn add(
    entries: &mut BTreeMap<String, Entry>,
    name: &str,
    found: &Explanation,
    reach: &Reach,
    (config, index): (&Config, &ModuleIndex),
    machine: &Machine,
) {
    let resolution = resolve(config, index, name.as_bytes());
    let prospect = Prospect::of(&resolution, machine);
    let planned = match &resolution {
        Resolution::Modules(planned) | Resolution::Install { before: planned, .. } => planned.as_slice(),
        _ => &[],
    };
    // A command that replaces one of several modules loads nothing.
    let loads = planned.iter().filter(|planned| planned.command.is_none() || planned.reason == Reason::Dependency);
    let modules: Vec<String> = loads.map(|planned| planned.module.clone()).collect();
    // A line that leads an alias nowhere, and one that keeps one of several modules out.
    let carriers = config.carriers(name).filter(|carrier| !prospect.targets.contains(carrier));
    let others: Vec<String> = carriers.filter(|carrier| index.file(carrier).is_some()).collect();
    let of_target = prospect.targets.iter().map(|module| (module.clone(), prospect.clone()));
    let of_other = others.into_iter().map(|module| {
        let prospect = prospect_of_module(name, &module, config, index, machine);
        (module, prospect)
    });
    for (module, prospect) in of_target.chain(of_other) {
        let Some(state) = State::of(prospect.effect) else { continue };
        // Of several modules with an alias, some may be loaded already.
        let state = if machine.is_live(&module) { State::Loaded } else { state };
        let new = || Entry {
            module: module.clone(),
            access: reach.access,
            who: reach.who.clone(),
            why: reach.why.clone(),
            state,
            blocks: prospect.blocks.clone(),
            modules: modules.clone(),
            aliases: Vec::new(),
            action: found.action.clone(),
            family: found.family.name,
        };
        let entry = entries.entry(module.clone()).or_insert_with(new);
        // The alias with the widest access comes first; of those, one that is open.
        if (reach.access, std::cmp::Reverse(state)) > (entry.access, std::cmp::Reverse(entry.state)) {
            let aliases = std::mem::take(&mut entry.aliases);
            let state = entry.state.min(state);
            *entry = Entry { aliases, state, ..new() };
            entry.aliases.insert(0, name.to_owned());
        } else {
            entry.aliases.push(name.to_owned());
        }
        entry.state = entry.state.min(state);
        if entry.state != State::Blocked {
            entry.blocks.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::{Access, Config, Entry, Machine, ModuleIndex, State, surface};
    use crate::{kernel::device_nodes::DeviceNodes, modules::samples::CONFIG};

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
        assert!(find("e1000").is_none(), "hardware");
        let bluetooth = find("bluetooth").unwrap();
        assert_eq!(
            (bluetooth.state, bluetooth.blocks.as_slice()),
            (State::Blocked, &["alias net_pf_31 off in the configuration of modprobe".to_owned()][..])
        );
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

    /// Devices that users may open are on the surface, with the group that may; others are not.
    #[test]
    fn devices_follow_their_nodes() {
        let text = "\n# End of configuration files. Dumping indexes now:\n\nalias char_major_10_200 tipc\nalias char_major_10_223 can\n\
                    alias char_major_116_* dummy\nalias tty_ldisc_1 ax25\n";
        let config = Config::parse(text).unwrap();
        let index = ModuleIndex::parse(DEP, "", "");
        let nodes = DeviceNodes::of(&[
            (10, 200, "/dev/net/tun", 0o666, "root"),
            (10, 223, "/dev/uinput", 0o600, "root"),
            (116, 1, "/dev/snd/seq", 0o660, "audio"),
        ]);
        let machine = Machine { nodes: Some(nodes), ldisc_autoload: Some(false), ..Machine::default() };
        let found = surface(&config, &index, &machine);
        let shown: Vec<_> =
            found.iter().map(|entry| (entry.module.as_str(), entry.access, entry.who.as_str())).collect();
        let audio = ("dummy", Access::DeviceNode, "members of the group audio");
        assert_eq!(
            shown,
            [("tipc", Access::Anyone, "anyone"), ("sch_sfq", Access::UserNamespace, "root of a user namespace"), audio]
        );
        assert_eq!(found[0].why.as_deref(), Some("/dev/net/tun has mode 0666"));
    }

    /// Modules that the kernel refuses, and those behind user namespaces that no user can create, are not open.
    #[test]
    fn kernel_settings_close_the_surface() {
        let config = Config::parse(CONFIG).unwrap();
        let index = ModuleIndex::parse(DEP, "", "");
        let machine = Machine { refused: vec!["tipc".to_owned()], user_namespaces: Some(false), ..Machine::default() };
        let found = surface(&config, &index, &machine);
        let state = |module: &str| found.iter().find(|entry| entry.module == module).map(|entry| entry.state);
        assert_eq!((state("tipc"), state("dummy"), state("sch_sfq")), (Some(State::Blocked), None, None));
        let tipc = found.iter().find(|entry| entry.module == "tipc").unwrap();
        assert!(tipc.blocks[0].contains("module_blacklist=tipc"), "{:?}", tipc.blocks);
    }
}
