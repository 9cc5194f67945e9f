//! Lines in, facts and chains out: the streams, what is selected, what is new.

use std::io;

pub use super::told::{Plan, Sink, Told, Whole};
use super::{
    cells::Cells,
    facts::{self, nanoseconds},
    light::{Join, Line, Type},
    names::{NameId, Names},
    origin::{Origin, Repeats},
    stream::{About, Stream},
};
use crate::{
    capture::reader::{ReadError, parse},
    chain::{self, Item},
    event::{Body, Event, Header},
};

/// Streams that are told apart; a capture may be made of nothing but headers.
const STREAMS_LIMIT: usize = 4096;

/// Chains of a stream that may be open at a time. The kernel runs 50 requests at a time.
const OPEN_LIMIT: usize = 8192;

/// Why a report ends early.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A capture is of a version that this one would misunderstand.
    #[error(transparent)]
    Version(ReadError),
    /// The report cannot be written.
    #[error("cannot write the report")]
    Write(#[from] io::Error),
}

/// Reads lines.
pub struct Engine {
    plan: Plan,
    names: Names,
    cells: Cells,
    streams: Vec<Stream>,
    joins: Vec<Joiner>,
    /// The stream of the next line.
    current: Option<usize>,
    source: String,
    /// Events of the present source below this number were read already.
    repeated_below: u64,
    repeats: Repeats,
    sinks: Vec<Box<dyn Sink>>,
}

/// How the events of a stream become facts.
enum Joiner {
    /// By way of chains.
    Chains(Box<chain::Builder>),
    /// By what the grouping needs alone.
    Light(Box<Join>),
}

impl Engine {
    /// An engine for a plan. Without sinks, and where every chain is wanted, only what the grouping needs is read.
    #[must_use]
    pub fn new(plan: Plan, sinks: Vec<Box<dyn Sink>>) -> Self {
        Self {
            plan,
            names: Names::default(),
            cells: Cells::default(),
            streams: Vec::new(),
            joins: Vec::new(),
            current: None,
            source: String::new(),
            repeated_below: 0,
            repeats: Repeats::default(),
            sinks,
        }
    }

    /// The lines that follow are of this source.
    pub fn begin(&mut self, source: &str) {
        source.clone_into(&mut self.source);
        self.current = None;
        self.repeated_below = 0;
    }

    /// The present source has ended. One without a line is a stream that misses everything.
    pub fn ended(&mut self) {
        self.stream();
    }

    /// Says that something is wrong with the present source.
    pub fn note(&mut self, note: String) {
        self.stream().1.note(note);
    }

    /// Takes a block of whole lines.
    ///
    /// # Errors
    /// When a sink cannot be written, and for a header of a version that is not known.
    pub fn block(&mut self, block: &[u8]) -> Result<(), ReportError> {
        let is_light = self.is_light();
        for line in Lines(block) {
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            if is_light {
                self.light(line)?;
            } else {
                self.event(line)?;
            }
        }
        Ok(())
    }

    /// Ends all streams.
    ///
    /// # Errors
    /// When a sink cannot be written.
    pub fn finish(&mut self) -> io::Result<()> {
        for number in 0..self.joins.len() {
            self.end(number)?;
        }
        let Self { cells, names, streams, repeats, plan, sinks, .. } = self;
        let whole = Whole { cells, names, streams, repeats, plan };
        sinks.iter_mut().try_for_each(|sink| sink.finish(&whole))
    }

    /// Ends a stream: tells what is open as it is.
    fn end(&mut self, number: usize) -> io::Result<()> {
        match self.joins.get_mut(number) {
            Some(Joiner::Chains(chains)) => {
                for item in chains.finish() {
                    self.item(&item, number)?;
                }
            }
            Some(Joiner::Light(join)) => {
                let (plan, cells) = (&self.plan, &mut self.cells);
                join.finish(&mut |found| {
                    if plan.is_in_range(found.root_time_ns) {
                        cells.add(&found.fact);
                    }
                });
            }
            None => {}
        }
        Ok(())
    }

