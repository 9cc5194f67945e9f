//! Queueing and retries while the disk fails.

use jiff::Timestamp;

use super::{WriteError, Writer};
use crate::{
    capture::segment::Disk,
    event::{Body, Event, Loss, LossStage},
};

/// Maximum number of queued events while the disk fails; later ones are counted as lost.
const BACKLOG_MAX: usize = 4096;

impl<D: Disk> Writer<D> {
    /// Queues an event, or counts it as lost.
    pub(super) fn keep_waiting(&mut self, event: &Event) {
        if self.backlog.len() < BACKLOG_MAX && !self.stopped {
            self.backlog.push_back(event.clone());
        } else {
            self.drop_event(event);
        }
    }

    /// Counts a lost event.
    pub(super) fn drop_event(&mut self, event: &Event) {
        // If a loss event is lost, the records that it reports are counted as well.
        let count = if let Body::Loss(loss) = &event.body { loss.count } else { 1 };
        self.dropped = self.dropped.saturating_add(count);
        self.dropped_in_all = self.dropped_in_all.saturating_add(count);
    }

    /// Retries the queued events.
    pub(super) fn retry(&mut self, at: (Timestamp, u64)) -> Result<(), WriteError> {
        let Some(frame) = self.pending.take_if(|_| !self.stopped) else { return Ok(()) };
        let is_torn = self.segment.is_none();
        let tried = if is_torn { self.open_next(at.1) } else { self.try_write(&frame, at.1) };
        if let Err(error) = tried {
            self.why = error.to_string();
            self.pending = Some(frame);
            return Ok(());
        }
        self.news.push("writing resumed".to_owned());
        let dropped = std::mem::take(&mut self.dropped);
        let waiting = std::mem::take(&mut self.backlog);
        if is_torn {
            // A file begins with its header, so the frame is created again after it.
            let again = self.maker.take_back(frame);
            self.describe(at)?;
            for event in &again {
                self.push(event)?;
            }
        }
        for event in &waiting {
            self.push(event)?;
        }
        if self.pending.is_some() {
            // It failed again; if the queue is full, this count did not fit either.
            self.dropped = self.dropped.saturating_add(dropped);
        } else if dropped > 0 {
            let loss = Loss { stage: LossStage::Write, cause: self.why.clone(), count: dropped };
            self.push(&Event { seq: 0, time: at.0, boot_ns: at.1, request: None, body: Body::Loss(loss) })?;
        }
        Ok(())
    }
}
