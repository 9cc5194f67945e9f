//! A stream of events: its chains, and whether it is whole.

use super::evidence::Evidence;
use crate::{
    chain::{self, Item},
    event::Event,
};

/// Builds chains and keeps account of what is missing.
#[derive(Debug)]
pub struct Stream {
    chains: chain::Builder,
    evidence: Evidence,
}

impl Stream {
    /// A stream with a name; it stands before every doubt, unless it is empty.
    #[must_use]
    pub fn new(source: &str) -> Self {
        Self { chains: chain::Builder::new(), evidence: Evidence::of(source) }
    }

    /// Whether an event goes on where this stream stopped without an end: it was cut into several files.
    #[must_use]
    pub const fn continues(&self, event: &Event) -> bool {
        self.evidence.continues(event)
    }

    /// Takes the next event, numbered without gaps, and gives what it ends.
    pub fn event(&mut self, event: Event) -> Vec<Item> {
        self.evidence.event(&event);
        self.evidence.unattributed(&event);
        self.chains.push(event);
        let items: Vec<Item> = std::iter::from_fn(|| self.chains.next_item()).collect();
        items.iter().for_each(|item| self.evidence.item(item));
        items
    }

    /// Takes note of an event outside of the stream: what is nobody's may belong to it.
    pub fn stray(&mut self, event: &Event) {
        self.evidence.stray(event);
    }

    /// Takes note of something that was not seen.
    pub fn doubt(&mut self, doubt: String) {
        self.evidence.doubt(doubt);
    }

    /// Ends it: what was unfinished, as it is.
    pub fn end(&mut self) -> Vec<Item> {
        let items = self.chains.finish();
        items.iter().for_each(|item| self.evidence.item(item));
        items
    }

    /// All that was not seen, in words; nothing for a whole stream that was ended.
    #[must_use]
    pub fn doubts(self) -> Vec<String> {
        self.evidence.finish()
    }
}
