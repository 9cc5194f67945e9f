//! What of the surface can go: all that nobody needed, and nothing that anything needed rests on.

use std::collections::BTreeSet;

use super::{
    Machine,
    blocklist::Rules,
    surface::{Entry, State},
    target::{Plan, plan},
    usage::Needs,
};
use crate::{
    event::Text,
    modprobe::{Config, ModuleIndex, Resolution, resolve},
};

/// Modules that have to stay: what was needed, what was or is loaded, and all that these would bring.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    modules: BTreeSet<String>,
    /// Names that led to them and have to go on doing so: aliases and modules.
    names: BTreeSet<String>,
}

impl Kept {
    /// Finds them.
    #[must_use]
    pub fn new(needs: &Needs, config: &Config, index: &ModuleIndex, machine: &Machine) -> Self {
        let mut kept = Self::default();
        let asked = needs.asked().map(Text::field);
        let came = needs.modules().into_iter().map(str::to_owned);
        let present = needs.covered().present().iter().cloned();
        let loaded = machine.loaded.iter().flatten().map(|(name, _)| name.clone());
        for name in asked.chain(came).chain(present).chain(loaded) {
            kept.add(name, config, index);
        }
        kept
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

    /// Whether a module has to stay.
    #[must_use]
    pub fn has(&self, module: &str) -> bool {
        self.modules.contains(module)
    }

    /// Names that have to lead where they lead now.
    #[must_use]
    pub const fn names(&self) -> &BTreeSet<String> {
        &self.names
    }
}

/// Of the surface, what is open and can go, with the lines that keep each out.
#[must_use]
pub fn spare<'a>(
    entries: &'a [Entry],
    kept: &Kept,
    config: &Config,
    index: &ModuleIndex,
    machine: &Machine,
) -> Vec<(&'a Entry, Rules)> {
    let can_go = entries.iter().filter(|entry| entry.state == State::Open && !kept.has(&entry.module));
    let rules = can_go.filter_map(|entry| match plan(&Text::from(entry.module.as_str()), config, index, machine) {
        Plan::Block(target) => Some((entry, Rules::new(target))),
        Plan::BuiltIn { .. } | Plan::Nothing { .. } => None,
    });
    rules.collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::{Kept, spare};
    use crate::{
        chain::{Item, samples},
        event::{Baseline, Body, Event, Status},
        kernel::modules::State,
        modprobe::{Config, ModuleIndex},
        modules::{Machine, Needs, surface},
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

    fn spared(items: &[Item], loaded: &[&str]) -> Vec<String> {
        let config = Config::parse(CONFIG).unwrap();
        let index = ModuleIndex::parse(DEP, "", "");
        let loaded: HashMap<String, State> = loaded.iter().map(|name| ((*name).to_owned(), State::Live)).collect();
        let machine = Machine { loaded: Some(loaded), ..Machine::default() };
        let mut needs = Needs::default();
        items.iter().for_each(|item| needs.take(item, "lb1"));
        let entries = surface(&config, &index, &machine);
        let kept = Kept::new(&needs, &config, &index, &machine);
        let spare = spare(&entries, &kept, &config, &index, &machine);
        let mut names: Vec<String> = spare.into_iter().map(|(entry, _)| entry.module.clone()).collect();
        names.sort_unstable();
        names
    }

    /// Check that everything can go where nobody needed anything.
    #[test]
    fn all_can_go_where_nothing_is_needed() {
        assert_eq!(spared(&[], &[]), ["af_alg", "appletalk", "ax25", "can", "iptable_nat", "rds", "sctp", "tipc"]);
    }

    /// Check that what was asked for stays with what it needs, also when it was only found to be there; that what is
    /// loaded stays, what was loaded before the capture stays, and what these need.
    #[test]
    fn what_anything_rests_on_stays() {
        // iptable_nat was asked for, and here it needs can.
        let Item::Chain(mut found) = samples::outage() else { unreachable!("it is a chain") };
        found.modules.clear();
        found.result.as_mut().unwrap().status = Status::AlreadyLoaded;
        found.request.as_mut().unwrap().name = "net-pf-38".into();
        let body = Body::Baseline(Baseline { modules: vec!["appletalk".to_owned()] });
        let baseline = Event { seq: 0, time: "2026-03-01T00:00:00Z".parse().unwrap(), boot_ns: 0, request: None, body };
        let items = [samples::outage(), Item::Chain(found), Item::Event(Box::new(baseline))];
        assert_eq!(spared(&items, &["ax25"]), ["sctp", "tipc"]);
    }

    /// Check that a request in vain needs nothing.
    #[test]
    fn vain_requests_need_nothing() {
        let Item::Chain(mut vain) = samples::not_found() else { unreachable!("it is a chain") };
        vain.request.as_mut().unwrap().name = "net-pf-30".into();
        assert!(spared(&[Item::Chain(vain)], &[]).contains(&"tipc".to_owned()));
    }
}
