//! Events in, what is selected out. With a selector, a chain's events wait until it has ended: only then is it
//! known whether it is meant.

use std::collections::{HashMap, VecDeque};

use super::{Match, Selector};
use crate::{
    chain::{self, Chain, ChainKey, Item},
    event::Event,
};

/// What comes out.
#[derive(Clone, Debug, PartialEq)]
pub enum Sifted {
    /// An event.
    Event(Box<Event>),
    /// A chain or event that is finished. Its events came before it.
    Item(Item),
}

/// Builds chains and lets through those that are selected.
#[derive(Debug, Default)]
pub struct Sieve {
    selector: Selector,
    chains: chain::Builder,
    /// Events of chains that have not ended, with their place in the stream.
    held: HashMap<ChainKey, Vec<(u64, Event)>>,
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
        } else if let Some(key) = ChainKey::of(&event) {
            self.held.entry(key).or_default().push((self.taken, event.clone()));
            self.taken += 1;
        }
        self.chains.push(event);
        while let Some(item) = self.chains.next_item() {
            self.sift(item);
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

    /// Requests that are under way, longest first, as far as they are known and selected.
    pub fn running(&self) -> impl Iterator<Item = &Chain> {
        self.chains.running().filter(|chain| self.selector.selects(&super::Subject::chain(chain)))
    }

    fn sift(&mut self, item: Item) {
        if self.selector.is_empty() {
            self.ready.push_back(Sifted::Item(item));
            return;
        }
        let is_selected = self.selector.selects_item(&item);
        self.undecided += u64::from(self.selector.matches_item(&item) == Match::Maybe);
        let mut events = Vec::new();
        match &item {
            Item::Chain(chain) => self.release(chain, &mut events),
            Item::Event(event) => events.push((self.taken, event.as_ref().clone())),
        }
        if is_selected {
            events.sort_unstable_by_key(|(place, _)| *place);
            self.ready.extend(events.into_iter().map(|(_, event)| Sifted::Event(Box::new(event))));
            self.ready.push_back(Sifted::Item(item));
        }
    }

    /// Takes out the events of a chain and of all that is nested in it.
    fn release(&mut self, chain: &Chain, into: &mut Vec<(u64, Event)>) {
        into.extend(self.held.remove(&chain.key).unwrap_or_default());
        for nested in &chain.nested {
            self.release(nested, into);
        }
    }
}
