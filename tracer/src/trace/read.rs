//! Reading: the ring buffer, uevents, and loss counters.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    Batch, Phase, Trace,
    correlate::{self, Drained},
    now_ns,
};
use crate::{event::LossStage, kernel::clock::ClockTriple, probe::Mark};

/// Interval between two readings of the loss counters while no records arrive: a missed run leaves no other trace.
const LOSSES: Duration = Duration::from_secs(3);

/// Maximum number of records in a batch.
const BATCH: usize = 512;

/// The action after the ring was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// Nothing.
    Nothing,
    /// A tick.
    Tick,
    /// The end of the stream.
    End,
}

/// The ring is being read, up to its end at the start of the reading: records may arrive faster than they are read.
#[derive(Debug)]
pub(super) struct Reading {
    began_ns: u64,
    end: Mark,
    records: usize,
    then: Then,
}

impl Trace {
    /// Reads the kernel's symbols: after everything is attached, and before any record is read.
    pub(super) fn read_symbols(&mut self) {
        let missing = correlate::read_symbols(self.tracker.environment(), &mut self.tracer);
        self.warnings.extend(missing);
    }

    /// Sets whether the programs must wake this process.
    fn choose_wakeups(&mut self, now: Instant) {
        // Processes must be examined before they exit.
        if self.polls.is_polling(now) && !self.has_user_symbols {
            if !std::mem::replace(&mut self.is_polling, true) {
                self.tracer.stay_awake();
            }
        } else if std::mem::take(&mut self.is_polling) && !self.tracer.go_to_sleep() {
            // A record has arrived without a wakeup.
            self.tracer.stay_awake();
            self.is_polling = true;
            self.polls.read(now, 0);
        }
    }

    /// Begins to read the ring.
    pub(super) fn begin_reading(&mut self, then: Then) {
        if let Some(clocks) = ClockTriple::if_set_since(self.tracker.realtime_minus_boot_ns()) {
            self.tracker.clock_was_set(&clocks);
        }
        let reading = Reading { began_ns: now_ns(), end: self.tracer.ring.end(), records: 0, then };
        self.reading = Some(reading);
    }

    /// Reads the next batch.
    pub(super) fn read_on(&mut self, mut reading: Reading) {
        let (records, is_more) = self.drain(reading.end);
        reading.records += records;
        if reading.records > 0 {
            self.polls.read(Instant::now(), reading.records);
        }
        if is_more {
            let events = self.collect();
            self.pending.push_back(Batch { events, ..Batch::default() });
            self.reading = Some(reading);
            return;
        }
        let is_complete = self.tracer.ring.has_read(reading.end);
        self.drained = Drained { began_ns: reading.began_ns, ended_ns: now_ns(), is_complete };
        match reading.then {
            Then::Nothing => {}
            Then::Tick => self.tick(),
            Then::End => self.end(),
        }
        let events = self.collect();
        let now = Instant::now();
        let has_calmed = self.polls.has_calmed(now, self.tracker.is_idle());
        let is_tick = reading.then != Then::Nothing;
        self.polls.set_next_tick(now, is_tick, self.deadline);
        if self.phase != Phase::Ended {
            self.choose_wakeups(now);
        }
        self.tracer.flush_log();
        self.pending.push_back(Batch { events, is_tick, has_calmed });
    }

    /// Ends requests and loaders that no record ends. The ring and the loss counters were read before, since a missing record
    /// may be in the ring or lost.
    fn tick(&mut self) {
        if self.losses_at <= self.polls.read_at() || self.losses_at.elapsed() >= LOSSES || !self.tracker.is_idle() {
            self.losses(false);
        }
        self.tracker.tick(self.drained);
        if self.tracker.has_events() {
            // Events of a slow tick must be flushed soon, not at the next slow tick.
            self.polls.read(Instant::now(), 0);
        }
    }

    /// Ends the stream.
    fn end(&mut self) {
        self.losses(true);
        if self.tracer.is_pinned() {
            self.tracker.leave();
        }
        self.tracker.finish(self.drained);
        self.phase = Phase::Ended;
    }

    /// Reads records; returns their number, and whether there may be more.
    fn drain(&mut self, end: Mark) -> (usize, bool) {
        // Before the records: a device is announced before the modules that are loaded for it.
        self.read_uevents();
        let tracker = &mut self.tracker;
        let mut count = 0;
        let is_more = self.tracer.ring.drain(end, BATCH, |record| {
            count += 1;
            match record {
                Ok(record) => tracker.record(record),
                Err(error) => {
                    log::warn!("{error}");
                    tracker.loss(now_ns(), LossStage::Decode, "record", 1);
                }
            }
        });
        (count, is_more)
    }

    fn read_uevents(&mut self) {
        let Some(uevents) = &mut self.uevents else { return };
        let tracker = &mut self.tracker;
        if let Err(error) = uevents.drain(|uevent| tracker.device(now_ns(), uevent)) {
            self.warnings.push(format!("cannot read uevents any more: {error}"));
            self.uevents = None;
            self.tracker.stop_devices();
        }
    }

    /// Reads the loss counters.
    pub(super) fn losses(&mut self, is_end: bool) {
        self.losses_at = Instant::now();
        for (stage, cause, count) in self.tracer.losses.take_new(is_end) {
            self.tracker.loss(now_ns(), stage, cause, count);
        }
        self.warnings.extend(self.tracer.self_test.check());
        for cause in self.tracer.self_test.take_losses() {
            self.tracker.loss(now_ns(), LossStage::Missed, cause, 1);
        }
        if self.tracer.losses.take_open_ended() {
            self.tracker.verdicts_missed(now_ns());
        }
    }

    /// Reports what a resumed flight recorder has found. Returns the number of records that waited.
    pub(super) fn resume(&mut self) -> Option<u64> {
        let resumed = self.tracer.resumed.take()?;
        self.warnings.extend(resumed.notes.iter().cloned());
        if resumed.unreadable > 0 {
            self.tracker.loss(now_ns(), LossStage::Decode, "other-version", resumed.unreadable);
        }
        resumed.waiting
    }
}
