//! The last words of a session: what was seen, and whether anything was lost.

use std::collections::BTreeMap;

use super::words::stage;
use crate::text::{argument, ascii, count, escape_str, module as module_name};
use crate::{
    chain::{Cause, Chain, ChainKey, Item, Module},
    event::{Body, Reason, Status},
};

/// Culprits whose modules are named; a session may last for months.
const CULPRITS_LIMIT: usize = 20;

/// Modules that are named for each.
const MODULES_LIMIT: usize = 100;

/// Counts of a session.
#[derive(Debug, Default)]
pub struct Summary {
    requests: u64,
    loaders: u64,
    by_status: BTreeMap<&'static str, u64>,
    /// In order of their first module.
    culprits: Vec<Culprit>,
    /// Modules loaded by culprits beyond the limit.
    others: u64,
    unloads: u64,
    losses: BTreeMap<String, u64>,
    incomplete: u64,
    /// A module that was asked for and came, and whether something with a known effect came with it: the first such.
    came: Option<(String, bool)>,
}

/// Who loaded modules, and which.
#[derive(Debug)]
struct Culprit {
    name: String,
    loaded: u64,
    /// The first of them.
    modules: Vec<String>,
}

impl Summary {
    /// Counts an item, and all that is nested in it.
    pub fn add(&mut self, item: &Item) {
        match item {
            Item::Chain(chain) => self.chain(chain, &Cause::of(chain).name()),
            Item::Event(event) => match &event.body {
                Body::Loss(loss) => {
                    let cause = format!("{} {}", escape_str(&loss.cause), stage(loss.stage));
                    let lost = self.losses.entry(cause).or_default();
                    *lost = lost.saturating_add(loss.count);
                }
                Body::Unload(unload) if !unload.init_failed => self.unloads += 1,
                _ => {}
            },
        }
    }

    /// What is nested has the cause of what it is nested in.
    fn chain(&mut self, chain: &Chain, culprit: &str) {
        match chain.key {
            ChainKey::Request(_) => {
                self.requests += 1;
                let status = chain.result.as_ref().map_or(Status::Unknown, |result| result.status);
                *self.by_status.entry(status.name()).or_default() += 1;
            }
            ChainKey::Loader(_) => self.loaders += 1,
        }
        self.came_for(chain);
        for module in chain.modules.iter().filter(|module| module.init.as_ref().is_none_or(|init| init.ret >= 0)) {
            self.loaded(culprit, module_name(&module.load.module));
        }
        self.incomplete += u64::from(!chain.incomplete.is_empty());
        for nested in &chain.nested {
            self.chain(nested, culprit);
        }
    }

    /// Notes what a request was for, when it came.
    fn came_for(&mut self, chain: &Chain) {
        let is_meant = |module: &&Module| matches!(module.load.reason, Some(Reason::Asked | Reason::Alias));
        let meant = chain.modules.iter().rev().find(is_meant).filter(|_| chain.request.is_some());
        let Some(meant) = meant else { return };
        let inits = chain.modules.iter().filter_map(|module| module.init.as_ref());
        let has_effect = inits.clone().any(|init| init.effect.is_some());
        let is_better = self.came.as_ref().is_none_or(|(_, had_effect)| has_effect && !had_effect);
        if is_better && inits.clone().all(|init| init.ret >= 0) {
            self.came = Some((ascii(&argument(&meant.load.module)).into_owned(), has_effect));
        }
    }

    fn loaded(&mut self, culprit: &str, module: String) {
        if let Some(known) = self.culprits.iter_mut().find(|known| known.name == culprit) {
            known.loaded += 1;
            if known.modules.len() < MODULES_LIMIT {
                known.modules.push(module);
            }
        } else if self.culprits.len() < CULPRITS_LIMIT {
            self.culprits.push(Culprit { name: culprit.to_owned(), loaded: 1, modules: vec![module] });
        } else {
            self.others += 1;
        }
    }

