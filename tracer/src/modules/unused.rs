//! Unused modules of the attack surface whose removal breaks no dependency.

use std::collections::BTreeSet;

use super::{
    Machine,
    blocklist::Rules,
    surface::{Entry, State},
    target::{Blockability, classify},
    usage::Usage,
};
use crate::{
    event::Text,
    modprobe::{Config, ModuleIndex, Resolution, resolve},
};

/// Modules that must stay loadable: used modules, modules that were or are loaded, and everything that these load.
#[derive(Clone, Debug, Default)]
pub struct RequiredModules {
    modules: BTreeSet<String>,
    /// Aliases and modules that must keep resolving to the same modules.
    names: BTreeSet<String>,
}

impl RequiredModules {
    /// Collects the required modules.
    #[must_use]
    pub fn new(usage: &Usage, config: &Config, index: &ModuleIndex, machine: &Machine) -> Self {
        let mut required = Self::default();
        let asked = usage.requested_names().map(Text::field);
        let came = usage.modules().into_iter().map(str::to_owned);
        let present = usage.coverage().present().iter().cloned();
        let loaded = machine.loaded.iter().flatten().map(|(name, _)| name.clone());
        for name in asked.chain(came).chain(present).chain(loaded) {
            required.add(name, config, index);
        }
        required
    }

    fn add(&mut self, name: String, config: &Config, index: &ModuleIndex) {
        let planned = match resolve(config, index, name.as_bytes()) {
            Resolution::Modules(planned) => planned,
            Resolution::Install { module, before, .. } => {
                self.modules.insert(module);
                before
            }
            Resolution::NotFound
            | Resolution::Off { .. }
            | Resolution::Blacklisted { .. }
            | Resolution::BuiltIn { .. } => Vec::new(),
        };
        self.modules.extend(planned.into_iter().map(|planned| planned.module));
        if index.file(&name).is_some() {
            self.modules.insert(name.clone());
        }
        self.names.insert(name);
    }

    /// Whether a module is required.
    #[must_use]
    pub fn contains(&self, module: &str) -> bool {
        self.modules.contains(module)
    }

    /// All required modules, sorted.
    pub fn modules(&self) -> impl Iterator<Item = &str> {
        self.modules.iter().map(String::as_str)
    }

    /// These modules and no others.
    #[cfg(test)]
    pub(crate) fn of(modules: &[&str]) -> Self {
        Self { modules: modules.iter().map(|name| (*name).to_owned()).collect(), names: BTreeSet::new() }
    }

    /// Names that must keep resolving to the same modules.
    #[must_use]
    pub const fn names(&self) -> &BTreeSet<String> {
        &self.names
    }
}

/// The open entries of the surface that are not required, each with the rules that block it.
#[must_use]
pub fn unused_modules<'a>(
    entries: &'a [Entry],
    required: &RequiredModules,
    config: &Config,
    index: &ModuleIndex,
    machine: &Machine,
) -> Vec<(&'a Entry, Rules)> {
    let can_go = entries.iter().filter(|entry| entry.state == State::Open && !required.contains(&entry.module));
    let rules = can_go.filter_map(|entry| match classify(&Text::from(entry.module.as_str()), config, index, machine) {
        Blockability::Block(target) => Some((entry, Rules::new(target))),
        Blockability::BuiltIn { .. } | Blockability::NotBlockable { .. } => None,
    });
    rules.collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::{RequiredModules, unused_modules};
    use crate::{
        chain::{Item, samples},
        event::{Baseline, Body, Event, Status},
        kernel::modules::State,
        modprobe::{Config, ModuleIndex},
        modules::{Machine, Usage, surface},
    };

    const CONFIG: &str = "\
softdep sctp pre: libcrc32c

# End of configuration files. Dumping indexes now:

alias net_pf_30 tipc
alias net_pf_29 can
alias net_pf_3 ax25
alias net_pf_5 appletalk
alias net_pf_21 rds
alias net_pf_2_proto_132_type_1 sctp
alias net_pf_38 af_alg
";
    const DEP: &str = "\
kernel/net/tipc.ko: kernel/net/udp_tunnel.ko
kernel/net/udp_tunnel.ko:
kernel/net/can.ko:
kernel/net/ax25.ko:
kernel/net/appletalk.ko: kernel/net/rds.ko
kernel/net/rds.ko:
kernel/net/sctp.ko: kernel/net/udp_tunnel.ko
kernel/lib/libcrc32c.ko:
kernel/net/iptable_nat.ko: kernel/net/can.ko
kernel/crypto/af_alg.ko:
";

    fn unused(items: &[Item], loaded: &[&str]) -> Vec<String> {
        let config = Config::parse(CONFIG).unwrap();
        let index = ModuleIndex::parse(DEP, "", "");
        let loaded: HashMap<String, State> = loaded.iter().map(|name| ((*name).to_owned(), State::Live)).collect();
        let machine = Machine { loaded: Some(loaded), ..Machine::default() };
        let mut usage = Usage::default();
        items.iter().for_each(|item| usage.push(item, "lb1", 0));
        let entries = surface(&config, &index, &machine);
        let required = RequiredModules::new(&usage, &config, &index, &machine);
        let unused = unused_modules(&entries, &required, &config, &index, &machine);
        let mut names: Vec<String> = unused.into_iter().map(|(entry, _)| entry.module.clone()).collect();
        names.sort_unstable();
        names
    }

    /// Without usage, all modules of the surface are unused.
    #[test]
    fn surface_without_usage_is_unused() {
        assert_eq!(unused(&[], &[]), ["af_alg", "appletalk", "ax25", "can", "iptable_nat", "rds", "sctp", "tipc"]);
    }

    /// Requested modules are required with their dependencies, also if they were loaded already; so are currently and
    /// initially loaded modules with theirs.
    #[test]
    fn used_and_loaded_modules_are_required_with_dependencies() {
        // iptable_nat was requested, and here it depends on can.
        let Item::Chain(mut found) = samples::outage() else { unreachable!("it is a chain") };
        found.modules.clear();
        found.result.as_mut().unwrap().status = Status::AlreadyLoaded;
        found.request.as_mut().unwrap().name = "net-pf-38".into();
        let body = Body::Baseline(Baseline { modules: vec!["appletalk".to_owned()] });
        let baseline = Event { seq: 0, time: "2026-03-01T00:00:00Z".parse().unwrap(), boot_ns: 0, request: None, body };
        let items = [samples::outage(), Item::Chain(found), Item::Event(Box::new(baseline))];
        assert_eq!(unused(&items, &["ax25"]), ["sctp", "tipc"]);
    }

    /// An unsuccessful request does not make a module required.
    #[test]
    fn unsuccessful_request_requires_nothing() {
        let Item::Chain(mut failed) = samples::not_found() else { unreachable!("it is a chain") };
        failed.request.as_mut().unwrap().name = "net-pf-30".into();
        assert!(unused(&[Item::Chain(failed)], &[]).contains(&"tipc".to_owned()));
    }
}
