//! What is wanted of captures, and what is told of them.

use std::io;

use super::{
    aggregates::{Aggregates, Observation},
    interner::Interner,
    stream::Stream,
};
use crate::{
    chain::{Chain, Item},
    event::Event,
    select::Selector,
};

/// What is wanted. Times are nanoseconds since 1970.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ReportQuery {
    /// Which chains.
    pub selector: Selector,
    /// Nothing that was asked for before this.
    pub since_ns: Option<i64>,
    /// Nothing that was asked for at this time or later.
    pub until_ns: Option<i64>,
    /// Only what came for the first time at this time or later.
    pub new_since_ns: Option<i64>,
}

impl ReportQuery {
    pub(super) fn is_in_range(&self, time_ns: i64) -> bool {
        self.since_ns.is_none_or(|since_ns| since_ns <= time_ns)
            && self.until_ns.is_none_or(|until_ns| time_ns < until_ns)
    }
}

/// A chain that is wanted, with what a report knows of it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ChainRecord<'a> {
    /// The chain.
    pub chain: &'a Chain,
    /// The same, as the formats of the live view take it.
    pub item: &'a Item,
    /// What it counts as.
    pub observations: &'a [Observation],
    /// Something of it was not seen before in this input.
    pub is_first: bool,
    /// Its stream.
    pub stream: &'a Stream,
    /// The number of its stream.
    pub stream_number: usize,
}

/// The whole, when everything was read.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ReportData<'a> {
    /// What was counted.
    pub aggregates: &'a Aggregates,
    /// Its names.
    pub names: &'a Interner,
    /// Where it comes from.
    pub streams: &'a [Stream],
    /// What was wanted.
    pub query: &'a ReportQuery,
}

/// Something that chains are written to.
pub trait ReportSink {
    /// A chain that is wanted.
    ///
    /// # Errors
    /// When it cannot be written; `BrokenPipe` when the reader is gone.
    fn chain(&mut self, record: &ChainRecord<'_>, names: &Interner) -> io::Result<()>;

    /// An event that belongs to no chain: an unload, a loss.
    ///
    /// # Errors
    /// As [`Sink::chain`].
    fn event(&mut self, event: &Event, stream: &Stream, stream_number: usize) -> io::Result<()>;

    /// The end.
    ///
    /// # Errors
    /// As [`Sink::chain`].
    fn finish(&mut self, data: &ReportData<'_>) -> io::Result<()>;
}
