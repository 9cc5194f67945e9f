//! Who has needed a module, by what captures hold: so who would miss it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Serialize;

use super::covered::Covered;
use crate::{
    chain::{Cause, Chain, Item},
    event::{Status, Text},
    glob,
};

/// Askers that are kept; a capture may hold as many as an attacker makes up. What comes beyond is counted.
const ASKERS_MAX: usize = 65_536;

/// Hosts that are kept of all askers together.
const PLACES_MAX: usize = 1 << 20;

/// Who asked, and for what.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Asker {
    program: Text,
    user: Text,
    unit: Text,
    /// The alias; empty for a load by hand.
    alias: Text,
}

#[derive(Clone, Debug, Default)]
struct Asked {
    count: u64,
    last: Option<Timestamp>,
    /// Modules that came, or of which it was found that they are there.
    modules: BTreeSet<String>,
    loaded: u64,
    /// By number of a host, how often and when last.
    hosts: BTreeMap<u32, (u64, Timestamp)>,
}

/// What captures tell of needs.
#[derive(Debug, Default)]
pub struct Needs {
    askers: BTreeMap<Asker, Asked>,
    /// Modules that an alias led to.
    leads: BTreeMap<Text, BTreeSet<String>>,
    covered: Covered,
    forgotten: u64,
    /// Pairs of an asker and a host.
    places: usize,
    /// Numbers of hosts by name.
    hosts: BTreeMap<String, u32>,
    /// Names that were asked for without success: known, but needed by nothing.
    refused: BTreeSet<Text>,
}

/// Somebody who would miss a module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Need {
    /// The program: its path, or its name where that is all that is known.
    pub program: String,
    /// Its user.
    pub user: String,
    /// Its systemd unit or container.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub unit: String,
    /// What it asked for; absent for a load by hand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
    /// The module was not asked for, but needed by what was.
    pub as_dependency: bool,
    /// How often.
    pub count: u64,
    /// How often a module was loaded for it; else it was there already, or did not come.
    pub loaded: u64,
    /// On how many hosts.
    pub hosts: u64,
    /// When last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<Timestamp>,
}

/// A host on which a module would be missed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HostNeed {
    /// Its name.
    pub host: String,
    /// How often the module was asked for, or came with what was.
    pub count: u64,
    /// By how many programs, users and aliases.
    pub askers: u64,
    /// When last.
    pub last: Timestamp,
}

impl Needs {
    /// Takes what a capture of a host says.
    pub fn take(&mut self, item: &Item, host: &str) {
        self.covered.take(item);
        if let Item::Chain(chain) = item {
            let next = u32::try_from(self.hosts.len()).unwrap_or(u32::MAX);
            let host = match self.hosts.get(host) {
                Some(number) => *number,
                None => *self.hosts.entry(host.to_owned()).or_insert(next),
            };
            self.chain(chain, chain, host);
        }
    }

    /// Whether a capture mentions a module or alias, needed or not.
    #[must_use]
    pub fn mentions(&self, name: &str) -> bool {
        let wanted = normal(name.as_bytes());
        let is_wanted = |text: &[u8]| normal(text) == wanted;
        self.covered.present().iter().any(|module| is_wanted(module.as_bytes()))
            || self.refused.iter().any(|alias| is_wanted(alias.as_bytes()))
            || self.askers.iter().any(|(asker, asked)| {
                is_wanted(asker.alias.as_bytes()) || asked.modules.iter().any(|module| is_wanted(module.as_bytes()))
            })
    }

    /// Whether a module was loaded when a recording began: then the process that needed it is unknown.
    #[must_use]
    pub fn was_present(&self, name: &str) -> bool {
        let wanted = normal(name.as_bytes());
        let is_present = |name: &str| {
            self.covered.present().iter().any(|module| normal(module.as_bytes()) == normal(name.as_bytes()))
        };
        is_present(name)
            || self.leads.iter().any(|(alias, modules)| {
                normal(alias.as_bytes()) == wanted && modules.iter().any(|module| is_present(module))
            })
    }

    /// Askers that found no place.
    #[must_use]
    pub const fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Every module that ever came for somebody, what it needs included.
    #[must_use]
    pub fn modules(&self) -> BTreeSet<&str> {
        self.askers.values().flat_map(|asked| asked.modules.iter().map(String::as_str)).collect()
    }

    /// What was ever asked for and was found or there already.
    pub fn asked(&self) -> impl Iterator<Item = &Text> {
        self.askers.keys().map(|asker| &asker.alias).filter(|alias| !alias.is_empty())
    }

