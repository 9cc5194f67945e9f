//! What open chains may take, and which of them makes room.

use std::cmp::Reverse;

use super::{Builder, Early, Number};

/// What a builder keeps at most. What has no room comes out before its end and says so; nothing is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Chains that are open: with more of them the oldest comes out.
    pub chains: usize,
    /// All open chains together, bytes: with more the largest comes out.
    pub bytes: usize,
    /// One chain with all that is nested in it, bytes: a larger one comes out, and what follows is a chain of its own
    /// ([`Part::Rest`](super::Part::Rest)).
    pub chain_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { chains: 65_536, bytes: 64 << 20, chain_bytes: 16 << 20 }
    }
}

impl Builder {
    /// Hands out what has no room, after an event of this chain.
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

    /// Whether a chain would be too large with so much more.
    pub(super) fn lacks_room(&self, number: Number, more: usize) -> bool {
        self.open.get(&number).is_some_and(|open| open.bytes.saturating_add(more) > self.limits.chain_bytes)
    }

    /// Hands a chain out before its end.
    pub(super) fn evict(&mut self, number: Number, early: Early) {
        if let Some(open) = self.open.get_mut(&number) {
            open.early = Some(early);
        }
        let parent = self.detach(number);
        self.hand_out(number);
        self.hand_out_if_done(parent);
    }

    /// Notes that a chain takes more than it did.
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
