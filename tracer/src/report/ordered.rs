//! Sorts chains by their beginning; captures contain them in the order of their ends.
//!
//! A chain is buffered while an earlier one may still be open. The buffer is limited in bytes: beyond the limit the
//! earliest chain is emitted, and a chain that is still open then comes out of order, which is counted.
//!
//! Several streams are in one order of time if all of their chains fit into a larger buffer. Otherwise they follow each other, each
//! in its own order.

use std::{cell::Cell, collections::BTreeMap, io, rc::Rc};

use super::{
    aggregates::Observation,
    footprint,
    interner::Interner,
    observe::nanoseconds,
    query::{ChainRecord, ReportData, ReportSink},
    stream::Stream,
};
use crate::{chain::Item, event::Event, output};

/// Limit of the reorder buffer, bytes.
const HELD_BYTES: usize = 16 << 20;

/// Limit of the buffer in which several streams are merged, bytes.
const MERGED_BYTES: usize = 64 << 20;

/// `settled_ns` of a stream that has ended.
const END_NS: i64 = i64::MAX;

/// Stream (0 for all of them while they are merged), time and arrival number; the number keeps the order of equal times.
type Place = (usize, i64, u64);

/// A buffered item with its size and its stream.
type Entry = (Held, usize, usize);

/// A buffered item.
enum Held {
    Chain { item: Item, observations: Vec<Observation>, is_first: bool },
    Event(Event),
}

/// Counts chains and events that were emitted out of order.
#[derive(Clone, Debug, Default)]
pub struct Late {
    items: Rc<Cell<u64>>,
    /// The streams did not fit into the buffer.
    is_split: Rc<Cell<bool>>,
}

impl Late {
    /// Records that an item was emitted; `last_ns` is the latest time of its stream so far.
    fn count(&self, last_ns: &mut i64, time_ns: i64) {
        if time_ns < *last_ns {
            self.items.set(self.items.get() + 1);
        }
        *last_ns = time_ns.max(*last_ns);
    }

    /// A warning; `None` if all are in order.
    #[must_use]
    pub fn sentence(&self) -> Option<String> {
        let late = output::count(self.items.get(), "chain is", "chains are");
        let late = (self.items.get() > 0).then(|| {
            format!("{late} not in order of time: more than {} MiB ended while it was open", HELD_BYTES >> 20)
        });
        let split = self.is_split.get().then(|| {
            format!(
                "chains are in order of time for each recording, not together: they need more than {} MiB",
                MERGED_BYTES >> 20
            )
        });
        let both: Vec<String> = split.into_iter().chain(late).collect();
        (!both.is_empty()).then(|| both.join("; "))
    }
}

/// Passes chains and events to another sink in chronological order.
pub struct Ordered {
    inner: Box<dyn ReportSink>,
    held: BTreeMap<Place, Entry>,
    bytes: usize,
    bytes_limit: usize,
    number: u64,
    /// All streams are in one order of time.
    is_merged: bool,
    /// The streams, each with the time of the last item that was emitted.
    streams: Vec<Option<(Stream, i64)>>,
    /// All earlier streams have ended, so the settled items of this one can be emitted.
    first_open: usize,
    late: Late,
}

impl Ordered {
    /// Creates a reorder buffer in front of `inner`.
    #[must_use]
    pub fn new(inner: Box<dyn ReportSink>) -> Self {
        Self::with_limit(inner, HELD_BYTES)
    }

    /// Creates one that merges several streams.
    #[must_use]
    pub fn merged(inner: Box<dyn ReportSink>) -> Self {
        Self { is_merged: true, ..Self::with_limit(inner, MERGED_BYTES) }
    }

    fn with_limit(inner: Box<dyn ReportSink>, bytes_limit: usize) -> Self {
        let late = Late::default();
        Self {
            inner,
            held: BTreeMap::new(),
            bytes: 0,
            bytes_limit,
            number: 0,
            is_merged: false,
            streams: Vec::new(),
            first_open: 0,
            late,
        }
    }

    /// The counter of late items, to be read at the end.
    #[must_use]
    pub fn late(&self) -> Late {
        self.late.clone()
    }

    /// Ends the merging of streams if their items do not fit into the buffer: from now on they follow each other.
    fn split(&mut self) {
        if !std::mem::take(&mut self.is_merged) {
            return;
        }
        self.late.is_split.set(self.streams.len() > 1);
        self.bytes_limit = self.bytes_limit.min(HELD_BYTES);
        let held = std::mem::take(&mut self.held);
        self.held = held.into_iter().map(|((_, time_ns, number), entry)| ((entry.2, time_ns, number), entry)).collect();
    }