    /// What the captures cover.
    #[must_use]
    pub const fn covered(&self) -> &Covered {
        &self.covered
    }

    /// Who is behind what is nested is who is behind its root.
    fn chain(&mut self, root: &Chain, link: &Chain, host: u32) {
        let status = link.result.as_ref().map_or(Status::Unknown, |result| result.status);
        let modules: BTreeSet<String> = link
            .modules
            .iter()
            .filter(|module| module.init.as_ref().is_none_or(|init| init.ret >= 0))
            .map(|module| module.load.module.field())
            .collect();
        let alias = link.request.as_ref().map_or_else(|| Text::from(""), |request| request.name.clone());
        if !modules.is_empty() && !alias.is_empty() {
            self.leads.entry(alias.clone()).or_default().extend(modules.iter().cloned());
        }
        // What nobody provides, and what was forbidden, is missed by nobody.
        if !modules.is_empty() || status == Status::AlreadyLoaded {
            let asker = asker(root, alias);
            if !self.askers.contains_key(&asker) && self.askers.len() >= ASKERS_MAX {
                self.forgotten += 1;
            } else {
                let asked = self.askers.entry(asker).or_default();
                asked.count += 1;
                asked.loaded += u64::from(!modules.is_empty());
                asked.last = asked.last.max(Some(link.time));
                asked.modules.extend(modules);
                // With too many places, askers of later hosts are told without them.
                if let Some((count, last)) = asked.hosts.get_mut(&host) {
                    *count += 1;
                    *last = (*last).max(link.time);
                } else if self.places < PLACES_MAX {
                    self.places += 1;
                    asked.hosts.insert(host, (1, link.time));
                } else {
                    self.forgotten += 1;
                }
            }
        } else if !alias.is_empty() && self.refused.len() < ASKERS_MAX {
            self.refused.insert(alias);
        }
        for nested in &link.nested {
            self.chain(root, nested, host);
        }
    }

    /// Who asked for a module or alias, or for what needs it; the last is whether it was asked for by this name.
    fn askers(&self, name: &str) -> impl Iterator<Item = (&Asker, &Asked, bool)> {
        let wanted = normal(name.as_bytes());
        self.askers.iter().filter_map(move |(asker, asked)| {
            let by_name = !asker.alias.is_empty() && normal(asker.alias.as_bytes()) == wanted;
            let has = |modules: &BTreeSet<String>| modules.iter().any(|module| module.as_bytes() == wanted);
            // It came; or was found there, asked for by an alias that led to it elsewhere in the captures.
            let is_asker = by_name || has(&asked.modules) || self.leads.get(&asker.alias).is_some_and(has);
            is_asker.then_some((asker, asked, by_name))
        })
    }

    /// On which hosts a module or alias would be missed, where it was asked for most often first.
    #[must_use]
    pub fn by_host(&self, name: &str) -> Vec<HostNeed> {
        let mut found: BTreeMap<u32, (u64, u64, Timestamp)> = BTreeMap::new();
        for (_, asked, _) in self.askers(name) {
            for (host, (count, last)) in &asked.hosts {
                let (counts, askers, latest) = found.entry(*host).or_insert((0, 0, *last));
                (*counts, *askers, *latest) = (*counts + count, *askers + 1, (*latest).max(*last));
            }
        }
        let mut needs: Vec<HostNeed> = self
            .hosts
            .iter()
            .filter_map(|(host, number)| {
                let (count, askers, last) = *found.get(number)?;
                Some(HostNeed { host: host.clone(), count, askers, last })
            })
            .collect();
        needs.sort_by_key(|need| std::cmp::Reverse(need.count));
        needs
    }

    /// Who would miss a module or alias, who asked most often first.
    #[must_use]
    pub fn of(&self, name: &str) -> Vec<Need> {
        let mut needs = Vec::new();
        for (asker, asked, by_name) in self.askers(name) {
            needs.push(Need {
                program: asker.program.field(),
                user: asker.user.field(),
                unit: asker.unit.field(),
                alias: (!asker.alias.is_empty()).then(|| asker.alias.field()),
                as_dependency: !by_name && asked.modules.len() > 1,
                count: asked.count,
                loaded: asked.loaded,
                hosts: asked.hosts.len() as u64,
                last: asked.last,
            });
        }
        needs.sort_by_key(|need| std::cmp::Reverse(need.count));
        needs
    }
}

