//! What captures cover: of what they are silent, nothing follows.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use crate::{
    chain::Item,
    event::{Body, Event},
};

/// Hosts, time and modules that captures tell of.
#[derive(Clone, Debug, Default)]
pub struct Covered {
    hosts: BTreeSet<String>,
    boots: BTreeSet<String>,
    first: Option<Timestamp>,
    last: Option<Timestamp>,
    present: BTreeSet<String>,
    filters: BTreeSet<String>,
}

impl Covered {
    /// Takes what a capture tells.
    pub(super) fn take(&mut self, item: &Item) {
        match item {
            Item::Chain(chain) => self.at(chain.time),
            Item::Event(event) => self.event(event),
        }
    }

    fn event(&mut self, event: &Event) {
        self.at(event.time);
        match &event.body {
            Body::Header(header) => {
                self.hosts.insert(header.hostname.clone());
                self.boots.insert(header.boot_id.clone());
                self.filters.extend(header.filters.iter().cloned());
            }
            Body::Baseline(baseline) => self.present.extend(baseline.modules.iter().cloned()),
            _ => {}
        }
    }

    fn at(&mut self, time: Timestamp) {
        self.first = Some(self.first.map_or(time, |first| first.min(time)));
        self.last = self.last.max(Some(time));
    }

    /// Names of the hosts.
    #[must_use]
    pub const fn hosts(&self) -> &BTreeSet<String> {
        &self.hosts
    }

    /// Modules that were there when a capture began: somebody needed them before.
    #[must_use]
    pub const fn present(&self) -> &BTreeSet<String> {
        &self.present
    }

    /// Filters by which captures left things out.
    #[must_use]
    pub const fn filters(&self) -> &BTreeSet<String> {
        &self.filters
    }

    /// Seconds between the first and the last event.
    #[must_use]
    pub fn seconds(&self) -> i64 {
        self.first.zip(self.last).map_or(0, |(first, last)| last.duration_since(first).as_secs())
    }

    /// In words, without the names of hosts: `1 host, 2 boots, 3 hours from 2026-03-01T00:00:00Z to 2026-03-01T03:00:00Z`.
    /// The time is that between the first and the last event; nothing may have been recorded for parts of it.
    #[must_use]
    pub fn words(&self) -> String {
        let count = |number: usize, what: &str| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
        let of = format!("{}, {}", count(self.hosts.len(), "host"), count(self.boots.len(), "boot"));
        match (self.first, self.last) {
            (Some(first), Some(last)) => {
                format!("{of}, {} from {first:.0} to {last:.0}", about(last.duration_since(first)))
            }
            _ => format!("{of}, no event"),
        }
    }
}

/// A length of time in its largest unit.
fn about(length: SignedDuration) -> String {
    let seconds = length.as_secs();
    let (number, unit) = match seconds {
        ..120 => (seconds, "second"),
        120..7200 => (seconds / 60, "minute"),
        7200..172_800 => (seconds / 3600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    format!("{number} {unit}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::Covered;
    use crate::{
        chain::{Item, samples},
        event::{Baseline, Body, Event},
    };

    fn event(time: &str, body: Body) -> Item {
        let time = time.parse().unwrap();
        Item::Event(Box::new(Event { seq: 0, time, boot_ns: 0, request: None, body }))
    }

    /// Check that the time goes from the first event to the last, in any order, and that what was there is kept.
    #[test]
    fn the_time_is_told() {
        let mut covered = Covered::default();
        assert_eq!(covered.words(), "0 hosts, 0 boots, no event");
        let baseline = |name: &str| Body::Baseline(Baseline { modules: vec![name.to_owned()] });
        covered.take(&event("2026-03-03T03:00:00Z", baseline("loop")));
        covered.take(&event("2026-03-01T01:00:00Z", baseline("vfat")));
        assert_eq!(covered.words(), "0 hosts, 0 boots, 2 days from 2026-03-01T01:00:00Z to 2026-03-03T03:00:00Z");
        assert_eq!(covered.present().iter().collect::<Vec<_>>(), ["loop", "vfat"]);
        covered.take(&samples::outage());
        assert!(covered.hosts().is_empty());
    }
}
