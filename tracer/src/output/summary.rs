//! The last words of a session: what was seen, and whether anything was lost.

use std::collections::BTreeMap;

use super::escape::escape;
use crate::{
    chain::{Chain, Item},
    event::{Body, LossStage, Status},
};

/// Counts of a session.
#[derive(Debug, Default)]
pub struct Summary {
    requests: u64,
    loaders: u64,
    by_status: BTreeMap<&'static str, u64>,
    modules: Vec<String>,
    unloads: u64,
    losses: BTreeMap<String, u64>,
    incomplete: u64,
}

impl Summary {
    /// Counts an item, and all that is nested in it.
    pub fn add(&mut self, item: &Item) {
        match item {
            Item::Chain(chain) => self.chain(chain),
            Item::Event(event) => match &event.body {
                Body::Loss(loss) => {
                    let stage = match loss.stage {
                        LossStage::Probe => "in the kernel",
                        LossStage::Missed => "not run by the kernel",
                        LossStage::Decode => "not understood",
                    };
                    *self.losses.entry(format!("{} {stage}", loss.cause)).or_default() += loss.count;
                }
                Body::Unload(unload) if !unload.init_failed => self.unloads += 1,
                _ => {}
            },
        }
    }

    fn chain(&mut self, chain: &Chain) {
        if chain.request.is_some() || matches!(chain.key, crate::chain::ChainKey::Request(_)) {
            self.requests += 1;
            let status = chain.result.as_ref().map_or(Status::Unknown, |result| result.status);
            *self.by_status.entry(status.name()).or_default() += 1;
        } else {
            self.loaders += 1;
        }
        let stayed = chain.modules.iter().filter(|module| module.init.as_ref().is_none_or(|init| init.ret >= 0));
        self.modules.extend(stayed.map(|module| escape(&module.load.module)));
        self.incomplete += u64::from(!chain.incomplete.is_empty());
        for nested in &chain.nested {
            self.chain(nested);
        }
    }

    /// The summary, a few lines.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let count = |count: u64, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
        let statuses: Vec<String> = self.by_status.iter().map(|(status, count)| format!("{count} {status}")).collect();
        let mut first = count(self.requests, "request");
        if !statuses.is_empty() {
            first = format!("{first} ({})", statuses.join(", "));
        }
        if self.loaders > 0 {
            first = format!(
                "{first}, {} that loaded modules by itself",
                count(self.loaders, "process").replace("processs", "processes")
            );
        }
        let mut lines = vec![first];
        if self.modules.is_empty() {
            lines.push("no module was loaded".to_owned());
        } else {
            let number = u64::try_from(self.modules.len()).unwrap_or(u64::MAX);
            lines.push(format!("{} loaded: {}", count(number, "module"), self.modules.join(" ")));
        }
        if self.unloads > 0 {
            lines.push(format!("{} unloaded", count(self.unloads, "module")));
        }
        let lost: u64 = self.losses.values().sum();
        lines.push(if lost == 0 {
            "nothing was lost".to_owned()
        } else {
            let causes: Vec<String> = self.losses.iter().map(|(cause, count)| format!("{count} {cause}")).collect();
            format!("LOST {}: {}", count(lost, "event"), causes.join(", "))
        });
        if self.incomplete > 0 {
            lines.push(format!("{} incomplete: see the notes above", count(self.incomplete, "chain")));
        }
        lines
    }
}
