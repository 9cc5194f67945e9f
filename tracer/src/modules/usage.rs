//! Which programs used a module, according to captures.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Serialize;

use super::coverage::Coverage;
use crate::{
    chain::{Cause, Chain, Item},
    event::{Reason, Status, Text},
    glob,
};

/// Maximum number of requesters kept: a capture may hold arbitrarily many. Further requests are counted.
const REQUESTERS_MAX: usize = 65_536;

/// Maximum number of pairs of a requester and a host.
const REQUESTER_HOSTS_MAX: usize = 1 << 20;

/// A requester and what it requested.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Requester {
    program: Text,
    user: Text,
    unit: Text,
    /// The alias; empty for an explicit load.
    alias: Text,
    /// The module of an explicit load: a program that loads several modules has used each of them.
    module: Option<Text>,
}

#[derive(Clone, Debug, Default)]
struct Uses {
    count: u64,
    last: Option<Timestamp>,
    /// Modules that were loaded, or found loaded.
    modules: BTreeSet<String>,
    loaded: u64,
    /// A module was loaded as a dependency in an explicit load.
    is_dependency: bool,
    /// Number of requests and time of the last one, by host number.
    hosts: BTreeMap<u32, (u64, Timestamp)>,
}

/// One request or explicit load.
struct Use {
    modules: BTreeSet<String>,
    is_dependency: bool,
    time: Timestamp,
    host: u32,
}

/// Module usage in captures.
#[derive(Debug, Default)]
pub struct Usage {
    requesters: BTreeMap<Requester, Uses>,
    /// Modules that each alias loaded.
    alias_modules: BTreeMap<Text, BTreeSet<String>>,
    coverage: Coverage,
    dropped: u64,
    /// Number of pairs of a requester and a host.
    requester_hosts: usize,
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

/// A host on which a module was used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct HostUsage {
    /// Host name.
    pub host: String,
    /// Number of requests for the module, or for a module that needs it.
    pub count: u64,
    /// Number of programs, users and aliases that requested it.
    pub requesters: u64,
    /// Time of the last request.
    pub last: Timestamp,
}

impl Usage {
    /// Adds an item of a recording from a host; each recording has its own number.
    pub fn push(&mut self, item: &Item, host: &str, recording: usize) {
        self.coverage.push(item, host, recording);
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
        if link.request.is_none() {
            for module in link.modules.iter().filter(|module| module.init.as_ref().is_none_or(|init| init.ret >= 0)) {
                let name = module.load.module.clone();
                let key = Requester { module: Some(name), ..requester(root, Text::from("")) };
                let is_dependency = matches!(module.load.reason, Some(Reason::Dependency | Reason::Softdep));
                let modules = BTreeSet::from([module.load.module.field()]);
                self.add(key, &Use { modules, is_dependency, time: link.time, host });
            }
        } else if !modules.is_empty() || status == Status::AlreadyLoaded {
            self.add(requester(root, alias), &Use { modules, is_dependency: false, time: link.time, host });
        } else if !alias.is_empty() && self.unsuccessful.len() < REQUESTERS_MAX {
            self.unsuccessful.insert(alias);
        }
        for nested in &link.nested {
            self.chain(root, nested, host);
        }
    }

    fn add(&mut self, requester: Requester, request: &Use) {
        if !self.requesters.contains_key(&requester) && self.requesters.len() >= REQUESTERS_MAX {
            self.dropped += 1;
            return;
        }
        let uses = self.requesters.entry(requester).or_default();
        uses.count += 1;
        uses.loaded += u64::from(!request.modules.is_empty());
        uses.last = uses.last.max(Some(request.time));
        uses.modules.extend(request.modules.iter().cloned());
        uses.is_dependency |= request.is_dependency;
        if let Some((count, last)) = uses.hosts.get_mut(&request.host) {
            *count += 1;
            *last = (*last).max(request.time);
        } else if self.requester_hosts < REQUESTER_HOSTS_MAX {
            self.requester_hosts += 1;
            uses.hosts.insert(request.host, (1, request.time));
        } else {
            // The use is counted, but not for its host.
            self.dropped += 1;
        }
    }

