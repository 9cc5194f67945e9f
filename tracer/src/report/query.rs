//! The query of a report, and the interface between the engine and the output formats.

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

/// The query of a report. Times are nanoseconds since 1970.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ReportQuery {
    /// Selects chains.
    pub selector: Selector,
    /// Excludes chains that began before this time.
    pub since_ns: Option<i64>,
    /// Excludes chains that began at or after this time.
    pub until_ns: Option<i64>,
    /// Limits the report to combinations that were first seen at or after this time.
    pub new_since_ns: Option<i64>,
}

impl ReportQuery {
    pub(super) fn is_in_range(&self, time_ns: i64) -> bool {
        self.since_ns.is_none_or(|since_ns| since_ns <= time_ns)
            && self.until_ns.is_none_or(|until_ns| time_ns < until_ns)
    }
}

/// A selected chain with its context.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ChainRecord<'a> {
    /// The chain.
    pub chain: &'a Chain,
    /// The same chain, as the live output formats accept it.
    pub item: &'a Item,
    /// Its observations.
    pub observations: &'a [Observation],
    /// At least one of its observations is the first of its group in this input.
    pub is_first: bool,
    /// Its stream.
    pub stream: &'a Stream,
    /// The number of its stream.
    pub stream_number: usize,
}

/// The data of a report, after all input was read.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ReportData<'a> {
    /// The aggregated observations.
    pub aggregates: &'a Aggregates,
    /// The interned names.
    pub names: &'a Interner,
    /// The streams that were read.
    pub streams: &'a [Stream],
    /// The query.
    pub query: &'a ReportQuery,
}

/// An output format of reports.
pub trait ReportSink {
    /// Writes a selected chain.
    ///
    /// # Errors
    /// When it cannot be written; `BrokenPipe` when the reader has closed the pipe.
    fn chain(&mut self, record: &ChainRecord<'_>, names: &Interner) -> io::Result<()>;

    /// Writes an event that belongs to no chain: an unload, a loss.
    ///
    /// # Errors
    /// As [`ReportSink::chain`].
    fn event(&mut self, event: &Event, stream: &Stream, stream_number: usize) -> io::Result<()>;

    /// Ends the output.
    ///
    /// # Errors
    /// As [`ReportSink::chain`].
    fn finish(&mut self, data: &ReportData<'_>) -> io::Result<()>;
}
