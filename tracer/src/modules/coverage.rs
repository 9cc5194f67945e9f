//! The time range, hosts and boots that captures cover.

use std::collections::{BTreeMap, BTreeSet};

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
    /// First and last time of each recording, by the host and the number of the recording.
    spans: BTreeMap<(String, usize), (Timestamp, Timestamp)>,
}

/// Maximum number of recordings whose times are kept.
const SPANS_MAX: usize = 65_536;

impl Coverage {
    /// Adds an item of a recording from a host.
    pub(super) fn push(&mut self, item: &Item, host: &str, recording: usize) {
        let time = match item {
            Item::Chain(chain) => chain.time,
            Item::Event(event) => event.time,
        };
        self.at(time);
        let key = (host.to_owned(), recording);
        if let Some((first, last)) = self.spans.get_mut(&key) {
            (*first, *last) = ((*first).min(time), (*last).max(time));
        } else if self.spans.len() < SPANS_MAX {
            self.spans.insert(key, (time, time));
        }
        if let Item::Event(event) = item {
            self.event(event);
        }
    }

    fn event(&mut self, event: &Event) {
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

    /// Seconds that the recordings of a host cover. Time between two recordings, and time that two of them cover, counts once or not
    /// at all.
    #[must_use]
    pub fn seconds_of(&self, host: &str) -> i64 {
        let of_host = self.spans.iter().filter(|((of, _), _)| of == host);
        let mut spans: Vec<(Timestamp, Timestamp)> = of_host.map(|(_, span)| *span).collect();
        spans.sort_unstable();
        let mut covered = SignedDuration::ZERO;
        let mut until: Option<Timestamp> = None;
        for (first, last) in spans {
            let begin = until.map_or(first, |until| until.max(first));
            if last > begin {
                covered += last.duration_since(begin);
            }
            until = Some(until.map_or(last, |until| until.max(last)));
        }
        covered.as_secs()
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
        coverage.push(&event("2026-03-03T03:00:00Z", baseline("loop")), "lb1", 0);
        coverage.push(&event("2026-03-01T01:00:00Z", baseline("vfat")), "lb1", 0);
        assert_eq!(coverage.describe(), "0 hosts, 0 boots, 2 days from 2026-03-01T01:00:00Z to 2026-03-03T03:00:00Z");
        assert_eq!(coverage.present().iter().collect::<Vec<_>>(), ["loop", "vfat"]);
        coverage.push(&samples::outage(), "lb1", 0);
        assert!(coverage.hosts().is_empty());
    }

    /// The time of a host is that of its own recordings: neither gaps between them nor other hosts count.
    #[test]
    fn time_of_a_host_is_that_of_its_recordings() {
        let mut coverage = Coverage::default();
        for (host, recording, first, last) in [
            ("lb1", 0, "2026-03-01T00:00:00Z", "2026-03-01T00:01:00Z"),
            ("lb1", 1, "2026-03-09T00:00:00Z", "2026-03-09T00:01:00Z"),
            // This one overlaps with the one before.
            ("lb1", 2, "2026-03-09T00:00:30Z", "2026-03-09T00:02:00Z"),
            ("lb2", 3, "2026-03-01T00:00:00Z", "2026-03-31T00:00:00Z"),
        ] {
            for time in [last, first] {
                let item = event(time, Body::Baseline(Baseline { modules: Vec::new() }));
                coverage.push(&item, host, recording);
            }
        }
        assert_eq!((coverage.seconds_of("lb1"), coverage.seconds_of("lb2")), (180, 30 * 86_400));
        assert_eq!(coverage.seconds_of("lb3"), 0);
    }
}