    /// The requesters of a module or alias, or of a module that needs it; true if it was requested by this name.
    fn requesters_of(&self, name: &str) -> impl Iterator<Item = (&Requester, &Uses, bool)> {
        let wanted = normal(name.as_bytes());
        self.requesters.iter().filter_map(move |(requester, uses)| {
            let by_name = !requester.alias.is_empty() && normal(requester.alias.as_bytes()) == wanted;
            let has = |modules: &BTreeSet<String>| modules.iter().any(|module| module.as_bytes() == wanted);
            // The alias may have found it loaded, and loaded it elsewhere in the captures.
            let is_user = by_name || has(&uses.modules) || self.alias_modules.get(&requester.alias).is_some_and(has);
            is_user.then_some((requester, uses, by_name))
        })
    }

    /// The hosts on which a module or alias was used, most requests first.
    #[must_use]
    pub fn by_host(&self, name: &str) -> Vec<HostUsage> {
        let mut found: BTreeMap<u32, (u64, u64, Timestamp)> = BTreeMap::new();
        for (_, uses, _) in self.requesters_of(name) {
            for (host, (count, last)) in &uses.hosts {
                let (counts, requesters, latest) = found.entry(*host).or_insert((0, 0, *last));
                (*counts, *requesters, *latest) = (*counts + count, *requesters + 1, (*latest).max(*last));
            }
        }
        let hosts = self.hosts.iter().filter_map(|(host, number)| {
            let (count, requesters, last) = *found.get(number)?;
            Some(HostUsage { host: host.clone(), count, requesters, last })
        });
        let mut hosts: Vec<HostUsage> = hosts.collect();
        hosts.sort_by_key(|usage| std::cmp::Reverse(usage.count));
        hosts
    }

    /// The users of a module or alias, most requests first.
    #[must_use]
    pub fn users_of(&self, name: &str) -> Vec<ModuleUser> {
        let mut usage = Vec::new();
        for (requester, uses, by_name) in self.requesters_of(name) {
            usage.push(ModuleUser {
                program: requester.program.field(),
                user: requester.user.field(),
                unit: requester.unit.field(),
                alias: (!requester.alias.is_empty()).then(|| requester.alias.field()),
                as_dependency: uses.is_dependency || (!by_name && uses.modules.len() > 1),
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
        Cause::Kernel(process) | Cause::Undetermined { process, .. } => process.comm.clone(),
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
        module: None,
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
        items.iter().for_each(|item| usage.push(item, "lb1", 0));
        usage
    }

    /// A module is counted for the hosts that used it, and for no other.
    #[test]
    fn usage_by_host_names_only_its_hosts() {
        let mut usage = Usage::default();
        for (item, host) in [
            (samples::outage(), "b"),
            (samples::outage(), "a"),
            (samples::outage(), "b"),
            (samples::by_hand(), "b"),
            (samples::not_found(), "c"),
        ] {
            usage.push(&item, host, 0);
        }
        let hosts = |name: &str| -> Vec<(String, u64, u64)> {
            usage.by_host(name).into_iter().map(|usage| (usage.host, usage.count, usage.requesters)).collect()
        };
        assert_eq!(hosts("nf_conntrack"), [("b".to_owned(), 2, 1), ("a".to_owned(), 1, 1)]);
        assert!(hosts("fs-nosuchfs").is_empty());
        assert_eq!(usage.users_of("nf_conntrack")[0].hosts, 2);
    }

    /// A program that loads several modules explicitly is counted for each of them once, on the host of the load.
    #[test]
    fn explicit_loads_are_counted_by_module() {
        let load = |module: &str| {
            let Item::Chain(mut chain) = samples::by_hand() else { unreachable!("it is a chain") };
            chain.modules.truncate(1);
            chain.modules[0].load.module = module.into();
            Item::Chain(chain)
        };
        let mut usage = Usage::default();
        for (module, host) in [("xfs", "a"), ("tipc", "b"), ("xfs", "a"), ("tipc", "b"), ("tipc", "b")] {
            usage.push(&load(module), host, 0);
        }
        assert_eq!(usage.users_of("tipc").iter().map(|user| (user.count, user.hosts)).collect::<Vec<_>>(), [(3, 1)]);
        let hosts: Vec<_> = usage.by_host("tipc").into_iter().map(|usage| (usage.host, usage.count)).collect();
        assert_eq!(hosts, [("b".to_owned(), 3)]);
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