    /// What was read.
    #[must_use]
    pub fn whole(&self) -> Whole<'_> {
        let Self { cells, names, streams, repeats, plan, .. } = self;
        Whole { cells, names, streams, repeats, plan }
    }

    fn is_light(&self) -> bool {
        self.sinks.is_empty() && self.plan.selector.is_empty()
    }

    /// The present stream; one without a header where none has begun.
    fn stream(&mut self) -> (usize, &mut Stream) {
        let number = self.current.unwrap_or(self.streams.len()).min(STREAMS_LIMIT - 1);
        self.current = Some(number);
        if number == self.streams.len() {
            self.streams.push(Stream::new(&self.source));
            let joiner = if self.is_light() {
                Joiner::Light(Box::default())
            } else {
                Joiner::Chains(Box::new(chain::Builder::with_limit(OPEN_LIMIT)))
            };
            self.joins.push(joiner);
        }
        let streams = &mut self.streams;
        if number == STREAMS_LIMIT - 1 {
            streams[number].note("there are more streams than are told apart: this holds the rest".to_owned());
        }
        (number, &mut streams[number])
    }
}

impl Engine {
    /// A line, by way of what the grouping needs.
    fn light(&mut self, bytes: &[u8]) -> Result<(), ReportError> {
        let Ok((kind, seq, line)) = Line::new(bytes).and_then(|line| Ok((line.kind()?, line.seq()?, line))) else {
            self.stream().1.malformed += 1;
            return Ok(());
        };
        match kind {
            Type::Other => return self.event(bytes),
            _ if self.is_repeated(seq) => return Ok(()),
            Type::Quiet => {
                self.stream().1.number(seq);
                return Ok(());
            }
            _ => {}
        }
        let number = self.stream().0;
        let Self { streams, joins, names, cells, plan, .. } = self;
        let (Some(stream), Some(Joiner::Light(join))) = (streams.get_mut(number), joins.get_mut(number)) else {
            return Ok(());
        };
        let host = stream.host_id();
        let joined = join.push(kind, &line, host, names, &mut |found| {
            if plan.is_in_range(found.root_time_ns) {
                cells.add(&found.fact);
            }
        });
        match joined {
            Ok(()) => stream.number(seq),
            Err(_) => stream.malformed += 1,
        }
        Ok(())
    }

    /// A line as an event.
    fn event(&mut self, bytes: &[u8]) -> Result<(), ReportError> {
        let event = match parse(bytes, 0) {
            Ok(Some(event)) => event,
            Err(error @ ReadError::Version { .. }) => return Err(ReportError::Version(error)),
            Ok(None) | Err(_) => {
                self.not_understood(bytes);
                return Ok(());
            }
        };
        if let Body::Header(header) = &event.body {
            self.header(&event, header);
        }
        if self.is_repeated(event.seq) {
            return Ok(());
        }
        let (number, stream) = self.stream();
        stream.number(event.seq);
        stream.time(event.time);
        stream.body(&event.body);
        let host = self.host(number);
        if let Body::Baseline(baseline) = &event.body {
            for module in &baseline.modules {
                let module = self.names.id(module.as_bytes());
                self.cells.add_baseline(host, module);
            }
        }
        let is_end = matches!(event.body, Body::End(_));
        if let Some(Joiner::Chains(chains)) = self.joins.get_mut(number) {
            chains.push(event);
        }
        while let Some(Joiner::Chains(chains)) = self.joins.get_mut(number) {
            let Some(item) = chains.next_item() else { break };
            self.item(&item, number)?;
        }
        if is_end {
            self.end(number)?;
        }
        Ok(())
    }

