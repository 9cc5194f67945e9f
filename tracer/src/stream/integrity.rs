//! Integrity of a live or captured stream, from its own events.

use std::collections::BTreeMap;

use super::{identity::clipped, issue::IssueKind};
use crate::{
    capture::batch::Brief,
    event::{Body, End, Event, HeaderHook, LossStage},
};

/// Optional hooks: files, failed calls, unloads and devices. Loads and requests are complete without them.
const DISPENSABLE: [&str; 6] = ["file", "unload", "init_module", "finit_module", "delete_module", "uevents"];

/// Required hooks: without them requests or loads are missed, so absence cannot be concluded.
const NEEDED: [&str; 5] = ["request", "helper", "load", "init", "result"];

/// Maximum number of loss causes that are counted separately.
const CAUSES_MAX: usize = 64;

/// The integrity state of a stream.
#[derive(Clone, Debug, Default)]
pub(super) struct Integrity {
    read: End,
    /// Events read since the header of the last segment.
    read_of_segment: End,
    recorded: Option<End>,
    losses: BTreeMap<(&'static str, String), (LossStage, u64)>,
    has_header: bool,
    /// Its beginning is missing, so the recorded totals cannot be compared.
    lacks_beginning: bool,
    next_seq: u64,
    missing: Range,
    disordered: Range,
    unknown: u64,
}

/// Events of one kind: number, number of places, and the first.
#[derive(Clone, Copy, Debug, Default)]
struct Range {
    events: u64,
    places: u64,
    first_seq: u64,
}

impl Range {
    const fn add(&mut self, events: u64, first_seq: u64) {
        if self.places == 0 {
            self.first_seq = first_seq;
        }
        self.events = self.events.saturating_add(events);
        self.places += 1;
    }
}

impl Integrity {
    /// The state of a stream that forks off this one at event `seq`.
    pub(super) fn fork(&self, seq: u64) -> Self {
        Self { has_header: self.has_header, lacks_beginning: true, next_seq: seq, ..Self::default() }
    }

    /// The expected number of the next event.
    pub(super) const fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// Starts the stream at this number. Missing earlier events are reported separately.
    pub(super) const fn begin_at(&mut self, seq: u64) {
        self.next_seq = seq;
        self.lacks_beginning = true;
    }

    /// Checks the number of an event or seal.
    pub(super) const fn number(&mut self, seq: u64) {
        if seq > self.next_seq {
            self.missing.add(seq - self.next_seq, self.next_seq);
        } else if seq < self.next_seq {
            self.disordered.add(1, seq);
        }
        self.next_seq = seq.saturating_add(1);
    }

    /// Records an event of an unknown type.
    pub(super) const fn unknown(&mut self, seq: u64) {
        self.unknown += 1;
        self.number(seq);
    }

    /// Processes the next event and returns the issue that it reveals.
    pub(super) fn event(&mut self, event: &Event) -> Vec<IssueKind> {
        self.number(event.seq);
        match &event.body {
            Body::Header(header) => {
                let mut issues = Vec::new();
                self.read_of_segment = End::default();
                if !std::mem::replace(&mut self.has_header, true) {
                    issues.extend(header.hooks.iter().filter(|hook| is_missing(hook)).map(missing));
                    let is_listed = |name: &&str| header.hooks.iter().any(|hook| hook.hook == **name);
                    issues.extend(NEEDED.iter().filter(|name| !is_listed(name)).map(|name| IssueKind::MissingHook {
                        hook: (*name).to_owned(),
                        why: "the header does not list it".to_owned(),
                    }));
                    if !header.filters.is_empty() {
                        issues.push(IssueKind::Filtered { filters: clipped(&header.filters.join(" ")) });
                    }
                }
                issues
            }
            body => {
                self.count(body);
                Vec::new()
            }
        }
    }

    /// Processes the next event, of which only this summary was parsed.
    pub(super) fn brief(&mut self, seq: u64, brief: Brief) {
        self.number(seq);
        self.count_brief(brief);
    }

