//! Memory limits of open chains, and eviction.

use std::cmp::Reverse;

use super::{Builder, Early, Number};

/// Limits of a builder. Chains beyond them are emitted early and marked; nothing is omitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Maximum number of open chains; beyond it the oldest is emitted.
    pub chains: usize,
    /// Maximum size of all open chains, bytes; beyond it the largest is emitted.
    pub bytes: usize,
    /// Maximum size of one chain with its nested chains, bytes: a larger one is emitted, and the remainder is a
    /// separate chain ([`Part::Rest`](super::Part::Rest)).
    pub chain_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { chains: 65_536, bytes: 64 << 20, chain_bytes: 16 << 20 }
    }
}

impl Builder {
    /// Emits chains beyond the limits, after an event of this chain.
    pub(super) fn keep_limits(&mut self, number: Option<Number>) {
        if let Some(number) = number.filter(|number| self.lacks_room(*number, 0)) {
            self.evict(number, Early::TooLarge(self.limits.chain_bytes));
        }
        self.shrink_to(self.limits.bytes);
        while self.open.len() > self.limits.chains {
            let Some(oldest) = self.open.keys().next().copied() else { break };
            self.evict(oldest, Early::TooMany);
        }
    }

    /// Returns whether a chain would be too large with `bytes` more.
    pub(super) fn lacks_room(&self, number: Number, more: usize) -> bool {
        self.open.get(&number).is_some_and(|open| open.bytes.saturating_add(more) > self.limits.chain_bytes)
    }

    /// Emits a chain early.
    pub(super) fn evict(&mut self, number: Number, early: Early) {
        if let Some(open) = self.open.get_mut(&number) {
            open.early = Some(early);
        }
        let parent = self.detach(number);
        self.emit(number);
        self.emit_if_done(parent);
    }

    /// Updates the accounted size of a chain.
    pub(super) fn grow(&mut self, number: Number, bytes: usize) {
        if let Some(open) = self.open.get_mut(&number) {
            let (before, now) = (open.bytes, open.bytes + bytes);
            open.bytes = now;
            self.bytes += bytes;
            if before.ilog2() != now.ilog2() {
                self.sizes.remove(&(before.ilog2(), Reverse(number)));
                self.sizes.insert((now.ilog2(), Reverse(number)));
            }
        }
    }
}
