//! The capture writer: continues through disk failures and reports every lost event.

use std::{
    collections::{BTreeSet, VecDeque},
    io,
    path::PathBuf,
    sync::Arc,
};

use jiff::Timestamp;

use super::{
    frame::{Frame, FrameMaker},
    hash::{Hash, NO_HASH},
    segment::{Disk, Label, SegmentFile, Target},
    sign::Key,
};
use crate::{
    event::{Baseline, Body, Clock, Event, Header},
    text::count,
};

mod policy;
mod retry;
mod rotate;
#[cfg(test)]
mod tests;

pub use policy::{Flush, OnFull, Policy, WriteError};

/// Maximum age of the oldest event in an open frame, nanoseconds.
const IDLE_NS: u64 = 1_000_000_000;

/// Interval of `clock` events, nanoseconds, while events are recorded.
const CLOCK_NS: u64 = 60_000_000_000;

struct Segment {
    file: Box<dyn SegmentFile>,
    path: PathBuf,
    bytes: u64,
    began_ns: u64,
    /// Its size at the last failed rotation, bytes.
    kept_bytes: u64,
}

/// Writes a recording.
pub struct Writer<D> {
    disk: D,
    target: Target,
    label: Label,
    policy: Policy,
    maker: FrameMaker,
    header: Header,
    modules: BTreeSet<String>,
    segment: Option<Segment>,
    segments: u32,
    last_seal: (u64, Hash),
    /// A sealed frame that is not written yet.
    pending: Option<Frame>,
    /// Events that wait for that frame.
    backlog: VecDeque<Event>,
    /// Number of events that exceeded the queue.
    dropped: u64,
    dropped_in_all: u64,
    why: String,
    stopped: bool,
    /// Time of the oldest event of the open frame, nanoseconds since boot.
    oldest_ns: Option<u64>,
    clock_told_ns: u64,
    active: bool,
    unsynced: bool,
    synced_ns: u64,
    /// Problems that were not reported yet.
    news: Vec<String>,
}

impl<D: Disk> Writer<D> {
    /// Begins a recording and creates its first file. `header` and `baseline` are its first two events.
    ///
    /// # Errors
    /// When the file cannot be created.
    pub fn begin(
        disk: D,
        (target, label): (Target, Label),
        policy: Policy,
        key: Option<Arc<Key>>,
        (header, baseline): (Header, Baseline),
        at: (Timestamp, u64),
    ) -> Result<Self, WriteError> {
        let mut writer = Self {
            maker: FrameMaker::new(key)?,
            modules: baseline.modules.into_iter().collect(),
            clock_told_ns: at.1,
            header,
            disk,
            target,
            label,
            policy,
            segment: None,
            segments: 0,
            last_seal: (0, NO_HASH),
            pending: None,
            backlog: VecDeque::new(),
            dropped: 0,
            dropped_in_all: 0,
            why: String::new(),
            stopped: false,
            oldest_ns: None,
            active: false,
            unsynced: false,
            synced_ns: at.1,
            news: Vec::new(),
        };
        writer.open(at.1)?;
        writer.describe(at)?;
        writer.close_frame(at.1)?;
        Ok(writer)
    }

