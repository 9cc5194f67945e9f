//! Pseudo-random numbers that are the same for a seed on every machine and in every version.

/// SplitMix64.
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from `from` to `to`, exclusive.
    pub(super) fn range(&mut self, from: u64, to: u64) -> u64 {
        from + self.next() % (to - from).max(1)
    }

    /// True with a probability of `chance` percent.
    pub(super) fn percent(&mut self, chance: u64) -> bool {
        self.range(0, 100) < chance
    }

    /// One of the items. Earlier items are chosen more often, as in real captures.
    pub(super) fn skewed<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        let size = u64::try_from(all.len()).ok()?;
        let place = self.range(0, size.max(1)).min(self.range(0, size.max(1)));
        all.get(usize::try_from(place).ok()?)
    }
}
