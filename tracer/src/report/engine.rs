//! The report engine: selects chains, aggregates their observations and passes new ones to the output formats.

use std::io;

use super::{
    aggregates::Aggregates,
    interner::{Interner, NameId},
    observe::{self, nanoseconds},
    query::{ChainRecord, ReportData, ReportQuery, ReportSink},
    stream::Stream,
};
use crate::{
    chain::Item,
    event::{Body, Event},
    select::Match,
    stream::{Consumer, Issue, Severity, StreamInfo},
};

/// Aggregates the observations of chains and passes selected chains to the output formats.
pub struct Engine {
    query: ReportQuery,
    names: Interner,
    aggregates: Aggregates,
    streams: Vec<Stream>,
    sinks: Vec<Box<dyn ReportSink>>,
    undecided: Undecided,
}

/// Chains and unloads for which the captures do not contain enough to evaluate the filters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Undecided {
    /// Undecided and left out; some of them may match.
    pub left_out: u64,
    /// Undecided but included; some of them may not match.
    pub kept: u64,
}

impl Undecided {
    /// A sentence about them; `None` if the filters decided all items.
    #[must_use]
    pub fn sentence(&self) -> Option<String> {
        let Self { left_out, kept } = *self;
        let items = |number| crate::output::count(number, "chain or unload", "chains and unloads");
        let what = match (left_out, kept) {
            (0, 0) => return None,
            (_, 0) => format!("{} left out that may match", items(left_out)),
            (0, _) => format!("{} shown that may not match", items(kept)),
            _ => format!("{} left out that may match, and {} shown that may not", items(left_out), items(kept)),
        };
        Some(format!("{what}: values that the filters test were not captured"))
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("streams", &self.streams.len()).finish_non_exhaustive()
    }
}

impl Engine {
    /// Creates an engine for a query.
    #[must_use]
    pub fn new(query: ReportQuery, sinks: Vec<Box<dyn ReportSink>>) -> Self {
        Self {
            query,
            names: Interner::default(),
            aggregates: Aggregates::default(),
            streams: Vec::new(),
            sinks,
            undecided: Undecided::default(),
        }
    }

    /// The data that was read so far.
    #[must_use]
    pub fn data(&self) -> ReportData<'_> {
        let Self { aggregates, names, streams, query, .. } = self;
        ReportData { aggregates, names, streams, query }
    }

    fn chain(&mut self, item: &Item, number: usize) -> io::Result<()> {
        let Item::Chain(chain) = item else { return Ok(()) };
        let time_ns = nanoseconds(chain.time);
        if !self.query.is_in_range(time_ns) || !self.selects(item) {
            return Ok(());
        }
        let host = self.host(number);
        let mut found = Vec::new();
        observe::of_chain(chain, host, &mut self.names, &mut |_, observation| found.push(observation));
        let mut is_first = false;
        for observation in &found {
            is_first |= self.aggregates.add(observation);
        }
        let is_new = self.query.new_since_ns.is_none_or(|new_since_ns| {
            time_ns >= new_since_ns
                && found.iter().any(|observation| self.aggregates.first_ns(observation) >= new_since_ns)
        });
        if let Some(stream) = self.streams.get(number).filter(|_| is_new) {
            let record = ChainRecord { chain, item, observations: &found, is_first, stream, stream_number: number };
            self.sinks.iter_mut().try_for_each(|sink| sink.chain(&record, &self.names))?;
        }
        Ok(())
    }

    /// Returns whether a chain or event is selected, and counts the undecided ones.
    fn selects(&mut self, item: &Item) -> bool {
        let selector = &self.query.selector;
        if selector.is_empty() {
            return true;
        }
        let is_selected = selector.selects_item(item);
        if selector.matches_item(item) == Match::Maybe {
            *if is_selected { &mut self.undecided.kept } else { &mut self.undecided.left_out } += 1;
        }
        is_selected
    }

    /// The numbers of undecided chains and unloads.
    #[must_use]
    pub const fn undecided(&self) -> Undecided {
        self.undecided
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
                self.aggregates.add_baseline(host, module);
            }
        }
        Ok(())
    }

    fn item(&mut self, item: &Item, info: &StreamInfo) -> io::Result<()> {
        if let Some(stream) = self.streams.get_mut(info.id) {
            stream.settled(info);
        }
        let Item::Event(event) = item else { return self.chain(item, info.id) };
        if !matches!(event.body, Body::Unload(_) | Body::Attempt(_) | Body::Loss(_)) {
            return Ok(());
        }
        let is_wanted = self.query.is_in_range(nanoseconds(event.time))
            && self.selects(item)
            && (self.query.new_since_ns.is_none() || matches!(event.body, Body::Loss(_)));
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

    fn finish(&mut self) -> io::Result<()> {
        let Self { aggregates, names, streams, query, sinks, .. } = self;
        let data = ReportData { aggregates, names, streams, query };
        sinks.iter_mut().try_for_each(|sink| sink.finish(&data))
    }
}
