//! Activity over time, in a bounded number of buckets for any duration.

use serde::Serialize;

use crate::event::Status;

/// Maximum number of buckets.
const BUCKETS_LIMIT: usize = 400;

/// Minimum width of a bucket: one second.
const WIDTH_MIN_MS: i64 = 1000;

/// Counts by bucket: successful, doubtful and failed outcomes.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Timeline {
    /// Start of the first bucket: milliseconds since 1970.
    begin: i64,
    /// Width of a bucket, milliseconds.
    width: i64,
    buckets: Vec<[u64; 3]>,
}

impl Default for Timeline {
    fn default() -> Self {
        Self { begin: 0, width: WIDTH_MIN_MS, buckets: Vec::new() }
    }
}

impl Timeline {
    /// Counts an outcome.
    pub(super) fn add(&mut self, time_ns: i64, status: Status) {
        let time = time_ns.div_euclid(1_000_000);
        if self.buckets.is_empty() {
            self.begin = time - time.rem_euclid(self.width);
        }
        while self.place(time).is_none() {
            self.widen();
        }
        let Some(place) = self.place(time) else { return };
        if place.before > 0 {
            self.buckets.splice(0..0, std::iter::repeat_n([0; 3], place.before));
            self.begin -= self.width.saturating_mul(i64::try_from(place.before).unwrap_or(0));
        }
        if self.buckets.len() <= place.index {
            self.buckets.resize(place.index + 1, [0; 3]);
        }
        let kind = match status {
            Status::Loaded | Status::AlreadyLoaded => 0,
            Status::NotWaited | Status::Unknown | Status::NotFound | Status::BuiltIn => 1,
            _ => 2,
        };
        if let Some(count) = self.buckets.get_mut(place.index).and_then(|bucket| bucket.get_mut(kind)) {
            *count += 1;
        }
    }

    /// The bucket of a time; `None` if it would exceed the maximum number of buckets.
    fn place(&self, time: i64) -> Option<Place> {
        let index = (time - self.begin).div_euclid(self.width);
        let before = usize::try_from(-index.min(0)).ok()?;
        let index = usize::try_from(index.max(0)).ok()?;
        let count = before + self.buckets.len().max(index + 1);
        (count <= BUCKETS_LIMIT).then_some(Place { before, index })
    }

    /// Doubles the bucket width by merging pairs.
    fn widen(&mut self) {
        let width = self.width.saturating_mul(2);
        let begin = self.begin - self.begin.rem_euclid(width);
        if begin < self.begin {
            self.buckets.insert(0, [0; 3]);
        }
        let merged = self.buckets.chunks(2).map(|pair| {
            pair.iter().fold([0; 3], |mut sum: [u64; 3], counts| {
                sum.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
                sum
            })
        });
        self.buckets = merged.collect();
        (self.begin, self.width) = (begin, width);
    }
}

/// The position of a bucket.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// Buckets to insert at the front.
    before: usize,
    /// Index of the bucket after that.
    index: usize,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{BUCKETS_LIMIT, Timeline};
    use crate::event::Status;

    proptest! {
        /// Every outcome is counted in the bucket of its time, and the number of buckets is bounded.
        #[test]
        fn any_times_are_counted_in_their_bucket(seconds in proptest::collection::vec(0_i64..2_000_000_000, 1..60)) {
            let mut timeline = Timeline::default();
            for second in &seconds {
                timeline.add(second * 1_000_000_000, Status::Loaded);
            }
            prop_assert!(timeline.buckets.len() <= BUCKETS_LIMIT);
            let mut wanted = vec![0; timeline.buckets.len()];
            for second in &seconds {
                wanted[usize::try_from((second * 1000 - timeline.begin) / timeline.width).unwrap()] += 1;
            }
            let counted: Vec<u64> = timeline.buckets.iter().map(|bucket| bucket[0]).collect();
            prop_assert_eq!(counted, wanted);
        }
    }
}
