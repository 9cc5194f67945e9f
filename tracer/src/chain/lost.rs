//! What the stream itself says is missing: gaps in its numbers, and `loss` events.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use crate::event::{Body, Event};

/// Causes that are told apart; a stream with more is damaged, and the rest is one cause.
const CAUSES_LIMIT: usize = 64;

/// Bytes of a cause's name; what has a longer one is one cause, too.
const CAUSE_BYTES_MAX: usize = 256;

/// Losses that are remembered by their time. More are told at once only when each probe loses.
const RECENT_LIMIT: usize = 64;

/// A loader's events that are further apart belong to different pieces of its work: whoever makes the
/// events ends a piece after a much shorter pause.
const LOADER_PAUSE_NS: u64 = 10_000_000_000;

/// All that was lost up to a moment.
#[derive(Debug, Default, Clone)]
pub(super) struct Totals {
    /// Numbers that the stream skips.
    missing: u64,
    /// Times the numbers went back.
    turns: u64,
    /// The stream stopped without an end.
    cut: bool,
    /// Events by the cause of their loss.
    by_cause: BTreeMap<String, u64>,
}

impl Totals {
    /// What they take.
    pub(super) fn bytes(&self) -> usize {
        let causes = self.by_cause.keys().map(|cause| size_of::<(String, u64)>() + cause.len());
        size_of::<Self>() + causes.sum::<usize>()
    }
}

/// Keeps count of what is lost.
///
/// A chain keeps the [`Totals`] of its beginning, so that a loss costs the same however many chains are open.
#[derive(Debug, Default)]
pub(super) struct Lost {
    totals: Arc<Totals>,
    /// The latest losses: when each was told, and the totals without it.
    recent: VecDeque<(u64, Arc<Totals>)>,
    next_seq: u64,
    /// What was lost last was sent before this, nanoseconds since boot.
    horizon_ns: Option<u64>,
    /// Something was lost, and no event since tells when.
    unsettled: bool,
    /// The last event was the stream's end.
    ended: bool,
}

impl Lost {
    /// Takes the number of something that stands between events.
    pub(super) fn number(&mut self, seq: u64) {
        match seq.checked_sub(self.next_seq) {
            Some(0) => {}
            Some(missing) => {
                let totals = Arc::make_mut(&mut self.totals);
                totals.missing = totals.missing.saturating_add(missing);
                self.unsettled = true;
            }
            None => {
                Arc::make_mut(&mut self.totals).turns += 1;
                self.unsettled = true;
            }
        }
        self.next_seq = seq.saturating_add(1);
    }

    /// Takes note of an event, before it is used.
    pub(super) fn take(&mut self, event: &Event) {
        self.number(event.seq);
        // The seal of the last frame stands after the end.
        self.ended = matches!(event.body, Body::End(_)) || (self.ended && matches!(event.body, Body::Seal(_)));
        if let Body::Loss(loss) = &event.body {
            if self.recent.len() >= RECENT_LIMIT {
                self.recent.pop_front();
            }
            self.recent.push_back((event.boot_ns, Arc::clone(&self.totals)));
            let by_cause = &mut Arc::make_mut(&mut self.totals).by_cause;
            let known = loss.cause.len() <= CAUSE_BYTES_MAX
                && (by_cause.len() < CAUSES_LIMIT || by_cause.contains_key(&loss.cause));
            let cause = if known { loss.cause.as_str() } else { "other causes" };
            let count = by_cause.entry(cause.to_owned()).or_default();
            *count = count.saturating_add(loss.count);
            self.unsettled = true;
        }
        if self.unsettled {
            self.horizon_ns = self.horizon_ns.max(Some(event.boot_ns));
            self.unsettled = may_be_late(&event.body);
        }
    }

    /// No event follows. What came after the last one is lost, unless that was the stream's end.
    pub(super) fn stop(&mut self) {
        if !self.ended && !self.totals.cut {
            Arc::make_mut(&mut self.totals).cut = true;
        }
    }

    /// What was lost before something began.
    ///
    /// A loss is told when it is found, which may be in front of events that are older and were read later: it may
    /// have taken what belonged to them.
    pub(super) fn before(&self, began_ns: u64) -> Arc<Totals> {
        let told_since = self.recent.iter().find(|(told_ns, _)| *told_ns > began_ns);
        Arc::clone(told_since.map_or(&self.totals, |(_, without)| without))
    }

    /// What was lost since then, in words.
    pub(super) fn since(&self, then: &Totals) -> Vec<String> {
        let mut notes = Vec::new();
        let missing = self.totals.missing.saturating_sub(then.missing);
        if missing > 0 {
            notes.push(format!("{missing} {} missing from the stream while it ran", events_are(missing)));
        }
        if self.totals.turns > then.turns {
            notes.push("the stream's numbers went back while it ran".to_owned());
        }
        if self.totals.cut && !then.cut {
            notes.push("the events stop without an end while it ran: the last may be missing".to_owned());
        }
        for (cause, count) in &self.totals.by_cause {
            let lost = count.saturating_sub(then.by_cause.get(cause).copied().unwrap_or(0));
            if lost > 0 {
                notes.push(format!("{lost} {} lost while it ran ({cause})", events_were(lost)));
            }
        }
        notes
    }

    /// True when what a process loaded before `boot_ns`, its first event, may be among the lost.
    ///
    /// A request says when it begins; a process that loads by itself does not.
    pub(super) fn may_hide_beginning(&self, process_start_ns: u64, boot_ns: u64) -> bool {
        self.horizon_ns.is_some_and(|horizon_ns| {
            process_start_ns <= horizon_ns && boot_ns.saturating_sub(horizon_ns) < LOADER_PAUSE_NS
        })
    }
}

/// A request is told when it is admitted, a result when nothing can follow: both may stand far behind their time.
const fn may_be_late(body: &Body) -> bool {
    matches!(body, Body::Request(_) | Body::Result(_))
}

const fn events_are(count: u64) -> &'static str {
    if count == 1 { "event is" } else { "events are" }
}

const fn events_were(count: u64) -> &'static str {
    if count == 1 { "event was" } else { "events were" }
}
