//! Selection: passes on the part of a stream that the filters select.

use std::io;

use super::{Consumer, Issue, StreamInfo, StreamSummary};
use crate::{
    chain::{Chain, Item},
    event::{Body, End, Event},
    select::{ChainFilter, Selected, Selector},
};

/// Passes on the selected chains of one live stream with their events. The selected events are numbered without gaps,
/// the header names the filters, and `end` contains the totals of the selected events.
#[derive(Debug)]
pub struct Selection<C> {
    consumer: C,
    /// Absent if everything is selected.
    filtered: Option<Filtered>,
}

#[derive(Debug)]
struct Filtered {
    filter: ChainFilter,
    filters: Vec<String>,
    next_seq: u64,
    totals: End,
}

impl<C: Consumer> Selection<C> {
    /// Creates a selection in front of `consumer`.
    #[must_use]
    pub fn new(selector: Selector, consumer: C) -> Self {
        let filtered = (!selector.is_empty()).then(|| Filtered {
            filters: selector.describe(),
            filter: ChainFilter::new(selector),
            next_seq: 0,
            totals: End::default(),
        });
        Self { consumer, filtered }
    }

    /// The consumer.
    pub const fn consumer(&mut self) -> &mut C {
        &mut self.consumer
    }

    /// Returns the consumer at the end.
    pub fn into_consumer(self) -> C {
        self.consumer
    }

    fn pass_on(&mut self, stream: &StreamInfo) -> io::Result<()> {
        let Some(filtered) = &mut self.filtered else { return Ok(()) };
        while let Some(selected) = filtered.filter.next_selected() {
            match selected {
                Selected::Event(mut event) => {
                    event.seq = filtered.next_seq;
                    filtered.next_seq += 1;
                    filtered.totals.count(&event.body);
                    match &mut event.body {
                        Body::Header(header) => header.filters.clone_from(&filtered.filters),
                        Body::End(end) => end.clone_from(&filtered.totals),
                        _ => {}
                    }
                    self.consumer.event(&event, stream)?;
                }
                Selected::Item(item) => self.consumer.item(&item, stream)?,
            }
        }
        Ok(())
    }
}

impl<C: Consumer> Consumer for Selection<C> {
    fn event(&mut self, event: &Event, stream: &StreamInfo) -> io::Result<()> {
        let Some(filtered) = &mut self.filtered else { return self.consumer.event(event, stream) };
        filtered.filter.push(event.clone());
        self.pass_on(stream)
    }

    fn wants_items(&self) -> bool {
        self.filtered.is_none() && self.consumer.wants_items()
    }

    fn item(&mut self, item: &Item, stream: &StreamInfo) -> io::Result<()> {
        // Filters need the events of a chain together with it, so filtered chains come from the filter.
        if self.filtered.is_none() { self.consumer.item(item, stream) } else { Ok(()) }
    }

    fn tick(&mut self, running: &mut dyn Iterator<Item = &Chain>, boot_ns: u64) -> io::Result<()> {
        match &self.filtered {
            None => self.consumer.tick(running, boot_ns),
            Some(filtered) => self.consumer.tick(&mut filtered.filter.running(), boot_ns),
        }
    }

    fn settle(&mut self) -> io::Result<bool> {
        self.consumer.settle()
    }

    fn issue(&mut self, issue: &Issue) {
        self.consumer.issue(issue);
    }

    fn end(&mut self, stream: &StreamSummary<'_>) -> io::Result<()> {
        if let Some(filtered) = &mut self.filtered {
            filtered.filter.finish();
        }
        self.pass_on(stream.info)?;
        self.consumer.end(stream)
    }

    fn finish(&mut self) -> io::Result<()> {
        self.consumer.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{chain::samples, stream::Pipeline};

    /// Records what it receives.
    #[derive(Default)]
    struct Notes {
        events: Vec<Event>,
        chains: usize,
    }

    impl Consumer for Notes {
        fn event(&mut self, event: &Event, _: &StreamInfo) -> io::Result<()> {
            self.events.push(event.clone());
            Ok(())
        }

        fn item(&mut self, item: &Item, _: &StreamInfo) -> io::Result<()> {
            self.chains += usize::from(matches!(item, Item::Chain(_)));
            Ok(())
        }
    }

    fn select(selector: &str) -> Notes {
        let selector = if selector.is_empty() { Selector::default() } else { selector.parse().unwrap() };
        let mut pipeline = Pipeline::new(Selection::new(selector, Notes::default()));
        let id = pipeline.begin("");
        for event in samples::events() {
            pipeline.event(id, event).unwrap();
        }
        pipeline.finish().unwrap().0.into_consumer()
    }

    /// Without filters, everything is passed on unchanged.
    #[test]
    fn selection_without_filters_passes_everything() {
        let notes = select("");
        assert_eq!(notes.events, samples::events());
        assert!(notes.chains > 0);
    }

    /// Selected events are numbered without gaps, and the header names the filters.
    #[test]
    fn selection_with_filters_renumbers_events() {
        let (all, selected) = (select(""), select("alias=fs-nothing-like-this"));
        assert_eq!(selected.chains, 0);
        assert!(!selected.events.is_empty() && selected.events.len() < all.events.len());
        for (seq, event) in (0..).zip(&selected.events) {
            assert_eq!(event.seq, seq);
            match &event.body {
                Body::Header(header) => assert!(!header.filters.is_empty()),
                Body::End(end) => assert_eq!(end.requests, 0),
                _ => {}
            }
        }
    }
}