    /// Finds the stream that a header is of, or begins one.
    fn header(&mut self, event: &Event, header: &Header) {
        let (origin, seq) = (Origin::new(header, event.boot_ns), event.seq);
        self.repeated_below = 0;
        let below = |stream: &Stream| stream.repeated_below(&origin, seq);
        if let Some((number, below)) = self.streams.iter().enumerate().find_map(|(n, own)| Some((n, below(own)?))) {
            self.current = Some(number);
            self.repeated_below = below;
            return;
        }
        let about = About::new(header);
        let same = self.streams.iter().position(|stream| stream.continues(&about, seq));
        if let Some(stream) = same.and_then(|number| self.streams.get_mut(number)) {
            stream.sources += u64::from(stream.source != self.source);
        }
        self.current =
            same.or(self.current.filter(|number| self.streams.get(*number).is_some_and(|stream| stream.events == 0)));
        let number = self.stream().0;
        if let Some(stream) = self.streams.get_mut(number) {
            stream.begin(about, &mut self.names);
            stream.record(origin, seq);
        }
    }

    /// Whether an event of the present source was read before: it is not counted again.
    fn is_repeated(&mut self, seq: u64) -> bool {
        let is_repeated = seq < self.repeated_below;
        if is_repeated && let Some(stream) = self.current.and_then(|number| self.streams.get(number)) {
            self.repeats.add(&self.source, &stream.source);
        }
        is_repeated
    }

    /// A later version may have types of its own; anything else that is no event is damage.
    fn not_understood(&mut self, bytes: &[u8]) {
        let line = Line::new(bytes).ok();
        let is_event = line.as_ref().is_some_and(|line| line.kind() == Ok(Type::Other) && !line.is_known_type());
        let seq = line.and_then(|line| line.seq().ok()).filter(|_| is_event);
        if seq.is_some_and(|seq| self.is_repeated(seq)) {
            return;
        }
        let stream = self.stream().1;
        match seq {
            Some(seq) => {
                stream.number(seq);
                stream.unknown += 1;
            }
            None => stream.malformed += 1,
        }
    }

    fn host(&self, number: usize) -> NameId {
        self.streams.get(number).map_or(NameId::NONE, Stream::host_id)
    }

    /// A chain or event that is finished.
    fn item(&mut self, item: &Item, number: usize) -> io::Result<()> {
        let host = self.host(number);
        let Some(stream) = self.streams.get(number) else { return Ok(()) };
        match item {
            Item::Chain(chain) => {
                let time_ns = nanoseconds(chain.time);
                if !self.plan.is_in_range(time_ns) || !self.plan.selector.selects_item(item) {
                    return Ok(());
                }
                let mut found = Vec::new();
                facts::of_chain(chain, host, &mut self.names, &mut |_, fact| found.push(fact));
                let mut is_first = false;
                for fact in &found {
                    is_first |= self.cells.add(fact);
                }
                let is_new = self.plan.new_since_ns.is_none_or(|new_since_ns| {
                    time_ns >= new_since_ns && found.iter().any(|fact| self.cells.first_ns(fact) >= new_since_ns)
                });
                if is_new {
                    let told = Told { chain, item, facts: &found, is_first, stream, stream_number: number };
                    self.sinks.iter_mut().try_for_each(|sink| sink.chain(&told, &self.names))?;
                }
                Ok(())
            }
            Item::Event(event) => {
                if !matches!(event.body, Body::Unload(_) | Body::Attempt(_) | Body::Loss(_)) {
                    return Ok(());
                }
                let is_wanted = self.plan.is_in_range(nanoseconds(event.time))
                    && self.plan.selector.selects_item(item)
                    && (self.plan.new_since_ns.is_none() || matches!(event.body, Body::Loss(_)));
                if is_wanted {
                    self.sinks.iter_mut().try_for_each(|sink| sink.event(event, stream, number))?;
                }
                Ok(())
            }
        }
    }
}

/// The lines of a block, without their ends.
struct Lines<'a>(&'a [u8]);

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.0.is_empty() {
            return None;
        }
        let end = memchr::memchr(b'\n', self.0).unwrap_or(self.0.len());
        let (line, rest) = self.0.split_at(end);
        self.0 = rest.get(1..).unwrap_or_default();
        Some(line)
    }
}
