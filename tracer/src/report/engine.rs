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
    select::Match,
    stream::{Consumer, Issue, Severity, StreamInfo},
};

/// Counts chains, and hands those that are wanted to formats.
pub struct Engine {
    plan: Plan,
    names: Names,
    cells: Cells,
    streams: Vec<Stream>,
    sinks: Vec<Box<dyn Sink>>,
    undecided: Undecided,
}

/// Chains and unloads of which it was not seen whether a filter means them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Undecided {
    /// Those that are left out: what is wanted may be there.
    pub left_out: u64,
    /// Those that are counted and shown: what is not wanted may be there.
    pub kept: u64,
}

impl Undecided {
    /// A sentence; none where the filters decided about all.
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
        Some(format!("{what}: the captures do not say all that the filters ask about"))
    }
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
        Self {
            plan,
            names: Names::default(),
            cells: Cells::default(),
            streams: Vec::new(),
            sinks,
            undecided: Undecided::default(),
        }
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
        if !self.plan.is_in_range(time_ns) || !self.selects(item) {
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

    /// Whether a chain or event is selected; what is not known of that is counted.
    fn selects(&mut self, item: &Item) -> bool {
        let selector = &self.plan.selector;
        if selector.is_empty() {
            return true;
        }
        let is_selected = selector.selects_item(item);
        if selector.matches_item(item) == Match::Maybe {
            *if is_selected { &mut self.undecided.kept } else { &mut self.undecided.left_out } += 1;
        }
        is_selected
    }

    /// Of which chains and unloads it is not known whether the filters mean them.
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
                self.cells.add_baseline(host, module);
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
        let is_wanted = self.plan.is_in_range(nanoseconds(event.time))
            && self.selects(item)
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

    fn finish(&mut self) -> io::Result<()> {
        let Self { cells, names, streams, plan, sinks, .. } = self;
        let whole = Whole { cells, names, streams, plan };
        sinks.iter_mut().try_for_each(|sink| sink.finish(&whole))
    }
}