    /// Emits the buffered items of a stream that began before `border_ns`.
    fn settled(&mut self, stream_number: usize, border_ns: i64, names: &Interner) -> io::Result<()> {
        let from = (stream_number, i64::MIN, 0);
        while let Some((place, _)) = self.held.range(from..(stream_number, border_ns, 0)).next() {
            let place = *place;
            self.hand_out(place, names)?;
        }
        Ok(())
    }

    /// Emits a chain and all settled items if its stream allows it; returns false if it must be buffered.
    fn at_once(&mut self, record: &ChainRecord<'_>, time_ns: i64, names: &Interner) -> io::Result<bool> {
        let Some(border_ns) = record.stream.settled_ns.filter(|_| !self.is_merged) else { return Ok(false) };
        while self.first_open < record.stream_number
            && matches!(self.streams.get(self.first_open), Some(Some((first, _))) if first.settled_ns == Some(END_NS))
        {
            // The stream has ended; its remaining items precede those of later streams.
            self.settled(self.first_open, END_NS, names)?;
            self.first_open += 1;
        }
        if record.stream_number != self.first_open {
            return Ok(false);
        }
        self.settled(record.stream_number, border_ns.min(time_ns), names)?;
        if time_ns >= border_ns {
            return Ok(false);
        }
        if let Some(Some((_, last_ns))) = self.streams.get_mut(record.stream_number) {
            self.late.count(last_ns, time_ns);
        }
        self.inner.chain(record, names)?;
        self.settled(record.stream_number, border_ns, names)?;
        Ok(true)
    }

    fn hold(&mut self, place: (usize, i64), held: Held, bytes: usize) {
        self.number += 1;
        let group = if self.is_merged { 0 } else { place.0 };
        self.held.insert((group, place.1, self.number), (held, bytes, place.0));
        self.bytes += bytes;
    }

    /// Updates the stream's state.
    fn arrived(&mut self, stream_number: usize, stream: &Stream) {
        if self.streams.len() <= stream_number {
            self.streams.resize(stream_number + 1, None);
        }
        let Some(known) = self.streams.get_mut(stream_number) else { return };
        let (known, _) = known.get_or_insert_with(|| (Stream::new(&stream.info.source), i64::MIN));
        if known.info.identity.is_none() {
            known.info.clone_from(&stream.info);
        }
        known.settled_ns = stream.settled_ns;
    }

    fn hand_out(&mut self, place: Place, names: &Interner) -> io::Result<()> {
        let (_, time_ns, _) = place;
        let Some((held, bytes, stream_number)) = self.held.remove(&place) else { return Ok(()) };
        self.bytes -= bytes;
        let Some(Some((stream, last_ns))) = self.streams.get_mut(stream_number) else { return Ok(()) };
        self.late.count(last_ns, time_ns);
        match held {
            Held::Chain { item, observations, is_first } => {
                let Item::Chain(chain) = &item else { return Ok(()) };
                let record =
                    ChainRecord { chain, item: &item, observations: &observations, is_first, stream, stream_number };
                self.inner.chain(&record, names)
            }
            Held::Event(event) => self.inner.event(&event, stream, stream_number),
        }
    }
}

/// Size of a buffer entry without its heap data.
const ENTRY_BYTES: usize = size_of::<(Place, Entry)>();

impl ReportSink for Ordered {
    fn chain(&mut self, record: &ChainRecord<'_>, names: &Interner) -> io::Result<()> {
        let (stream_number, time_ns) = (record.stream_number, nanoseconds(record.chain.time));
        self.arrived(stream_number, record.stream);
        if self.at_once(record, time_ns, names)? {
            return Ok(());
        }
        let bytes = ENTRY_BYTES + footprint::of_chain(record.chain) + size_of_val(record.observations);
        let held = Held::Chain {
            item: record.item.clone(),
            observations: record.observations.to_vec(),
            is_first: record.is_first,
        };
        self.hold((stream_number, time_ns), held, bytes);
        if self.bytes > self.bytes_limit {
            self.split();
        }
        while self.bytes > self.bytes_limit {
            let Some((place, _)) = self.held.first_key_value() else { break };
            let place = *place;
            self.hand_out(place, names)?;
        }
        Ok(())
    }