    /// The summary, a few lines.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let statuses: Vec<String> = self.by_status.iter().map(|(status, count)| format!("{count} {status}")).collect();
        let mut first = count(self.requests, "request", "requests");
        if !statuses.is_empty() {
            first = format!("{first} ({})", statuses.join(", "));
        }
        if self.loaders > 0 {
            let loaders = count(self.loaders, "process", "processes");
            let own = if self.loaders == 1 { "itself" } else { "themselves" };
            first = format!("{first}, {loaders} that loaded modules by {own}");
        }
        let mut lines = vec![first];
        for Culprit { name, loaded, modules } in &self.culprits {
            let loaded = count(*loaded, "module", "modules");
            let cut = if modules.len() == MODULES_LIMIT { " ..." } else { "" };
            lines.push(format!("{loaded} loaded by {name}: {}{cut}", modules.join(" ")));
        }
        if self.others > 0 {
            lines.push(format!("{} loaded by others", count(self.others, "module", "modules")));
        }
        if self.culprits.is_empty() {
            lines.push("no module was loaded".to_owned());
        }
        if self.unloads > 0 {
            lines.push(format!("{} unloaded", count(self.unloads, "module", "modules")));
        }
        let lost = self.losses.values().fold(0_u64, |sum, count| sum.saturating_add(*count));
        lines.push(if lost == 0 {
            "nothing was lost".to_owned()
        } else {
            let causes: Vec<String> = self.losses.iter().map(|(cause, count)| format!("{count} {cause}")).collect();
            format!("LOST {}: {}", count(lost, "event", "events"), causes.join(", "))
        });
        if self.incomplete > 0 {
            let verb = if self.incomplete == 1 { "is" } else { "are" };
            lines.push(format!("{} {verb} incomplete: see the notes", count(self.incomplete, "chain", "chains")));
        }
        if let Some((module, _)) = &self.came {
            lines.push(format!("to keep {module} out: kmodtrace block {module}"));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::Summary;
    use crate::{chain::Item, chain::samples};

    fn lines(items: &[Item]) -> Vec<String> {
        let mut summary = Summary::default();
        items.iter().for_each(|item| summary.add(item));
        summary.lines()
    }

    /// Check that a quiet session says so, and that nothing was lost.
    #[test]
    fn a_quiet_session() {
        assert_eq!(lines(&[]), ["0 requests", "no module was loaded", "nothing was lost"]);
    }

    /// Check that each module is laid at the door of the one who is behind it, nested ones included, and that
    /// one that failed its init is not.
    #[test]
    fn culprits_and_losses_are_named() {
        let items = [
            samples::outage(),
            samples::by_hand(),
            samples::nested(),
            samples::not_found(),
            samples::unload(),
            samples::loss(),
            samples::loss(),
        ];
        assert_eq!(
            lines(&items),
            [
                "5 requests (3 loaded, 2 not-found), 1 process that loaded modules by itself",
                "5 modules loaded by iptables(557): nf_defrag_ipv4 nf_conntrack iptable_nat x_tables ip_tables",
                "2 modules loaded by cryptsetup(700): dm_crypt aesni_intel",
                "1 module unloaded",
                "LOST 6 events: 6 ring_full in the kernel",
                "1 chain is incomplete: see the notes",
                "to keep iptable_nat out: kmodtrace block iptable_nat",
            ]
        );
    }

    /// Check that a session of months is told in a few lines.
    #[test]
    fn the_lines_are_few() {
        let mut summary = Summary::default();
        for number in 0..1000 {
            summary.loaded(&format!("a({})", number % 40), format!("module{number}"));
        }
        for number in 0..1000 {
            summary.loaded("a(0)", format!("module{number}"));
        }
        let lines = summary.lines();
        assert_eq!(lines.len(), 1 + 20 + 1 + 1);
        assert!(lines[1].starts_with("1025 modules loaded by a(0): ") && lines[1].ends_with(" ..."), "{}", lines[1]);
        assert_eq!(lines[21], "500 modules loaded by others");
    }
}