    fn count_brief(&mut self, brief: Brief) {
        for read in [&mut self.read, &mut self.read_of_segment] {
            match brief {
                Brief::Request => read.requests += 1,
                Brief::Load => read.loads += 1,
                Brief::Unload => read.unloads += 1,
                Brief::Other => {}
            }
        }
    }

    fn count(&mut self, body: &Body) {
        match body {
            Body::Request(_) => self.count_brief(Brief::Request),
            Body::Load(_) => self.count_brief(Brief::Load),
            Body::Unload(_) => self.count_brief(Brief::Unload),
            Body::Loss(loss) => {
                let cause = clipped(&loss.cause);
                let mut key = (name(loss.stage), cause);
                if self.losses.len() >= CAUSES_MAX && !self.losses.contains_key(&key) {
                    key.1 = "other causes".to_owned();
                }
                let lost = self.losses.entry(key).or_insert((loss.stage, 0));
                lost.1 = lost.1.saturating_add(loss.count);
            }
            Body::End(end) => self.recorded = Some(end.clone()),
            _ => {}
        }
    }

    /// The issues of the complete stream. `is_intact`: no event was missing.
    pub(super) fn finish(&self, is_intact: bool) -> Vec<IssueKind> {
        let lost = self.losses.iter().map(|((_, cause), (stage, count))| IssueKind::Lost {
            stage: *stage,
            cause: cause.clone(),
            count: *count,
        });
        let mut issues: Vec<IssueKind> = lost.collect();
        if !self.has_header {
            issues.push(IssueKind::NoHeader);
        }
        let Range { events, places, first_seq } = self.missing;
        if events > 0 {
            issues.push(IssueKind::MissingEvents { events, places, first_seq });
        }
        let Range { events, first_seq, .. } = self.disordered;
        if events > 0 {
            issues.push(IssueKind::OutOfOrder { events, first_seq });
        }
        if self.unknown > 0 {
            issues.push(IssueKind::UnknownTypes { events: self.unknown });
        }
        let is_intact = is_intact && self.has_header && self.missing.places == 0 && self.disordered.places == 0;
        let not_written = self.losses.values().any(|(stage, _)| *stage == LossStage::Write);
        let counts = |end: &End| (end.requests, end.loads, end.unloads);
        // The recorder counts the complete recording; counting each segment separately is accepted, too.
        let is_right = |recorded: &&End| {
            counts(recorded) == counts(&self.read) || counts(recorded) == counts(&self.read_of_segment)
        };
        let comparable = is_intact && !self.lacks_beginning && self.unknown == 0 && !not_written;
        if let Some(recorded) = self.recorded.as_ref().filter(|recorded| comparable && !is_right(recorded)) {
            for (what, recorded, read) in [
                ("requests", recorded.requests, self.read.requests),
                ("loads", recorded.loads, self.read.loads),
                ("unloads", recorded.unloads, self.read.unloads),
            ] {
                if recorded != read {
                    issues.push(IssueKind::Total { what, recorded, read });
                }
            }
        }
        issues
    }

    /// Number of lost records.
    pub(super) fn lost(&self) -> u64 {
        self.losses.values().fold(0, |sum, (_, count)| sum.saturating_add(*count))
    }
}

fn is_missing(hook: &HeaderHook) -> bool {
    hook.attached.is_none() && !DISPENSABLE.contains(&hook.hook.as_str())
}

fn missing(hook: &HeaderHook) -> IssueKind {
    let why = hook.missing.as_deref().unwrap_or("unknown reason");
    IssueKind::MissingHook { hook: clipped(&hook.hook), why: clipped(why) }
}

/// The name of a stage in the output.
const fn name(stage: LossStage) -> &'static str {
    match stage {
        LossStage::Probe => "probe",
        LossStage::Missed => "missed",
        LossStage::Decode => "decode",
        LossStage::Write => "write",
    }
}
