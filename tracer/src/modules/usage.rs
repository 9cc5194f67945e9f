//! Which programs used a module, according to captures.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Serialize;

use super::coverage::Coverage;
use crate::{
    chain::{Cause, Chain, Item},
    event::{Status, Text},
    glob,
};

/// Maximum number of requesters kept: a capture may hold arbitrarily many. Further requests are counted.
const REQUESTERS_MAX: usize = 65_536;

/// A requester and what it requested.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Requester {
    program: Text,
    user: Text,
    unit: Text,
    /// The alias; empty for an explicit load.
    alias: Text,
}

#[derive(Clone, Debug, Default)]
struct Uses {
    count: u64,
    last: Option<Timestamp>,
    /// Modules that were loaded, or found loaded.
    modules: BTreeSet<String>,
    loaded: u64,
    /// Host numbers.
    hosts: BTreeSet<u32>,
}

/// Module usage in captures.
#[derive(Debug, Default)]
pub struct Usage {
    requesters: BTreeMap<Requester, Uses>,
    /// Modules that each alias loaded.
    alias_modules: BTreeMap<Text, BTreeSet<String>>,
    coverage: Coverage,
    dropped: u64,
    /// Host numbers by host name.
    hosts: BTreeMap<String, u32>,
    /// Names that were requested without success: known, but used by no process.
    unsuccessful: BTreeSet<Text>,
}

/// A program that used a module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ModuleUser {
    /// Path of the program, or its name if the path is unknown.
    pub program: String,
    /// Its user.
    pub user: String,
    /// Its systemd unit or container.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub unit: String,
    /// The requested alias; absent for an explicit load.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
    /// The module was loaded as a dependency of the requested one.
    pub as_dependency: bool,
    /// Number of requests.
    pub count: u64,
    /// Number of requests that loaded a module; the others found it loaded, or failed.
    pub loaded: u64,
    /// Number of hosts.
    pub hosts: u64,
    /// Time of the last request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<Timestamp>,
}

impl Usage {
    /// Adds an item of a capture from a host.
    pub fn push(&mut self, item: &Item, host: &str) {
        self.coverage.push(item);
        if let Item::Chain(chain) = item {
            let next = u32::try_from(self.hosts.len()).unwrap_or(u32::MAX);
            let host = match self.hosts.get(host) {
                Some(number) => *number,
                None => *self.hosts.entry(host.to_owned()).or_insert(next),
            };
            self.chain(chain, chain, host);
        }
    }

    /// Whether a capture contains a module or alias, used or not.
    #[must_use]
    pub fn mentions(&self, name: &str) -> bool {
        let wanted = normal(name.as_bytes());
        let is_wanted = |text: &[u8]| normal(text) == wanted;
        self.coverage.present().iter().any(|module| is_wanted(module.as_bytes()))
            || self.unsuccessful.iter().any(|alias| is_wanted(alias.as_bytes()))
            || self.requesters.iter().any(|(requester, uses)| {
                is_wanted(requester.alias.as_bytes()) || uses.modules.iter().any(|module| is_wanted(module.as_bytes()))
            })
    }

    /// Whether a module was loaded when a recording began: then the process that used it is unknown.
    #[must_use]
    pub fn was_present(&self, name: &str) -> bool {
        let wanted = normal(name.as_bytes());
        let is_present = |name: &str| {
            self.coverage.present().iter().any(|module| normal(module.as_bytes()) == normal(name.as_bytes()))
        };
        is_present(name)
            || self.alias_modules.iter().any(|(alias, modules)| {
                normal(alias.as_bytes()) == wanted && modules.iter().any(|module| is_present(module))
            })
    }

    /// Number of requests that were dropped because of too many requesters.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// All modules that were loaded for a requester, including dependencies.
    #[must_use]
    pub fn modules(&self) -> BTreeSet<&str> {
        self.requesters.values().flat_map(|uses| uses.modules.iter().map(String::as_str)).collect()
    }

    /// All aliases that were requested and loaded, or found loaded.
    pub fn requested_names(&self) -> impl Iterator<Item = &Text> {
        self.requesters.keys().map(|requester| &requester.alias).filter(|alias| !alias.is_empty())
    }

    /// What the captures cover.
    #[must_use]
    pub const fn coverage(&self) -> &Coverage {
        &self.coverage
    }

