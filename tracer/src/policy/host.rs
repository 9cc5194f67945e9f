//! The observations of each host and boot: events on one host do not meet an expectation of another.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use jiff::civil::Date;

use super::{
    expect::{self, Kernel, Lookup},
    rule::Rule,
    verdict::{Finding, State},
};
use crate::stream::StreamInfo;

/// Maximum number of hosts named in a verdict.
const HOSTS_NAMED: usize = 10;

/// A host in one boot. Streams of the same host and boot are judged together.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct HostBoot {
    /// The host name.
    pub(super) host: String,
    /// The boot id.
    pub(super) boot_id: String,
}

/// The observations of a host in one boot that expectations need.
#[derive(Debug, Default)]
struct Host {
    /// Modules that were loaded before.
    baseline: BTreeSet<Arc<str>>,
    last_day: Option<Date>,
    /// Rules whose expectation was met, by number.
    met: HashSet<usize>,
    /// For each rule, by number, the last subject that matched without meeting its expectation.
    near_misses: HashMap<usize, Box<Finding>>,
}

/// All hosts and boots.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    hosts: BTreeMap<HostBoot, Host>,
    /// The host and boot of the current stream, with its observations once there are some.
    present: (HostBoot, Option<Host>),
    /// Interned module names: the hosts of a fleet have mostly the same.
    names: HashSet<Arc<str>>,
    /// Whether there are expectations: otherwise, nothing is kept.
    is_needed: bool,
}

impl Hosts {
    /// Creates the table, for a policy with or without expectations.
    pub(super) fn new(is_needed: bool) -> Self {
        Self { is_needed, ..Self::default() }
    }

    /// Switches to a stream.
    pub(super) fn select(&mut self, stream: &StreamInfo) {
        let (present, _) = &self.present;
        if self.is_needed && (present.host != stream.host() || present.boot_id != stream.boot_id()) {
            self.turn_to(HostBoot { host: stream.host().to_owned(), boot_id: stream.boot_id().to_owned() });
        }
    }

    /// Stores the current host and switches to another.
    fn turn_to(&mut self, id: HostBoot) {
        if let (id, Some(host)) = std::mem::replace(&mut self.present, (id, None)) {
            self.hosts.insert(id, host);
        }
    }

    fn host(&mut self) -> Option<&mut Host> {
        if !self.is_needed {
            return None;
        }
        let Self { hosts, present: (id, host), .. } = self;
        Some(host.get_or_insert_with(|| hosts.remove(id).unwrap_or_default()))
    }

    /// Notes the day of an event.
    pub(super) fn day(&mut self, day: Date) {
        if let Some(host) = self.host() {
            host.last_day = Some(day);
        }
    }

    /// Notes modules that were loaded before.
    pub(super) fn baseline(&mut self, modules: &[String]) {
        if !self.is_needed {
            return;
        }
        let mut names = Vec::with_capacity(modules.len());
        for module in modules {
            if !self.names.contains(module.as_str()) {
                self.names.insert(Arc::from(module.as_str()));
            }
            names.extend(self.names.get(module.as_str()).cloned());
        }
        if let Some(host) = self.host() {
            host.baseline.extend(names);
        }
    }

    /// Notes that the expectation of a rule was met.
    pub(super) fn met(&mut self, rule: usize) {
        if let Some(host) = self.host() {
            host.met.insert(rule);
            host.near_misses.remove(&rule);
        }
    }

    /// Notes a subject that matched a rule without meeting its expectation.
    pub(super) fn near_miss(&mut self, rule: usize, finding: impl FnOnce() -> Finding) {
        if let Some(host) = self.host().filter(|host| !host.met.contains(&rule)) {
            host.near_misses.insert(rule, Box::new(finding()));
        }
    }

    /// Ends the last stream.
    pub(super) fn finish(&mut self) {
        self.turn_to(HostBoot::default());
    }

    /// The state of an expectation on all hosts together, after [`Hosts::finish`].
    pub(super) fn state(&self, number: usize, rule: &Rule, kernel: &dyn Kernel) -> State {
        let nothing = (HostBoot::default(), Host::default());
        let hosts: Vec<(&HostBoot, &Host)> =
            if self.hosts.is_empty() { vec![(&nothing.0, &nothing.1)] } else { self.hosts.iter().collect() };
        let mut unmet = Reasons::default();
        let mut open = Reasons::default();
        let mut skipped = None;
        let (mut is_held, mut is_expired) = (false, false);
        for (id, host) in &hosts {
            if host.met.contains(&number) {
                is_held = true;
                continue;
            }
            let near_miss = host.near_misses.get(&number).map(Box::as_ref);
            if near_miss.is_none() && host.last_day.is_some_and(|day| !rule.is_in_force(day)) {
                is_expired = true;
                continue;
            }
            match expect::unmet(rule, near_miss, &host.baseline, kernel) {
                State::Unmet { why } => unmet.add(id, why),
                State::Undetermined { why } => open.add(id, why),
                state => skipped = skipped.or(Some(state)),
            }
        }
        if !unmet.hosts.is_empty() {
            State::Unmet { why: unmet.words(&hosts) }
        } else if !open.hosts.is_empty() {
            State::Undetermined { why: open.words(&hosts) }
        } else if is_held {
            State::Held
        } else if let Some(skipped) = skipped {
            skipped
        } else if is_expired {
            State::Expired
        } else {
            State::Held
        }
    }
}

/// Reasons by host.
#[derive(Default)]
struct Reasons<'a> {
    hosts: Vec<(&'a HostBoot, String)>,
    more: usize,
}

impl<'a> Reasons<'a> {
    fn add(&mut self, id: &'a HostBoot, why: String) {
        if self.hosts.len() < HOSTS_NAMED {
            self.hosts.push((id, why));
        } else {
            self.more += 1;
        }
    }

    /// A description; each reason names its host if there are several. Names are in debug form, which escapes all bytes.
    fn words(self, all: &[(&HostBoot, &Host)]) -> String {
        if all.len() == 1 {
            return self.hosts.into_iter().map(|(_, why)| why).collect();
        }
        let has_other_boot = |id: &HostBoot| all.iter().any(|(other, _)| other.host == id.host && *other != id);
        let one = |(id, why): (&HostBoot, String)| {
            let boot = if has_other_boot(id) { format!(", boot {:?}", id.boot_id) } else { String::new() };
            format!("on host {:?}{boot}: {why}", id.host)
        };
        let mut words: Vec<String> = self.hosts.into_iter().map(one).collect();
        if self.more > 0 {
            words.push(format!("and on {} more", self.more));
        }
        words.join("; ")
    }
}

/// Caches the answers of a kernel, so that each name is looked up once for all hosts.
pub(super) struct CachedKernel<'a> {
    kernel: &'a dyn Kernel,
    answers: RefCell<HashMap<String, Lookup>>,
}

impl<'a> CachedKernel<'a> {
    /// Creates a cache for a kernel.
    pub(super) fn new(kernel: &'a dyn Kernel) -> Self {
        Self { kernel, answers: RefCell::default() }
    }
}

impl Kernel for CachedKernel<'_> {
    fn look_up(&self, name: &str) -> Lookup {
        if let Some(answer) = self.answers.borrow().get(name) {
            return answer.clone();
        }
        let answer = self.kernel.look_up(name);
        self.answers.borrow_mut().insert(name.to_owned(), answer.clone());
        answer
    }
}
