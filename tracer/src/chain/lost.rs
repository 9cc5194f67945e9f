//! Losses that a stream reports: gaps in its numbers, and `loss` events.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use crate::event::{Body, Event};

/// Maximum number of distinct causes; a stream with more is damaged, and the rest is merged.
const CAUSES_LIMIT: usize = 64;

/// Maximum length of a cause's name, bytes; causes with longer names are merged.
const CAUSE_BYTES_MAX: usize = 256;

/// Number of recent losses that are stored with their times. More are reported at once only if every probe loses
/// events.
const RECENT_LIMIT: usize = 64;

/// Events of a loader that are further apart belong to different chains: the tracer ends a chain after a much shorter
/// pause.
const LOADER_PAUSE_NS: u64 = 10_000_000_000;

/// Total losses up to a point in the stream.
#[derive(Debug, Default, Clone)]
pub(super) struct Totals {
    /// Number of missing events.
    missing: u64,
    /// Number of times that the event numbers decreased.
    turns: u64,
    /// The stream ended without an `end` event.
    cut: bool,
    /// Lost events by cause.
    by_cause: BTreeMap<String, u64>,
}

impl Totals {
    /// Their memory use.
    pub(super) fn bytes(&self) -> usize {
        let causes = self.by_cause.keys().map(|cause| size_of::<(String, u64)>() + cause.len());
        size_of::<Self>() + causes.sum::<usize>()
    }
}

/// Accounts for losses.
///
/// A chain stores the [`Totals`] at its beginning, so that the cost of a loss does not depend on the number of open
/// chains.
#[derive(Debug, Default)]
pub(super) struct Lost {
    totals: Arc<Totals>,
    /// The latest losses: the time of each report, and the totals before it.
    recent: VecDeque<(u64, Arc<Totals>)>,
    next_seq: u64,
    /// The last lost events were sent before this, nanoseconds since boot.
    horizon_ns: Option<u64>,
    /// Events were lost, and no later event bounds the time of the loss yet.
    unsettled: bool,
    /// The last event was the stream's end.
    ended: bool,
}

impl Lost {
    /// Processes the number of an item between events.
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

    /// Processes an event before it is added to a chain.
    pub(super) fn take(&mut self, event: &Event) {
        self.number(event.seq);
        // The seal of the last frame follows the end.
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

    /// Ends the input. Events after the last one are lost unless it was the end of the stream.
    pub(super) fn stop(&mut self) {
        if !self.ended && !self.totals.cut {
            Arc::make_mut(&mut self.totals).cut = true;
        }
    }

    /// The total losses before a chain began.
    ///
    /// A loss is reported when it is detected, which may precede older events that are read later; it may include
    /// events of their chains.
    pub(super) fn before(&self, began_ns: u64) -> Arc<Totals> {
        let reported_since = self.recent.iter().find(|(reported_ns, _)| *reported_ns > began_ns);
        Arc::clone(reported_since.map_or(&self.totals, |(_, without)| without))
    }

    /// Notes on the losses since then.
    pub(super) fn since(&self, then: &Totals) -> Vec<String> {
        let mut notes = Vec::new();
        let missing = self.totals.missing.saturating_sub(then.missing);
        if missing > 0 {
            notes.push(format!("{missing} {} missing from the stream while it ran", events_are(missing)));
        }
        if self.totals.turns > then.turns {
            notes.push("the event numbers decreased while it ran".to_owned());
        }
        if self.totals.cut && !then.cut {
            notes.push("the stream stopped without an end while it ran: the last events may be missing".to_owned());
        }
        for (cause, count) in &self.totals.by_cause {
            let lost = count.saturating_sub(then.by_cause.get(cause).copied().unwrap_or(0));
            if lost > 0 {
                notes.push(format!("{lost} {} lost while it ran ({cause})", events_were(lost)));
            }
        }
        notes
    }

    /// Returns whether loads of a process before its first event at `boot_ns` may have been lost.
    ///
    /// The beginning of a request is known from its id; that of an explicit load is not.
    pub(super) fn may_hide_beginning(&self, process_start_ns: u64, boot_ns: u64) -> bool {
        self.horizon_ns.is_some_and(|horizon_ns| {
            process_start_ns <= horizon_ns && boot_ns.saturating_sub(horizon_ns) < LOADER_PAUSE_NS
        })
    }
}

/// Requests are emitted on admission, and results when nothing can follow: both may be emitted long after their time.
const fn may_be_late(body: &Body) -> bool {
    matches!(body, Body::Request(_) | Body::Result(_))
}

const fn events_are(count: u64) -> &'static str {
    if count == 1 { "event is" } else { "events are" }
}

const fn events_were(count: u64) -> &'static str {
    if count == 1 { "event was" } else { "events were" }
}