    /// Adds an event and assigns its number.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub fn push(&mut self, event: &Event) -> Result<(), WriteError> {
        self.follow(event);
        if let Body::Header(_) | Body::Baseline(_) = event.body {
            return Ok(());
        }
        self.active = true;
        if self.stopped || self.pending.is_some() {
            self.keep_waiting(event);
            return Ok(());
        }
        self.take(event)
    }

    /// Timer tick: closes an old frame, records the clocks, rotates, and retries failed writes.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub fn tick(&mut self, at: (Timestamp, u64), clock: Clock) -> Result<(), WriteError> {
        let now_ns = at.1;
        self.retry(at)?;
        if self.active && now_ns.saturating_sub(self.clock_told_ns) >= CLOCK_NS {
            self.push(&Event { seq: 0, time: at.0, boot_ns: now_ns, request: None, body: Body::Clock(clock) })?;
            self.active = false;
        }
        if self.oldest_ns.is_some_and(|oldest_ns| now_ns.saturating_sub(oldest_ns) >= IDLE_NS) {
            self.close_frame(now_ns)?;
        }
        if self.unsynced && now_ns.saturating_sub(self.synced_ns) >= IDLE_NS {
            self.sync(now_ns, false);
        }
        let too_old = |segment: &Segment, age_ns| now_ns.saturating_sub(segment.began_ns) >= age_ns;
        if self
            .policy
            .max_age_ns
            .is_some_and(|age_ns| self.segment.as_ref().is_some_and(|segment| too_old(segment, age_ns)))
        {
            self.next_segment(at)?;
        }
        Ok(())
    }

    /// Closes the open frame; returns true if everything so far is written or counted as lost.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub fn settle(&mut self, now_ns: u64) -> Result<bool, WriteError> {
        self.close_frame(now_ns)?;
        Ok(self.pending.is_none() && self.backlog.is_empty())
    }

    /// Number and hash of the last written seal. A queued one may be created again for another file.
    #[must_use]
    pub const fn last_seal(&self) -> (u64, Hash) {
        self.last_seal
    }

    /// Ends the recording with its last event. Events that could not be written are lost and counted in the messages.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub fn finish(&mut self, end: &Event) -> Result<(), WriteError> {
        self.retry((end.time, end.boot_ns))?;
        self.push(end)?;
        self.close_frame(end.boot_ns)?;
        self.sync(end.boot_ns, true);
        let waiting = self.pending.as_ref().map_or(0, |frame| frame.events) + self.backlog.len() as u64;
        let unwritten = self.dropped.saturating_add(waiting);
        if unwritten > 0 {
            self.news.push(format!("cannot write {}: {}", count(unwritten, "event", "events"), self.why));
        }
        Ok(())
    }

    /// Messages about problems since the last call.
    pub fn take_news(&mut self) -> Vec<String> {
        std::mem::take(&mut self.news)
    }

    /// Number of events lost in writing so far.
    #[must_use]
    pub const fn lost(&self) -> u64 {
        self.dropped_in_all
    }

    /// The current file.
    #[must_use]
    pub fn path(&self) -> Option<&std::path::Path> {
        self.segment.as_ref().map(|segment| segment.path.as_path())
    }

    /// Tracks loaded modules and clocks for the beginning of the next segment.
    fn follow(&mut self, event: &Event) {
        match &event.body {
            Body::Load(load) => {
                self.modules.insert(load.module.field());
            }
            Body::Unload(unload) => {
                self.modules.remove(&unload.module.field());
            }
            Body::Clock(clock) => {
                self.clock_told_ns = event.boot_ns;
                self.header.realtime_minus_boot_ns = clock.realtime_minus_boot_ns;
                self.header.boot_minus_monotonic_ns = Some(clock.boot_minus_monotonic_ns);
                self.header.clock_uncertainty_ns = clock.clock_uncertainty_ns;
            }
            _ => {}
        }
    }

    fn take(&mut self, event: &Event) -> Result<(), WriteError> {
        let is_full = self.maker.push(event)?;
        self.oldest_ns.get_or_insert(event.boot_ns);
        if is_full {
            self.close_frame(event.boot_ns)?;
        }
        // Nothing follows the end: a new file would look like one whose recorder was killed.
        let goes_on = !matches!(event.body, Body::End(_));
        let size = self.segment.as_ref().map_or(0, |segment| segment.bytes.saturating_sub(segment.kept_bytes));
        if goes_on && self.policy.max_bytes.is_some_and(|max| size >= max) {
            self.next_segment((event.time, event.boot_ns))?;
        }
        Ok(())
    }

    fn close_frame(&mut self, now_ns: u64) -> Result<(), WriteError> {
        if self.pending.is_some() {
            return Ok(());
        }
        self.oldest_ns = None;
        let Some(frame) = self.maker.close()? else { return Ok(()) };
        self.write(frame, now_ns)
    }

    fn write(&mut self, frame: Frame, now_ns: u64) -> Result<(), WriteError> {
        loop {
            let Err(error) = self.try_write(&frame, now_ns) else { return Ok(()) };
            self.why = error.to_string();
            let is_full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
            if is_full && self.segment.is_some() && self.policy.on_full == OnFull::Rotate && self.make_room() {
                continue;
            }
            let path = self.path().unwrap_or(self.target.directory()).to_owned();
            match self.policy.on_full {
                OnFull::Exit => return Err(WriteError::Write { path, source: error }),
                OnFull::Stop => {
                    self.stopped = true;
                    frame.source.iter().for_each(|event| self.drop_event(event));
                    self.news.push(format!("cannot write to {}: {error}; recording has stopped", path.display()));
                }
                OnFull::Drop | OnFull::Rotate => {
                    self.news.push(format!("cannot write to {}: {error}; events are buffered", path.display()));
                    self.pending = Some(frame);
                }
            }
            return Ok(());
        }
    }

    fn try_write(&mut self, frame: &Frame, now_ns: u64) -> io::Result<()> {
        if let Some(min) = self.policy.min_free_bytes {
            let free = self.disk.free_bytes(self.target.directory())?;
            if free < min {
                let why = format!("only {free} bytes are free, less than --min-free {min}");
                return Err(io::Error::new(io::ErrorKind::StorageFull, why));
            }
        }
        let Some(segment) = &mut self.segment else { return Err(io::Error::other("no file is open")) };
        if !segment.file.is_linked()? {
            self.segment = None;
            return Err(io::Error::other("the file was removed"));
        }
        if let Err(error) = segment.file.write_all(&frame.bytes) {
            // A torn frame must not precede intact ones.
            if let Err(other) = segment.file.truncate(segment.bytes) {
                let Segment { path, bytes, .. } = segment;
                // A file without an intact frame would look like one with lost events.
                if *bytes == 0 && self.disk.remove(path).is_ok() {
                    self.segments -= 1;
                } else {
                    self.news
                        .push(format!("cannot remove the truncated frame at the end of {}: {other}", path.display()));
                }
                self.segment = None;
            }
            return Err(error);
        }
        segment.bytes += frame.bytes.len() as u64;
        self.last_seal = (frame.seal_seq(), frame.hash);
        // The frame is written even if syncing fails; writing it again would duplicate it.
        match self.policy.flush {
            Flush::None => {}
            Flush::Incremental => self.unsynced = true,
            Flush::Data => self.sync(now_ns, false),
            Flush::Sync => self.sync(now_ns, true),
        }
        Ok(())
    }

    fn sync(&mut self, now_ns: u64, metadata: bool) {
        self.unsynced = false;
        self.synced_ns = now_ns;
        if self.policy.flush == Flush::None {
            return;
        }
        if let Some(Err(error)) = self.segment.as_mut().map(|segment| segment.file.sync(metadata)) {
            self.news.push(format!("cannot sync the capture: {error}; a crash of the machine may lose it"));
        }
    }
}