    fn event(&mut self, event: &Event, stream: &Stream, stream_number: usize) -> io::Result<()> {
        let bytes = ENTRY_BYTES + footprint::of_event(event);
        let time_ns = nanoseconds(event.time);
        self.arrived(stream_number, stream);
        if self.bytes + bytes > self.bytes_limit {
            self.split();
        }
        if self.bytes + bytes <= self.bytes_limit {
            self.hold((stream_number, time_ns), Held::Event(event.clone()), bytes);
            return Ok(());
        }
        // Emitting chains needs the names, which this call does not have, so the event is emitted before them.
        if let Some(Some((_, last_ns))) = self.streams.get_mut(stream_number) {
            self.late.count(last_ns, time_ns);
        }
        self.inner.event(event, stream, stream_number)
    }

    fn finish(&mut self, data: &ReportData<'_>) -> io::Result<()> {
        while let Some((place, _)) = self.held.first_key_value() {
            let place = *place;
            self.hand_out(place, data.names)?;
        }
        self.inner.finish(data)
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, collections::BTreeSet, io, rc::Rc};

    use proptest::prelude::*;

    use super::{ChainRecord, END_NS, Event, Interner, Item, Ordered, ReportData, ReportSink, Stream, nanoseconds};
    use crate::{
        chain::samples,
        report::{Aggregates, ReportQuery},
    };

    /// Records stream and time of each item.
    #[derive(Clone, Default)]
    struct Given(Rc<RefCell<Vec<(usize, i64)>>>);

    impl ReportSink for Given {
        fn chain(&mut self, record: &ChainRecord<'_>, _: &Interner) -> io::Result<()> {
            self.0.borrow_mut().push((record.stream_number, nanoseconds(record.chain.time)));
            Ok(())
        }

        fn event(&mut self, event: &Event, _: &Stream, stream_number: usize) -> io::Result<()> {
            self.0.borrow_mut().push((stream_number, nanoseconds(event.time)));
            Ok(())
        }

        fn finish(&mut self, _: &ReportData<'_>) -> io::Result<()> {
            Ok(())
        }
    }

    struct Run {
        ordered: Ordered,
        given: Given,
        names: Interner,
    }

    impl Run {
        fn new(bytes_limit: usize) -> Self {
            let given = Given::default();
            let ordered = Ordered::with_limit(Box::new(given.clone()), bytes_limit);
            Self { ordered, given, names: Interner::default() }
        }

        fn chain(&mut self, stream_number: usize, time_ns: i64) {
            self.settled_chain(stream_number, time_ns, None);
        }

        /// Adds a chain of a stream that is settled up to `settled_ns`.
        fn settled_chain(&mut self, stream_number: usize, time_ns: i64, settled_ns: Option<i64>) {
            let Item::Chain(mut chain) = samples::not_found() else { unreachable!("it is a chain") };
            chain.time = jiff::Timestamp::from_nanosecond(i128::from(time_ns)).unwrap();
            let (item, stream) = (Item::Chain(chain.clone()), Stream::new("a.jsonl"));
            let stream = stream.settled_up_to(settled_ns);
            let record = ChainRecord {
                chain: &chain,
                item: &item,
                observations: &[],
                is_first: false,
                stream: &stream,
                stream_number,
            };
            self.ordered.chain(&record, &self.names).unwrap();
        }

        fn event(&mut self, stream_number: usize, time_ns: i64) {
            let Item::Event(mut event) = samples::unload() else { unreachable!("it is an event") };
            event.time = jiff::Timestamp::from_nanosecond(i128::from(time_ns)).unwrap();
            self.ordered.event(&event, &Stream::new("a.jsonl"), stream_number).unwrap();
        }

        fn finish(&mut self) -> Vec<(usize, i64)> {
            let (aggregates, query) = (Aggregates::default(), ReportQuery::default());
            let data = ReportData { aggregates: &aggregates, names: &self.names, streams: &[], query: &query };
            self.ordered.finish(&data).unwrap();
            self.given.0.borrow().clone()
        }
    }

