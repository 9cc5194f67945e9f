//! The pipeline from events to consumers: integrity checks, chains, delivery.

use std::io;

use jiff::Timestamp;

use super::{
    Consumer, Identity, attribution,
    integrity::Integrity,
    issue::{Issue, IssueKind, Severity},
};
use crate::{
    capture::batch::Brief,
    chain::{Builder, Item},
    event::{Body, Event, Header},
};

mod issues;
#[cfg(test)]
mod tests;

pub use issues::Issues;

/// Maximum number of stored issues of one kind and source; the others are counted.
const ISSUES_OF_A_KIND_MAX: usize = 32;

/// Maximum number of stored issues.
const ISSUES_MAX: usize = 4096;

/// Maximum number of open chains of a captured stream. The kernel runs 50 requests at a time.
const OPEN_CHAINS_MAX: usize = 8192;

/// Memory limit of the open chains of all streams, bytes. Beyond it, chains of the oldest streams are emitted early.
const OPEN_BYTES_MAX: usize = 64 << 20;

/// The number of a stream, from 0 in order of appearance.
pub type StreamId = usize;

/// What is known about a stream while it is read.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct StreamInfo {
    /// Its number.
    pub id: StreamId,
    /// Its source; the first of several files.
    pub source: String,
    /// Its identity; absent until a header was read.
    pub identity: Option<Identity>,
    /// The kernel release.
    pub kernel: String,
    /// The architecture.
    pub arch: String,
    /// No later chain begins before this, unless its events were lost or are out of order.
    pub settled: Option<Timestamp>,
}

impl StreamInfo {
    /// The host name; empty if unknown.
    #[must_use]
    pub fn host(&self) -> &str {
        self.identity.as_ref().map_or("", |identity| identity.host.as_str())
    }

    /// The boot id; empty if unknown.
    #[must_use]
    pub fn boot_id(&self) -> &str {
        self.identity.as_ref().map_or("", |identity| identity.boot_id.as_str())
    }

    fn header(&mut self, header: &Header, boot_ns: u64) {
        if self.identity.is_none() {
            self.identity = Some(Identity::new(header, boot_ns));
            self.kernel = super::identity::name(&header.kernel);
            self.arch = super::identity::name(&header.arch);
        }
    }
}

/// Summary of a stream that was read.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct StreamSummary<'a> {
    /// The stream.
    pub info: &'a StreamInfo,
    /// Number of its events, without seals.
    pub events: u64,
    /// Number of records that it reports as lost.
    pub lost: u64,
    /// It has a regular end.
    pub has_ended: bool,
}

/// A stream that is being read.
struct State {
    info: StreamInfo,
    chains: Option<Box<Builder>>,
    integrity: Integrity,
    events: u64,
    has_ended: bool,
    is_broken: bool,
    is_done: bool,
    /// It is of another boot than the wanted one.
    is_left_out: bool,
}

/// Passes the events of streams to a consumer.
pub struct Pipeline<C> {
    consumer: C,
    streams: Vec<State>,
    issues: Vec<Issue>,
    /// Number of issues that were not stored.
    more: u64,
    is_followed: bool,
    /// Only streams of this boot are passed on, if set.
    only_boot: Option<String>,
    /// Memory use of the open chains of all streams, bytes.
    open_bytes: usize,
    /// The stream whose open chains are emitted next if memory is short.
    next_to_shrink: StreamId,
}

impl<C> std::fmt::Debug for Pipeline<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pipeline").field("streams", &self.streams.len()).finish_non_exhaustive()
    }
}

impl<C: Consumer> Pipeline<C> {
    /// Creates a pipeline for a consumer.
    #[must_use]
    pub const fn new(consumer: C) -> Self {
        Self {
            consumer,
            streams: Vec::new(),
            issues: Vec::new(),
            more: 0,
            is_followed: false,
            only_boot: None,
            open_bytes: 0,
            next_to_shrink: 0,
        }
    }

    /// Allows streams without an end, for input that is still being recorded.
    pub const fn follow(&mut self) {
        self.is_followed = true;
    }

    /// Leaves out streams of other boots, with their issues. A stream without a header may be of any boot, and is passed on.
    pub fn only_boot(&mut self, boot_id: &str) {
        self.only_boot = Some(boot_id.to_owned());
    }

    /// Begins a stream.
    pub fn begin(&mut self, source: &str) -> StreamId {
        let id = self.streams.len();
        self.streams.push(State {
            info: StreamInfo { id, source: source.to_owned(), ..StreamInfo::default() },
            chains: Some(Box::new(Builder::with_limit(OPEN_CHAINS_MAX))),
            integrity: Integrity::default(),
            events: 0,
            has_ended: false,
            is_broken: false,
            is_done: false,
            is_left_out: false,
        });
        id
    }

