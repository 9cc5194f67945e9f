//! Chains to facts: what is selected, what is new, what counts.

use std::io;

pub use super::told::{Plan, Sink, Told, Whole};
use super::{
    cells::Cells,
    facts::{self, nanoseconds},
    names::{NameId, Names},
    stream::Stream,
};
use crate::{
    chain::Item,
    event::{Body, Event},
    stream::{Consumer, Issue, Severity, StreamInfo},
};

/// Counts chains, and hands those that are wanted to formats.
pub struct Engine {
    plan: Plan,
    names: Names,
    cells: Cells,
    streams: Vec<Stream>,
    sinks: Vec<Box<dyn Sink>>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("streams", &self.streams.len()).finish_non_exhaustive()
    }
}

impl Engine {
    /// An engine for a plan.
    #[must_use]
    pub fn new(plan: Plan, sinks: Vec<Box<dyn Sink>>) -> Self {
        Self { plan, names: Names::default(), cells: Cells::default(), streams: Vec::new(), sinks }
    }

    /// Ends all formats.
    ///
    /// # Errors
    /// When one cannot be written.
    pub fn finish(&mut self) -> io::Result<()> {
        let Self { cells, names, streams, plan, sinks, .. } = self;
        let whole = Whole { cells, names, streams, plan };
        sinks.iter_mut().try_for_each(|sink| sink.finish(&whole))
    }

    /// What was read.
    #[must_use]
    pub fn whole(&self) -> Whole<'_> {
        let Self { cells, names, streams, plan, .. } = self;
        Whole { cells, names, streams, plan }
    }

    fn chain(&mut self, item: &Item, number: usize) -> io::Result<()> {
        let Item::Chain(chain) = item else { return Ok(()) };
        let time_ns = nanoseconds(chain.time);
        if !self.plan.is_in_range(time_ns) || !self.plan.selector.selects_item(item) {
            return Ok(());
        }
        let host = self.host(number);
        let mut found = Vec::new();
        facts::of_chain(chain, host, &mut self.names, &mut |_, fact| found.push(fact));
        let mut is_first = false;
        for fact in &found {
            is_first |= self.cells.add(fact);
        }
        let is_new = self.plan.new_since_ns.is_none_or(|new_since_ns| {
            time_ns >= new_since_ns && found.iter().any(|fact| self.cells.first_ns(fact) >= new_since_ns)
        });
        if let Some(stream) = self.streams.get(number).filter(|_| is_new) {
            let told = Told { chain, item, facts: &found, is_first, stream, stream_number: number };
            self.sinks.iter_mut().try_for_each(|sink| sink.chain(&told, &self.names))?;
        }
        Ok(())
    }

    fn host(&self, number: usize) -> NameId {
        self.streams.get(number).map_or(NameId::NONE, Stream::host_id)
    }
}

impl Consumer for Engine {
    fn event(&mut self, event: &Event, info: &StreamInfo) -> io::Result<()> {
        while self.streams.len() <= info.id {
            self.streams.push(Stream::default());
        }
        if let Some(stream) = self.streams.get_mut(info.id) {
            stream.update(info, &mut self.names);
        }
        if let Body::Baseline(baseline) = &event.body {
            let host = self.host(info.id);
            for module in &baseline.modules {
                let module = self.names.id(module.as_bytes());
                self.cells.add_baseline(host, module);
            }
        }
        Ok(())
    }

    fn item(&mut self, item: Item, info: &StreamInfo) -> io::Result<()> {
        if let Some(stream) = self.streams.get_mut(info.id) {
            stream.settled(info);
        }
        let Item::Event(event) = &item else { return self.chain(&item, info.id) };
        if !matches!(event.body, Body::Unload(_) | Body::Attempt(_) | Body::Loss(_)) {
            return Ok(());
        }
        let is_wanted = self.plan.is_in_range(nanoseconds(event.time))
            && self.plan.selector.selects_item(&item)
            && (self.plan.new_since_ns.is_none() || matches!(event.body, Body::Loss(_)));
        if let Some(stream) = self.streams.get(info.id).filter(|_| is_wanted) {
            self.sinks.iter_mut().try_for_each(|sink| sink.event(event, stream, info.id))?;
        }
        Ok(())
    }

    fn issue(&mut self, issue: &Issue) {
        let stream = issue.stream.and_then(|number| self.streams.get_mut(number));
        if let Some(stream) = stream.filter(|_| issue.kind.severity() > Severity::Note) {
            stream.issue(issue);
        }
    }
}