    /// Several streams are in one order of time; if they do not fit into the buffer, they follow each other, which is reported.
    #[test]
    fn merged_streams_are_in_order_of_time() {
        for (limit, wanted) in [
            (usize::MAX, vec![(1, 1), (0, 2), (1, 3), (0, 4), (1, 5), (0, 6)]),
            (1, vec![(0, 2), (0, 4), (0, 6), (1, 1), (1, 3), (1, 5)]),
        ] {
            let mut run = Run::new(limit);
            run.ordered.is_merged = true;
            for (stream, time) in [(0, 4), (0, 2), (1, 1), (0, 6)] {
                run.settled_chain(stream, time, Some(if stream == 0 { 0 } else { END_NS }));
            }
            run.event(1, 5);
            run.chain(1, 3);
            let given = run.finish();
            if limit == 1 {
                let mut sorted = given;
                sorted.sort_unstable();
                assert_eq!(sorted, wanted);
                let sentence = run.ordered.late().sentence().unwrap_or_default();
                assert!(!run.ordered.is_merged && run.ordered.held.is_empty(), "{sentence}");
            } else {
                assert_eq!(given, wanted);
                assert_eq!(run.ordered.late().sentence(), None);
            }
        }
        let mut run = Run::new(usize::MAX);
        run.ordered.is_merged = true;
        run.chain(0, 9);
        run.chain(1, 3);
        run.ordered.split();
        run.chain(0, 1);
        assert_eq!(run.finish(), [(0, 1), (0, 9), (1, 3)]);
        assert!(run.ordered.late().sentence().unwrap().starts_with("chains are in order of time for each recording"));
    }

    /// Items of a stream are emitted only after all earlier streams have ended.
    #[test]
    fn stream_waits_for_earlier_streams() {
        let mut run = Run::new(usize::MAX);
        run.settled_chain(0, 10, Some(5));
        run.settled_chain(1, 3, Some(END_NS));
        assert_eq!(run.given.0.borrow().len(), 0, "the first stream may have an earlier chain");
        run.settled_chain(0, 7, Some(END_NS));
        assert_eq!(*run.given.0.borrow(), [(0, 7), (0, 10)], "chains before the limit are emitted");
        run.settled_chain(1, 4, Some(END_NS));
        assert_eq!(run.finish(), [(0, 7), (0, 10), (1, 3), (1, 4)]);
        assert!(run.ordered.late().sentence().is_none());
    }

    proptest! {
        /// Chains of any duration are emitted in the order of their beginnings, and settled ones are not buffered.
        #[test]
        fn chains_of_any_duration_are_in_order(spans in proptest::collection::vec((0_i64..200, 0_i64..50, any::<bool>()), 1..60)) {
            let mut run = Run::new(usize::MAX);
            let mut open: BTreeSet<(i64, usize)> =
                spans.iter().enumerate().map(|(number, span)| (span.0, number)).collect();
            let mut ends: Vec<(i64, usize)> =
                spans.iter().enumerate().map(|(number, (begin, length, _))| (begin + length, number)).collect();
            ends.sort_unstable();
            for (_, number) in ends {
                let (begin, _, is_event) = spans[number];
                open.remove(&(begin, number));
                let border = open.first().map_or(i64::MAX, |(begin, _)| *begin);
                if is_event {
                    run.event(0, begin);
                    continue;
                }
                run.settled_chain(0, begin, Some(border));
                let waiting = run.ordered.held.keys().filter(|(_, time_ns, _)| *time_ns < border).count();
                prop_assert_eq!(waiting, 0);
            }
            let mut wanted: Vec<(usize, i64)> = spans.iter().map(|(begin, ..)| (0, *begin)).collect();
            wanted.sort_unstable();
            prop_assert_eq!(run.finish(), wanted);
            prop_assert_eq!(run.ordered.late().sentence(), None);
        }

        /// The buffer never exceeds its limit and loses nothing; late items are counted.
        #[test]
        fn buffer_over_limit_emits_early(
            times in proptest::collection::vec((0_usize..2, 0_i64..1000, any::<bool>()), 1..80),
            limit in 0_usize..60_000,
        ) {
            let mut run = Run::new(limit);
            for (stream_number, time_ns, is_event) in &times {
                if *is_event { run.event(*stream_number, *time_ns) } else { run.chain(*stream_number, *time_ns) }
                prop_assert!(run.ordered.bytes <= limit);
            }
            let given = run.finish();
            prop_assert_eq!(run.ordered.bytes, 0);
            let mut sorted = given.clone();
            sorted.sort_unstable();
            let mut wanted: Vec<(usize, i64)> = times.iter().map(|(number, time_ns, _)| (*number, *time_ns)).collect();
            wanted.sort_unstable();
            prop_assert_eq!(sorted, wanted);
            for number in 0..2 {
                let of: Vec<i64> = given.iter().filter(|(own, _)| *own == number).map(|(_, time_ns)| *time_ns).collect();
                prop_assert!(of.is_sorted() || run.ordered.late.items.get() > 0, "{:?}", of);
            }
        }
    }
}
