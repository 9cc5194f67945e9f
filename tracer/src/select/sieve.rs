//! Events in, what is selected out. With a selector, a chain's events wait until it has ended: only then is it
//! known whether it is meant.

use std::collections::{HashMap, VecDeque};

use super::{Match, Selector};
use crate::{
    chain::{self, Chain, ChainKey, Issue, Item, Part},
    event::Event,
};

/// What comes out.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Sifted {
    /// An event.
    Event(Box<Event>),
    /// A chain or event that is finished. Its events came before it.
    Item(Item),
}

/// An event and its place in the stream.
type Placed = (u64, Event);

/// Builds chains and lets through those that are selected.
#[derive(Debug, Default)]
pub struct Sieve {
    selector: Selector,
    chains: chain::Builder,
    /// Events of chains that have not ended, with their place in the stream.
    held: HashMap<ChainKey, Vec<Placed>>,
    taken: u64,
    ready: VecDeque<Sifted>,
    undecided: u64,
}

impl Sieve {
    /// A sieve for a selector.
    #[must_use]
    pub fn new(selector: Selector) -> Self {
        Self { selector, ..Self::default() }
    }

    /// Takes the next event of a stream.
    pub fn push(&mut self, event: Event) {
        if self.selector.is_empty() {
            self.ready.push_back(Sifted::Event(Box::new(event.clone())));
            self.chains.push(event);
            while let Some(item) = self.chains.next_item() {
                self.sift(item);
            }
            return;
        }
        let key = ChainKey::of(&event);
        let mut present = key.map(|key| (key, (self.taken, event.clone())));
        self.taken += u64::from(key.is_some());
        self.chains.push(event);
        let items: Vec<Item> = std::iter::from_fn(|| self.chains.next_item()).collect();
        // The event belongs to the chain that is open now, or else to the last one that came out. What came out before
        // that had to make room, and has the events before this one.
        let last = match key {
            Some(key) if !self.chains.is_open(&key) => items.iter().rposition(|item| holds(item, &key)),
            _ => None,
        };
        let is_nested = last.is_none() && key.is_some_and(|key| !self.chains.is_open(&key));
        if is_nested {
            self.hold(present.take());
        }
        for (number, item) in items.into_iter().enumerate() {
            if last == Some(number) {
                self.hold(present.take());
            }
            match &item {
                Item::Chain(chain) if chain.part == Part::Duplicate && Some(chain.key) == key => {
                    let event = present.take().map(|(_, event)| event);
                    self.sift_with(item, event.into_iter().collect());
                }
                _ => self.sift(item),
            }
        }
        self.hold(present);
    }

    fn hold(&mut self, event: Option<(ChainKey, Placed)>) {
        if let Some((key, event)) = event {
            self.held.entry(key).or_default().push(event);
        }
    }

    /// The next event or item that is selected.
    pub fn next_sifted(&mut self) -> Option<Sifted> {
        self.ready.pop_front()
    }

    /// Ends the stream: what is unfinished is handed out as it is.
    pub fn finish(&mut self) {
        for item in self.chains.finish() {
            self.sift(item);
        }
        self.held.clear();
    }

    /// Chains and events of which it is not known whether they are meant: what would decide was not seen.
    #[must_use]
    pub const fn undecided(&self) -> u64 {
        self.undecided
    }

    /// What is wrong with the ids of the stream, as far as it was found since this was asked last.
    pub fn take_issues(&mut self) -> Vec<Issue> {
        self.chains.take_issues()
    }

    /// Requests that are under way, longest first, as far as they are known and selected.
    pub fn running(&self) -> impl Iterator<Item = &Chain> {
        self.chains.running().filter(|chain| self.selector.selects(&super::Subject::chain(chain)))
    }

    fn sift(&mut self, item: Item) {
        let mut events = Vec::new();
        match &item {
            _ if self.selector.is_empty() => {
                self.ready.push_back(Sifted::Item(item));
                return;
            }
            Item::Chain(chain) => self.release(chain, &mut events),
            Item::Event(event) => events.push((self.taken, event.as_ref().clone())),
        }
        self.sift_with(item, events);
    }

    fn sift_with(&mut self, item: Item, mut events: Vec<Placed>) {
        let matches = self.selector.matches_item(&item);
        self.undecided += u64::from(matches == Match::Maybe);
        if self.selector.selects_item(&item) {
            events.sort_unstable_by_key(|(place, _)| *place);
            self.ready.extend(events.into_iter().map(|(_, event)| Sifted::Event(Box::new(event))));
            self.ready.push_back(Sifted::Item(item));
        }
    }

    /// Takes out the events of a chain and of all that is nested in it.
    fn release(&mut self, chain: &Chain, into: &mut Vec<Placed>) {
        into.extend(self.held.remove(&chain.key).unwrap_or_default());
        for nested in &chain.nested {
            self.release(nested, into);
        }
    }
}

/// Whether an item is the chain of a key, or one in which that is nested.
fn holds(item: &Item, key: &ChainKey) -> bool {
    fn is_in(chain: &Chain, key: &ChainKey) -> bool {
        (chain.key == *key && chain.part != Part::Duplicate) || chain.nested.iter().any(|nested| is_in(nested, key))
    }
    matches!(item, Item::Chain(chain) if is_in(chain, key))
}
