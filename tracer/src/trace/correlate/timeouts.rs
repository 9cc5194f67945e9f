//! What no record settles: requests and loaders that ended without one, and the end of the stream.

use super::{
    environment::Environment,
    in_flight::{Departure, Ending},
    tracker::Tracker,
    unresolved::unseen,
};
use crate::event::{Body, Loss, LossStage, RequestId};

/// How long a request event waits for the tracepoint that says whether the requester waits.
const PENDING_EVENT_NS: u64 = 100_000_000;

/// How long it is remembered what was loaded by whom.
const RECENT_NS: u64 = 60_000_000_000;

/// How far the ring was read. Losses are told after that, and before it is used.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Drained {
    /// When reading began: time since boot, before it was looked where the ring ended.
    pub began_ns: u64,
    /// When it was over.
    pub ended_ns: u64,
    /// Whether everything was read that had been reserved when reading began. A record that is still being written keeps
    /// all later ones back, however long its writer does not run.
    pub is_complete: bool,
}

impl<K: Environment> Tracker<K> {
    /// Settles what the last looks at the machine have shown, as far as the ring was read since, and looks again. To be called
    /// a few times a second, after each reading.
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
        self.recent_loads.retain(|_, (boot_ns, _)| began_ns.saturating_sub(*boot_ns) < RECENT_NS);
        let Self { files, environment, .. } = self;
        files.make_room(|process| environment.liveness(process) != crate::kernel::process::Liveness::Gone);
        self.report_late_records(began_ns);
    }

    /// Dates what was seen at the last look: it was so before this reading began.
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

    /// Settles everything of which there is evidence from before the ring was read.
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

    /// The programs go on without this process: the next reader tells what is under way when this stream ends.
    pub fn leave(&mut self) {
        self.is_continued = true;
    }

    /// Ends the stream: lets out what is pending_event, the ends of what still runs, and the totals.
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
                self.end(id, now_ns, unseen("tracing ended before it was known what its thread recorded last"));
            }
            (None, None) if self.is_continued => {}
            (None, None) => self.end(id, now_ns, unseen("it still ran when tracing ended")),
        }
    }

    /// Ends a request as it was decided before.
    pub(super) fn end_as_decided(&mut self, id: RequestId) {
        let ending = self.requests.change(id, |in_flight| in_flight.ending.take()).flatten();
        if let Some(Ending { mut outcome, boot_ns, is_due }) = ending {
            // Its helper may still load modules.
            outcome.incomplete |= !is_due;
            self.end(id, boot_ns, outcome);
        }
    }

    /// Tells of records that came after the result of their request, or that cannot be its own.
    fn report_late_records(&mut self, now_ns: u64) {
        let count = std::mem::take(&mut self.late_records);
        if count > 0 {
            let cause = "late-record".to_owned();
            self.emit(now_ns, None, Body::Loss(Loss { stage: LossStage::Decode, cause, count }));
        }
    }
}
