//! The summary at the end of a trace: requests, modules, losses.

use std::collections::BTreeMap;

use super::words::{stage, walk_cut};
use crate::text::{argument, ascii, count, escape_str, module as module_name};
use crate::{
    chain::{Cause, Chain, ChainKey, Item, Module},
    event::{Body, Reason, Status},
};

/// Maximum number of causes listed; a trace can run for months.
const CAUSES_LIMIT: usize = 20;

/// Maximum number of modules listed per cause.
const MODULES_LIMIT: usize = 100;

/// Counts of a trace.
#[derive(Debug, Default)]
pub struct Summary {
    requests: u64,
    loaders: u64,
    by_status: BTreeMap<&'static str, u64>,
    /// In order of their first module.
    causes: Vec<CauseModules>,
    /// Modules loaded by causes beyond the limit.
    others: u64,
    unloads: u64,
    losses: BTreeMap<String, u64>,
    /// Processes whose ancestry was not followed to its top.
    walk_cuts: u64,
    incomplete: u64,
    /// The first requested module that was loaded, preferably with a known effect, and whether it has one.
    suggested: Option<(String, bool)>,
}

/// The modules loaded by one cause.
#[derive(Debug)]
struct CauseModules {
    name: String,
    loaded: u64,
    /// The first modules.
    modules: Vec<String>,
}

impl Summary {
    /// Counts an item, including nested chains.
    pub fn add(&mut self, item: &Item) {
        match item {
            Item::Chain(chain) => self.chain(chain, &Cause::of(chain).name()),
            Item::Event(event) => match &event.body {
                Body::Loss(loss) if loss.is_walk_cut() => self.walk_cuts = self.walk_cuts.saturating_add(loss.count),
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

    /// Nested chains are attributed to the cause of their root.
    fn chain(&mut self, chain: &Chain, cause: &str) {
        match chain.key {
            ChainKey::Request(_) => {
                self.requests += 1;
                let status = chain.result.as_ref().map_or(Status::Unknown, |result| result.status);
                *self.by_status.entry(status.name()).or_default() += 1;
            }
            ChainKey::Loader(_) => self.loaders += 1,
        }
        self.suggest(chain);
        for module in chain.modules.iter().filter(|module| module.init.as_ref().is_none_or(|init| init.ret >= 0)) {
            self.loaded(cause, module_name(&module.load.module));
        }
        self.incomplete += u64::from(!chain.incomplete.is_empty());
        for nested in &chain.nested {
            self.chain(nested, cause);
        }
    }

    /// Remembers a requested module that was loaded, to suggest blocking it.
    fn suggest(&mut self, chain: &Chain) {
        let is_requested = |module: &&Module| matches!(module.load.reason, Some(Reason::Asked | Reason::Alias));
        let requested = chain.modules.iter().rev().find(is_requested).filter(|_| chain.request.is_some());
        let Some(requested) = requested else { return };
        let inits = chain.modules.iter().filter_map(|module| module.init.as_ref());
        let has_effect = inits.clone().any(|init| init.effect.is_some());
        let is_better = self.suggested.as_ref().is_none_or(|(_, had_effect)| has_effect && !had_effect);
        if is_better && inits.clone().all(|init| init.ret >= 0) {
            self.suggested = Some((ascii(&argument(&requested.load.module)).into_owned(), has_effect));
        }
    }

    fn loaded(&mut self, cause: &str, module: String) {
        if let Some(known) = self.causes.iter_mut().find(|known| known.name == cause) {
            known.loaded += 1;
            if known.modules.len() < MODULES_LIMIT {
                known.modules.push(module);
            }
        } else if self.causes.len() < CAUSES_LIMIT {
            self.causes.push(CauseModules { name: cause.to_owned(), loaded: 1, modules: vec![module] });
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
            first = format!("{first}, {} with explicit loads", count(self.loaders, "process", "processes"));
        }
        let mut lines = vec![first];
        for CauseModules { name, loaded, modules } in &self.causes {
            let loaded = count(*loaded, "module", "modules");
            let cut = if modules.len() == MODULES_LIMIT { " ..." } else { "" };
            lines.push(format!("{loaded} loaded by {name}: {}{cut}", modules.join(" ")));
        }
        if self.others > 0 {
            lines.push(format!("{} loaded by other causes", count(self.others, "module", "modules")));
        }
        if self.causes.is_empty() {
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
        if self.walk_cuts > 0 {
            lines.push(walk_cut(self.walk_cuts));
        }
        if self.incomplete > 0 {
            let verb = if self.incomplete == 1 { "is" } else { "are" };
            lines.push(format!("{} {verb} incomplete: see the notes", count(self.incomplete, "chain", "chains")));
        }
        if let Some((module, _)) = &self.suggested {
            lines.push(format!("to block {module}: kmodtrace block {module}"));
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

    /// A trace without events has no modules and no losses.
    #[test]
    fn summary_without_events_is_empty() {
        assert_eq!(lines(&[]), ["0 requests", "no module was loaded", "nothing was lost"]);
    }

    /// Modules of nested chains are attributed to their cause; modules whose init failed are not counted.
    #[test]
    fn summary_modules_are_attributed_to_their_cause() {
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
                "5 requests (3 loaded, 2 not-found), 1 process with explicit loads",
                "5 modules loaded by iptables(557): nf_defrag_ipv4 nf_conntrack iptable_nat x_tables ip_tables",
                "2 modules loaded by cryptsetup(700): dm_crypt aesni_intel",
                "1 module unloaded",
                "LOST 6 events: 6 ring_full in the kernel",
                "1 chain is incomplete: see the notes",
                "to block iptable_nat: kmodtrace block iptable_nat",
            ]
        );
    }

    /// The number of lines and of modules per line is limited.
    #[test]
    fn summary_of_many_modules_is_bounded() {
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
        assert_eq!(lines[21], "500 modules loaded by other causes");
    }
}