    /// Begins a stream that shares the beginning of another, up to event `seq`.
    pub fn fork(&mut self, from: StreamId, source: &str, seq: u64) -> StreamId {
        let id = self.begin(source);
        if let Ok([from, fork]) = self.streams.get_disjoint_mut([from, id]) {
            fork.is_left_out = from.is_left_out;
            fork.info = StreamInfo { id, source: source.to_owned(), ..from.info.clone() };
            fork.integrity = from.integrity.fork(seq);
        }
        id
    }

    /// The expected number of the next event of a stream.
    #[must_use]
    pub fn next_seq(&self, id: StreamId) -> u64 {
        self.streams.get(id).map_or(0, |state| state.integrity.next_seq())
    }

    /// Starts a stream at this number. Missing earlier events are reported separately.
    pub fn begin_at(&mut self, id: StreamId, seq: u64) {
        if let Some(state) = self.streams.get_mut(id) {
            state.integrity.begin_at(seq);
        }
    }

    /// Processes the number of a seal.
    pub fn seal(&mut self, id: StreamId, seq: u64) {
        if let Some(state) = self.streams.get_mut(id) {
            state.integrity.number(seq);
            if let Some(chains) = &mut state.chains {
                chains.number(seq);
            }
        }
    }

    /// Records an event of an unknown type.
    pub fn unknown(&mut self, id: StreamId, seq: u64) {
        if let Some(state) = self.streams.get_mut(id) {
            state.integrity.unknown(seq);
            if let Some(chains) = &mut state.chains {
                chains.number(seq);
            }
        }
    }

    /// The number of streams.
    #[must_use]
    pub fn streams(&self) -> usize {
        self.streams.len()
    }

    /// Processes the next event of a stream.
    ///
    /// # Errors
    /// Those of the consumer.
    pub fn event(&mut self, id: StreamId, event: Event) -> io::Result<()> {
        let Some(state) = self.streams.get_mut(id) else { return Ok(()) };
        state.events += 1;
        if let Body::Header(header) = &event.body {
            state.info.header(header, event.boot_ns);
            let is_wanted = |boot: &str| super::is_same_boot(boot, state.info.boot_id());
            state.is_left_out = !self.only_boot.as_deref().is_none_or(is_wanted);
        }
        if state.is_left_out {
            return Ok(());
        }
        let mut kinds = state.integrity.event(&event);
        kinds.extend(attribution::of_event(&event));
        let is_end = matches!(event.body, Body::End(_));
        state.has_ended |= is_end;
        for kind in kinds {
            self.issue(id, kind);
        }
        let Some(state) = self.streams.get_mut(id) else { return Ok(()) };
        self.consumer.event(&event, &state.info)?;
        if !self.consumer.wants_items() {
            return Ok(());
        }
        let chains = state.chains.get_or_insert_with(|| Box::new(Builder::with_limit(OPEN_CHAINS_MAX)));
        let (time, open_bytes) = (event.time, chains.bytes());
        chains.push(event);
        self.open_bytes = (self.open_bytes + chains.bytes()).saturating_sub(open_bytes);
        let oldest = chains.oldest().unwrap_or(time).min(time);
        state.info.settled = Some(oldest);
        while let Some(item) = self.streams.get_mut(id).and_then(|state| state.chains.as_mut()?.next_item()) {
            self.item(id, &item)?;
        }
        if is_end {
            self.close(id)?;
        }
        self.make_room()
    }

    /// Emits open chains, stream by stream, until the rest is within the memory limit.
    fn make_room(&mut self) -> io::Result<()> {
        while self.open_bytes > OPEN_BYTES_MAX {
            let id = self.next_to_shrink;
            self.next_to_shrink = if id + 1 < self.streams.len() { id + 1 } else { 0 };
            let Some(chains) = self.streams.get_mut(id).and_then(|state| state.chains.as_mut()) else { continue };
            self.open_bytes = self.open_bytes.saturating_sub(chains.bytes());
            chains.shrink_to(0);
            while let Some(item) = self.streams.get_mut(id).and_then(|state| state.chains.as_mut()?.next_item()) {
                self.item(id, &item)?;
            }
        }
        Ok(())
    }

    /// Passes a timer tick of a live stream to the consumer.
    ///
    /// # Errors
    /// Those of the consumer.
    pub fn tick(&mut self, id: StreamId, boot_ns: u64) -> io::Result<()> {
        let chains = self.streams.get(id).and_then(|state| state.chains.as_ref());
        match chains {
            Some(chains) => self.consumer.tick(&mut chains.running(), boot_ns),
            None => self.consumer.tick(&mut std::iter::empty(), boot_ns),
        }
    }

