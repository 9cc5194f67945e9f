//! The time range, hosts and boots that captures cover.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use crate::{
    chain::Item,
    event::{Body, Event},
};

/// Hosts, time range and initially loaded modules of captures.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    hosts: BTreeSet<String>,
    boots: BTreeSet<String>,
    first: Option<Timestamp>,
    last: Option<Timestamp>,
    present: BTreeSet<String>,
    filters: BTreeSet<String>,
}

impl Coverage {
    /// Adds an item of a capture.
    pub(super) fn push(&mut self, item: &Item) {
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

    /// Modules that were loaded when a capture began: an unknown process used them.
    #[must_use]
    pub const fn present(&self) -> &BTreeSet<String> {
        &self.present
    }

    /// Filters with which captures were recorded.
    #[must_use]
    pub const fn filters(&self) -> &BTreeSet<String> {
        &self.filters
    }

    /// Seconds between the first and the last event.
    #[must_use]
    pub fn seconds(&self) -> i64 {
        self.first.zip(self.last).map_or(0, |(first, last)| last.duration_since(first).as_secs())
    }

    /// A description without host names: `1 host, 2 boots, 3 hours from 2026-03-01T00:00:00Z to 2026-03-01T03:00:00Z`. The
    /// time range is from the first to the last event; it may have gaps.
    #[must_use]
    pub fn describe(&self) -> String {
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

/// A duration in its largest unit.
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
    use super::Coverage;
    use crate::{
        chain::{Item, samples},
        event::{Baseline, Body, Event},
    };

    fn event(time: &str, body: Body) -> Item {
        let time = time.parse().unwrap();
        Item::Event(Box::new(Event { seq: 0, time, boot_ns: 0, request: None, body }))
    }

    /// The time range is from the first to the last event in any order, and initially loaded modules are kept.
    #[test]
    fn coverage_of_events_spans_first_to_last() {
        let mut coverage = Coverage::default();
        assert_eq!(coverage.describe(), "0 hosts, 0 boots, no event");
        let baseline = |name: &str| Body::Baseline(Baseline { modules: vec![name.to_owned()] });
        coverage.push(&event("2026-03-03T03:00:00Z", baseline("loop")));
        coverage.push(&event("2026-03-01T01:00:00Z", baseline("vfat")));
        assert_eq!(coverage.describe(), "0 hosts, 0 boots, 2 days from 2026-03-01T01:00:00Z to 2026-03-03T03:00:00Z");
        assert_eq!(coverage.present().iter().collect::<Vec<_>>(), ["loop", "vfat"]);
        coverage.push(&samples::outage());
        assert!(coverage.hosts().is_empty());
    }
}