/// A name as modprobe compares it: `-` and `_` are the same.
fn normal(text: &[u8]) -> Vec<u8> {
    glob::normalize(text).unwrap_or_else(|| text.to_vec())
}

fn asker(root: &Chain, alias: Text) -> Asker {
    let process = root
        .request
        .as_ref()
        .map(|request| &request.process)
        .or_else(|| root.modules.first().map(|module| &module.load.process));
    let program = match Cause::of(root) {
        Cause::Process(process) => process.exe.clone().unwrap_or_else(|| process.comm.clone()),
        Cause::Ran { by, .. } => by.exe.clone().unwrap_or_else(|| by.comm.clone()),
        Cause::Through { behalf, .. } => behalf.comm.clone(),
        Cause::Kernel(process) => process.comm.clone(),
        Cause::Unseen => Text::from("unknown"),
    };
    let user =
        process.map(|process| process.user.clone().unwrap_or_else(|| Text::from(format!("uid {}", process.uid))));
    let unit = process.and_then(|process| process.container.clone().or_else(|| process.unit.clone()));
    Asker {
        program,
        user: user.unwrap_or_else(|| Text::from("unknown")),
        unit: Text::from(unit.unwrap_or_default()),
        alias,
    }
}

#[cfg(test)]
mod tests {
    use super::Needs;
    use crate::{
        chain::{Item, samples},
        event::Status,
    };

    fn needs(items: &[Item]) -> Needs {
        let mut needs = Needs::default();
        items.iter().for_each(|item| needs.take(item, "lb1"));
        needs
    }

    /// Check that a dependency is laid at the door of who asked, and that what found nothing is missed by nobody.
    #[test]
    fn who_would_miss_a_module() {
        let needs = needs(&[samples::outage(), samples::by_hand(), samples::not_found(), samples::outage()]);
        let conntrack = needs.of("nf-conntrack");
        assert_eq!(conntrack.len(), 1);
        let need = &conntrack[0];
        assert_eq!(
            (need.program.as_str(), need.user.as_str(), need.count),
            ("/usr/sbin/xtables-legacy-multi", "root", 2)
        );
        assert_eq!((need.alias.as_deref(), need.as_dependency), (Some("iptable_nat"), true));
        assert!(!needs.of("iptable_nat")[0].as_dependency);
        assert_eq!(needs.of("x_tables")[0].alias, None);
        assert!(needs.of("fs-nosuchfs").is_empty() && needs.of("vfat").is_empty());
        assert!(needs.modules().contains("nf_defrag_ipv4"));
    }

    /// Check that a module is laid at the door of the hosts that needed it, and of no other.
    #[test]
    fn hosts_that_would_miss_a_module() {
        let mut needs = Needs::default();
        for (item, host) in [
            (samples::outage(), "b"),
            (samples::outage(), "a"),
            (samples::outage(), "b"),
            (samples::by_hand(), "b"),
            (samples::not_found(), "c"),
        ] {
            needs.take(&item, host);
        }
        let hosts = |name: &str| -> Vec<(String, u64, u64)> {
            needs.by_host(name).into_iter().map(|need| (need.host, need.count, need.askers)).collect()
        };
        assert_eq!(hosts("nf_conntrack"), [("b".to_owned(), 2, 1), ("a".to_owned(), 1, 1)]);
        assert!(hosts("fs-nosuchfs").is_empty());
        assert_eq!(needs.of("nf_conntrack")[0].hosts, 2);
    }

    /// Check that who found it there already is told too, by what its alias led to elsewhere; and what is nested, and
    /// what failed.
    #[test]
    fn who_found_it_there_needs_it_too() {
        let Item::Chain(mut chain) = samples::outage() else { unreachable!("it is a chain") };
        chain.modules.clear();
        chain.result.as_mut().unwrap().status = Status::AlreadyLoaded;
        chain.request.as_mut().unwrap().process.uid = 1000;
        chain.request.as_mut().unwrap().process.user = None;
        let needs = needs(&[samples::outage(), Item::Chain(chain), samples::nested()]);
        let users: Vec<String> = needs.of("nf_conntrack").into_iter().map(|need| need.user).collect();
        assert_eq!(users.len(), 2);
        assert!(users.contains(&"uid 1000".to_owned()));
        assert_eq!(needs.of("aesni_intel")[0].program, "/usr/sbin/cryptsetup");
        assert!(needs.of("dm_broken").is_empty(), "its init failed");
    }
}