    /// Processes the next event of a stream, of which only the count is needed.
    pub fn brief(&mut self, id: StreamId, seq: u64, brief: Brief) {
        if let Some(state) = self.streams.get_mut(id) {
            state.events += 1;
            state.integrity.brief(seq, brief);
        }
    }

    fn item(&mut self, id: StreamId, item: &Item) -> io::Result<()> {
        for kind in attribution::of_item(item) {
            self.issue(id, kind);
        }
        let Some(state) = self.streams.get(id) else { return Ok(()) };
        self.consumer.item(item, &state.info)
    }

    /// Emits the remaining chains of a stream.
    fn close(&mut self, id: StreamId) -> io::Result<()> {
        let Some(state) = self.streams.get_mut(id) else { return Ok(()) };
        let Some(mut chains) = state.chains.take() else { return Ok(()) };
        self.open_bytes = self.open_bytes.saturating_sub(chains.bytes());
        let items = chains.finish();
        for issue in chains.take_issues() {
            self.issue(id, IssueKind::Ambiguous { why: issue.to_string() });
        }
        items.iter().try_for_each(|item| self.item(id, item))?;
        if let Some(state) = self.streams.get_mut(id) {
            state.info.settled = Some(Timestamp::MAX);
        }
        Ok(())
    }

    /// Reports an issue of a stream.
    pub fn issue(&mut self, id: StreamId, kind: IssueKind) {
        let Some(state) = self.streams.get_mut(id) else { return };
        state.is_broken |= kind.severity() == Severity::Broken;
        if state.is_left_out {
            return;
        }
        let (source, host) = (state.info.source.clone(), state.info.host().to_owned());
        self.keep(Issue { source, stream: Some(id), host, kind });
    }

    /// Reports an issue of a file of a stream.
    pub fn issue_in(&mut self, id: StreamId, file: &str, kind: IssueKind) {
        let Some(state) = self.streams.get_mut(id) else { return };
        state.is_broken |= kind.severity() == Severity::Broken;
        if state.is_left_out {
            return;
        }
        let host = state.info.host().to_owned();
        self.keep(Issue { source: file.to_owned(), stream: Some(id), host, kind });
    }

    /// Reports an issue of a source without a known stream.
    pub fn issue_of(&mut self, source: &str, kind: IssueKind) {
        self.keep(Issue { source: source.to_owned(), stream: None, host: String::new(), kind });
    }

    fn keep(&mut self, issue: Issue) {
        self.consumer.issue(&issue);
        let same = |other: &&Issue| other.source == issue.source && other.kind.name() == issue.kind.name();
        // The newest issues have the same source.
        let of_a_kind = self.issues.iter().rev().take(ISSUES_OF_A_KIND_MAX * 8).filter(same).count();
        if self.issues.len() < ISSUES_MAX && of_a_kind < ISSUES_OF_A_KIND_MAX {
            self.issues.push(issue);
        } else {
            self.more += 1;
        }
    }

    /// Returns whether no issue broke a stream so far.
    #[must_use]
    pub fn is_intact(&self, id: StreamId) -> bool {
        self.streams.get(id).is_some_and(|state| !state.is_broken)
    }

    /// The consumer.
    pub const fn consumer(&mut self) -> &mut C {
        &mut self.consumer
    }

    /// Ends all streams and returns the consumer and the issues in the order of detection.
    ///
    /// # Errors
    /// Those of the consumer.
    pub fn finish(mut self) -> io::Result<(C, Issues)> {
        for id in 0..self.streams.len() {
            self.end(id)?;
        }
        self.consumer.finish()?;
        Ok((self.consumer, Issues { list: self.issues, more: self.more }))
    }

    /// Ends a stream.
    fn end(&mut self, id: StreamId) -> io::Result<()> {
        self.close(id)?;
        let Some(state) = self.streams.get_mut(id) else { return Ok(()) };
        if std::mem::replace(&mut state.is_done, true) {
            return Ok(());
        }
        if state.is_left_out {
            return Ok(());
        }
        if state.events == 0 {
            self.issue(id, IssueKind::Empty);
            return Ok(());
        }
        let mut kinds = state.integrity.finish(!state.is_broken);
        if !state.has_ended && !self.is_followed {
            kinds.push(IssueKind::NoEnd);
        }
        for kind in kinds {
            self.issue(id, kind);
        }
        let Some(State { info, integrity, events, has_ended, .. }) = self.streams.get(id) else { return Ok(()) };
        let summary = StreamSummary { info, events: *events, lost: integrity.lost(), has_ended: *has_ended };
        self.consumer.end(&summary)
    }
}
