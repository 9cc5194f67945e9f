//! Filters a stream of events by chain. The events of a chain are buffered until it has ended, because only then the
//! selector can decide.

use std::collections::{HashMap, VecDeque};

use super::{Match, Selector};
use crate::{
    chain::{self, Chain, ChainKey, Issue, Item, Part},
    event::Event,
};

/// An output of the filter.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Selected {
    /// An event.
    Event(Box<Event>),
    /// A complete chain or event. Its events were returned before it.
    Item(Item),
}

/// An event with its position in the stream.
type Numbered = (u64, Event);

/// Builds chains and returns the selected ones with their events.
#[derive(Debug, Default)]
pub struct ChainFilter {
    selector: Selector,
    chains: chain::Builder,
    /// Events of chains that have not ended, with their positions in the stream.
    pending: HashMap<ChainKey, Vec<Numbered>>,
    received: u64,
    ready: VecDeque<Selected>,
    undecided: u64,
}

impl ChainFilter {
    /// Creates a filter for a selector.
    #[must_use]
    pub fn new(selector: Selector) -> Self {
        Self { selector, ..Self::default() }
    }

    /// Adds the next event of the stream.
    pub fn push(&mut self, event: Event) {
        if self.selector.is_empty() {
            self.ready.push_back(Selected::Event(Box::new(event.clone())));
            self.chains.push(event);
            while let Some(item) = self.chains.next_item() {
                self.emit(item);
            }
            return;
        }
        let key = ChainKey::of(&event);
        let mut present = key.map(|key| (key, (self.received, event.clone())));
        self.received += u64::from(key.is_some());
        self.chains.push(event);
        let items: Vec<Item> = std::iter::from_fn(|| self.chains.next_item()).collect();
        // The event belongs to the chain that is open now, or else to the last one that was completed. A chain that was
        // completed before it was evicted, and has the events before this one.
        let last = match key {
            Some(key) if !self.chains.is_open(&key) => items.iter().rposition(|item| contains(item, &key)),
            _ => None,
        };
        let is_nested = last.is_none() && key.is_some_and(|key| !self.chains.is_open(&key));
        if is_nested {
            self.keep_pending(present.take());
        }
        for (number, item) in items.into_iter().enumerate() {
            if last == Some(number) {
                self.keep_pending(present.take());
            }
            match &item {
                Item::Chain(chain) if chain.part == Part::Duplicate && Some(chain.key) == key => {
                    let event = present.take().map(|(_, event)| event);
                    self.emit_with(item, event.into_iter().collect());
                }
                _ => self.emit(item),
            }
        }
        self.keep_pending(present);
    }

    fn keep_pending(&mut self, event: Option<(ChainKey, Numbered)>) {
        if let Some((key, event)) = event {
            self.pending.entry(key).or_default().push(event);
        }
    }

    /// The next selected event or item.
    pub fn next_selected(&mut self) -> Option<Selected> {
        self.ready.pop_front()
    }

    /// Ends the stream: incomplete chains are processed as they are.
    pub fn finish(&mut self) {
        for item in self.chains.finish() {
            self.emit(item);
        }
        self.pending.clear();
    }

    /// Number of chains and events for which the selector could not decide, because relevant values were not seen.
    #[must_use]
    pub const fn undecided(&self) -> u64 {
        self.undecided
    }

    /// Issues with the ids of the stream that were found since the last call.
    pub fn take_issues(&mut self) -> Vec<Issue> {
        self.chains.take_issues()
    }

    /// Selected requests in flight, longest first, as far as they are known.
    pub fn running(&self) -> impl Iterator<Item = &Chain> {
        self.chains.running().filter(|chain| self.selector.selects(&super::Subject::chain(chain)))
    }

    fn emit(&mut self, item: Item) {
        let mut events = Vec::new();
        match &item {
            _ if self.selector.is_empty() => {
                self.ready.push_back(Selected::Item(item));
                return;
            }
            Item::Chain(chain) => self.release(chain, &mut events),
            Item::Event(event) => events.push((self.received, event.as_ref().clone())),
        }
        self.emit_with(item, events);
    }

    fn emit_with(&mut self, item: Item, mut events: Vec<Numbered>) {
        let matches = self.selector.matches_item(&item);
        self.undecided += u64::from(matches == Match::Maybe);
        if self.selector.selects_item(&item) {
            events.sort_unstable_by_key(|(place, _)| *place);
            self.ready.extend(events.into_iter().map(|(_, event)| Selected::Event(Box::new(event))));
            self.ready.push_back(Selected::Item(item));
        }
    }

    /// Removes the events of a chain and of its nested chains.
    fn release(&mut self, chain: &Chain, into: &mut Vec<Numbered>) {
        into.extend(self.pending.remove(&chain.key).unwrap_or_default());
        for nested in &chain.nested {
            self.release(nested, into);
        }
    }
}

/// Whether an item is the chain with this key, or one in which it is nested.
fn contains(item: &Item, key: &ChainKey) -> bool {
    fn is_in(chain: &Chain, key: &ChainKey) -> bool {
        (chain.key == *key && chain.part != Part::Duplicate) || chain.nested.iter().any(|nested| is_in(nested, key))
    }
    matches!(item, Item::Chain(chain) if is_in(chain, key))
}