    /// Nested chains are attributed to the root's requester.
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
            self.alias_modules.entry(alias.clone()).or_default().extend(modules.iter().cloned());
        }
        // Unknown and blocked names are used by no process.
        if !modules.is_empty() || status == Status::AlreadyLoaded {
            let requester = requester(root, alias);
            if !self.requesters.contains_key(&requester) && self.requesters.len() >= REQUESTERS_MAX {
                self.dropped += 1;
            } else {
                let uses = self.requesters.entry(requester).or_default();
                uses.count += 1;
                uses.loaded += u64::from(!modules.is_empty());
                uses.last = uses.last.max(Some(link.time));
                uses.modules.extend(modules);
                uses.hosts.insert(host);
            }
        } else if !alias.is_empty() && self.unsuccessful.len() < REQUESTERS_MAX {
            self.unsuccessful.insert(alias);
        }
        for nested in &link.nested {
            self.chain(root, nested, host);
        }
    }

    /// The users of a module or alias, most requests first.
    #[must_use]
    pub fn users_of(&self, name: &str) -> Vec<ModuleUser> {
        let wanted = normal(name.as_bytes());
        let mut usage = Vec::new();
        for (requester, uses) in &self.requesters {
            let by_name = !requester.alias.is_empty() && normal(requester.alias.as_bytes()) == wanted;
            let came = uses.modules.iter().any(|module| module.as_bytes() == wanted);
            // The alias found it loaded, and loaded it elsewhere in the captures.
            let led = self
                .alias_modules
                .get(&requester.alias)
                .is_some_and(|modules| modules.iter().any(|module| module.as_bytes() == wanted));
            if !(by_name || came || led) {
                continue;
            }
            usage.push(ModuleUser {
                program: requester.program.field(),
                user: requester.user.field(),
                unit: requester.unit.field(),
                alias: (!requester.alias.is_empty()).then(|| requester.alias.field()),
                as_dependency: !by_name && uses.modules.len() > 1,
                count: uses.count,
                loaded: uses.loaded,
                hosts: uses.hosts.len() as u64,
                last: uses.last,
            });
        }
        usage.sort_by_key(|need| std::cmp::Reverse(need.count));
        usage
    }
}

/// A name normalized as in modprobe: `-` and `_` are equal.
fn normal(text: &[u8]) -> Vec<u8> {
    glob::normalize(text).unwrap_or_else(|| text.to_vec())
}

fn requester(root: &Chain, alias: Text) -> Requester {
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
    Requester {
        program,
        user: user.unwrap_or_else(|| Text::from("unknown")),
        unit: Text::from(unit.unwrap_or_default()),
        alias,
    }
}

#[cfg(test)]
mod tests {
    use super::Usage;
    use crate::{
        chain::{Item, samples},
        event::Status,
    };

    fn usage(items: &[Item]) -> Usage {
        let mut usage = Usage::default();
        items.iter().for_each(|item| usage.push(item, "lb1"));
        usage
    }

    /// A dependency is attributed to the requester, and an unsuccessful request is no use.
    #[test]
    fn module_is_used_by_the_requester_of_its_load() {
        let usage = usage(&[samples::outage(), samples::by_hand(), samples::not_found(), samples::outage()]);
        let conntrack = usage.users_of("nf-conntrack");
        assert_eq!(conntrack.len(), 1);
        let need = &conntrack[0];
        assert_eq!(
            (need.program.as_str(), need.user.as_str(), need.count),
            ("/usr/sbin/xtables-legacy-multi", "root", 2)
        );
        assert_eq!((need.alias.as_deref(), need.as_dependency), (Some("iptable_nat"), true));
        assert!(!usage.users_of("iptable_nat")[0].as_dependency);
        assert_eq!(usage.users_of("x_tables")[0].alias, None);
        assert!(usage.users_of("fs-nosuchfs").is_empty() && usage.users_of("vfat").is_empty());
        assert!(usage.modules().contains("nf_defrag_ipv4"));
    }

    /// A requester that found the module loaded is a user too, if its alias loaded it elsewhere; nested loads count,
    /// failed ones do not.
    #[test]
    fn module_found_loaded_is_used_by_its_requester() {
        let Item::Chain(mut chain) = samples::outage() else { unreachable!("it is a chain") };
        chain.modules.clear();
        chain.result.as_mut().unwrap().status = Status::AlreadyLoaded;
        chain.request.as_mut().unwrap().process.uid = 1000;
        chain.request.as_mut().unwrap().process.user = None;
        let usage = usage(&[samples::outage(), Item::Chain(chain), samples::nested()]);
        let users: Vec<String> = usage.users_of("nf_conntrack").into_iter().map(|need| need.user).collect();
        assert_eq!(users.len(), 2);
        assert!(users.contains(&"uid 1000".to_owned()));
        assert_eq!(usage.users_of("aesni_intel")[0].program, "/usr/sbin/cryptsetup");
        assert!(usage.users_of("dm_broken").is_empty(), "its init failed");
    }
}
