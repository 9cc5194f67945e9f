//! What a trace reads: the ring buffer, what is said of devices, and what was lost.

use std::time::Duration;

use anyhow::Context;
use tokio::time::Instant;

use super::{Trace, now_ns};
use crate::{
    event::LossStage,
    logging::say,
    probe::Mark,
    session::{self, Drained},
};

/// Counters are read this often while nothing comes: a probe that was missed leaves nothing else behind.
const LOSSES: Duration = Duration::from_secs(3);

/// Records read before anything else gets a turn.
const BATCH: usize = 512;

impl Trace {
    /// Reads the kernel's symbols: after everything is attached, and before any record is read.
    pub(super) fn read_symbols(&mut self) {
        if let Some(missing) = session::read_symbols(self.tracker.knowledge(), &self.tracer) {
            say(&format!("warning: {missing}"));
        }
    }

    /// Tells the programs whether this process is to be woken for what comes.
    pub(super) fn sleep_or_look(&mut self, now: Instant) {
        // Who looks into processes has to be there before they are gone.
        if self.pace.is_awake(now) && !self.looks_into_processes {
            if !std::mem::replace(&mut self.is_awake, true) {
                self.tracer.stay_awake();
            }
        } else if std::mem::take(&mut self.is_awake) && !self.tracer.go_to_sleep() {
            // Something came that woke nobody.
            self.tracer.stay_awake();
            self.is_awake = true;
            self.pace.read(now, 0);
        }
    }

    /// Reads what is there now, and passes it on batch by batch: what comes meanwhile may never end. False when nobody reads
    /// the output any more.
    pub(super) fn read(&mut self) -> anyhow::Result<bool> {
        let began_ns = now_ns();
        let end = self.tracer.ring.end();
        let mut total = 0;
        loop {
            let (count, is_more) = self.drain(end);
            total += count;
            if total > 0 {
                self.pace.read(Instant::now(), total);
            }
            let reads_on = self.pass_on()?;
            if !reads_on || !is_more {
                let is_complete = self.tracer.ring.has_read(end);
                self.drained = Drained { began_ns, ended_ns: now_ns(), is_complete };
                return Ok(reads_on);
            }
        }
    }

    /// Lets end what no record ends; false when nobody reads the output any more. First everything is read that is in the
    /// ring, and what was lost: a record of which the next one is in the ring yet, or was lost, is not one that had no
    /// successor.
    pub(super) fn settle(&mut self) -> anyhow::Result<bool> {
        self.read()?;
        if self.losses_at <= self.pace.read_at() || self.losses_at.elapsed() >= LOSSES || !self.tracker.is_idle() {
            self.losses();
        }
        self.tracker.tick(self.drained);
        if self.tracker.has_events() {
            // What a clock that is slow by now has brought must not wait for its next turn to be made to last.
            self.pace.read(Instant::now(), 0);
        }
        self.pass_on()
    }

    /// Reads a batch: how many records, and whether there may be more.
    fn drain(&mut self, end: Mark) -> (usize, bool) {
        // First: what was announced comes before what was loaded because of it.
        self.hear();
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

    /// Takes what was said of devices.
    fn hear(&mut self) {
        let Some(uevents) = &mut self.uevents else { return };
        let tracker = &mut self.tracker;
        if let Err(error) = uevents.drain(|word| tracker.device(now_ns(), word)) {
            say(&format!("warning: cannot listen for devices any more: {error}"));
            self.uevents = None;
            self.tracker.devices_unheard();
        }
    }

    pub(super) fn losses(&mut self) {
        self.losses_at = Instant::now();
        for (stage, cause, count) in self.tracer.losses.take_new() {
            self.tracker.loss(now_ns(), stage, cause, count);
        }
        if self.tracer.losses.take_open_ended() {
            self.tracker.may_have_missed(now_ns());
        }
    }

    /// What the flight recorder found when it began.
    pub(super) fn tell_resumed(&mut self) {
        let Some(resumed) = self.tracer.resumed.take() else { return };
        for note in &resumed.notes {
            say(&format!("warning: {note}"));
        }
        if let Some(waiting) = resumed.waiting {
            say(&format!("resumed: the programs went on recording, {waiting} records waited"));
        }
        if resumed.unreadable > 0 {
            self.tracker.loss(now_ns(), LossStage::Decode, "other-version", resumed.unreadable);
        }
    }

    /// Lets the kernel forget what was recorded and is safe, once nothing more depends on it or it takes more than `share`
    /// of the ring.
    pub(super) fn release(&mut self, share: f64) -> anyhow::Result<()> {
        let Some(held) = self.tracer.held() else { return Ok(()) };
        if (self.tracker.is_idle() || held > share) && self.output.settle().context("cannot write the output")? {
            self.tracer.release()?;
        }
        Ok(())
    }
}
