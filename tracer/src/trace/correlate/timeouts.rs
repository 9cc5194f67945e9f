//! Timeouts: requests and loaders that end without a record, and the end of the stream.

use super::{
    environment::Environment,
    in_flight::{Departure, Ending},
    tracker::Tracker,
    unresolved::unseen,
};
use crate::event::{Body, Loss, LossStage, RequestId};

/// How long a request event is held back until the tracepoint reports whether the requester waits.
const PENDING_EVENT_NS: u64 = 100_000_000;

/// How far the ring buffer was read. Losses are reported after reading and before this value is used.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Drained {
    /// When reading began: boot time, taken before the ring's producer position was read.
    pub began_ns: u64,
    /// When reading ended.
    pub ended_ns: u64,
    /// Whether all records were read that were reserved when reading began. A record that is still being written holds
    /// back all later ones, for as long as its writer is not scheduled.
    pub is_complete: bool,
}

impl<K: Environment> Tracker<K> {
    /// Resolves what the last checks of processes have shown, as far as the ring was read since, then checks again. To be
    /// called a few times a second, after each reading.
    pub fn tick(&mut self, drained: Drained) {
        let Drained { began_ns, ended_ns, is_complete } = drained;
        while let Some(id) = self.requests.next_pending_event(began_ns.saturating_sub(PENDING_EVENT_NS)) {
            self.release(id, None);
        }
        self.date_looks(began_ns);
        if is_complete {
            self.settle(began_ns);
        }
        self.check(ended_ns);
        let Self { files, environment, .. } = self;
        files.make_room(|process| environment.liveness(process) != crate::kernel::process::Liveness::Gone);
        self.report_late_records(began_ns);
    }

    /// Dates the results of the last checks: they were true before this reading began.
    fn date_looks(&mut self, began_ns: u64) {
        for id in &self.seen.requests {
            self.requests.change(*id, |in_flight| {
                if let Some(Departure::Gone { by_ns } | Departure::Asleep { by_ns }) = &mut in_flight.departure {
                    by_ns.get_or_insert(began_ns);
                }
            });
        }
        let requests = std::mem::take(&mut self.seen.requests);
        self.requests.settle_next(requests);
        self.settling.entries.append(&mut self.seen.entries);
        self.settling.loaders.append(&mut self.seen.loaders);
    }

    /// Resolves all requests, entries and loaders with evidence from before the ring was read.
    fn settle(&mut self, began_ns: u64) {
        for id in self.requests.take_settling() {
            self.resolve(id, began_ns);
        }
        for id in std::mem::take(&mut self.settling.entries) {
            self.entries.thread_left(id);
        }
        self.settle_entries();
        for (process, paused_since_ns) in std::mem::take(&mut self.settling.loaders) {
            let last_ns = self.loaders.get(process).map(|loader| loader.last_ns);
            if paused_since_ns.is_none_or(|since_ns| last_ns == Some(since_ns)) {
                self.loader_ended(process);
            }
        }
    }

    /// Notes that the programs stay attached: the next reader reports what is in flight at the end of this stream.
    pub fn leave(&mut self) {
        self.is_continued = true;
    }

    /// Ends the stream: emits pending events, results of everything in flight, and the totals.
    pub fn finish(&mut self, drained: Drained) {
        let Drained { began_ns, ended_ns, is_complete } = drained;
        self.date_looks(began_ns);
        if is_complete {
            self.settle(began_ns);
        }
        self.entries_at_the_end(self.is_continued);
        for id in self.requests.ids() {
            self.end_with_the_stream(id, ended_ns);
        }
        self.loaders_at_the_end();
        self.report_late_records(ended_ns);
        let totals = self.totals.clone();
        self.emit(ended_ns, None, Body::End(totals));
    }

    fn end_with_the_stream(&mut self, id: RequestId, now_ns: u64) {
        self.release(id, None);
        let Some(in_flight) = self.requests.get(id) else { return };
        match (&in_flight.ending, in_flight.departure) {
            (Some(_), _) => self.end_as_decided(id),
            (None, Some(_)) => {
                self.end(id, now_ns, unseen("tracing ended before the last record of its thread was known"));
            }
            (None, None) if self.is_continued => {}
            (None, None) => self.end(id, now_ns, unseen("it was in flight when tracing ended")),
        }
    }

    /// Ends a request with the outcome that was determined earlier.
    pub(super) fn end_as_decided(&mut self, id: RequestId) {
        let ending = self.requests.change(id, |in_flight| in_flight.ending.take()).flatten();
        if let Some(Ending { mut outcome, boot_ns, is_due }) = ending {
            // The helper may still load modules.
            outcome.incomplete |= !is_due;
            self.end(id, boot_ns, outcome);
        }
    }

    /// Reports records that arrived after the result of their request, or that belong to no request.
    fn report_late_records(&mut self, now_ns: u64) {
        let count = std::mem::take(&mut self.late_records);
        if count > 0 {
            let cause = "late-record".to_owned();
            self.emit(now_ns, None, Body::Loss(Loss { stage: LossStage::Decode, cause, count }));
        }
    }
}
