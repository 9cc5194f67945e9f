//! How often a trace looks at the clock, and when there is nothing to do.

use std::time::Duration;

use tokio::time::Instant;

/// How often what only time can settle is settled, and the ring is read by the clock.
const TICK: Duration = Duration::from_millis(200);

/// The same while nothing has happened for [`CALM`] and nothing is under way: who loads no modules pays next to nothing.
const IDLE_TICK: Duration = Duration::from_secs(1);

/// The same after [`QUIET`]: what comes wakes this process by itself, so that the clock is for what was missed alone.
const QUIET_TICK: Duration = Duration::from_secs(5);

/// How long nothing has happened on a machine where nothing happens.
const QUIET: Duration = Duration::from_secs(10);

/// After the last record there may be something to settle yet, and a frame to close.
const CALM: Duration = Duration::from_secs(2);

/// How much there is to do, most first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Rest {
    #[default]
    Busy,
    /// Nothing comes; something is under way.
    Waiting,
    /// Nothing is under way either.
    Calm,
}

/// The times that a trace goes by.
#[derive(Debug)]
pub(super) struct Pace {
    tick_at: Instant,
    read_at: Instant,
    rest: Rest,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Self { tick_at: now + TICK, read_at: now, rest: Rest::Busy }
    }

    /// When the clock is to be looked at next.
    pub(super) const fn tick_at(&self) -> Instant {
        self.tick_at
    }

    /// When something was read last.
    pub(super) const fn read_at(&self) -> Instant {
        self.read_at
    }

    /// Something was read.
    pub(super) fn read(&mut self, now: Instant) {
        self.read_at = now;
    }

    /// Whether there is less to do than when this was asked last: then what was needed for it can be given back.
    pub(super) fn has_calmed(&mut self, now: Instant, is_idle: bool) -> bool {
        let rest = match (now.duration_since(self.read_at) > CALM, is_idle) {
            (false, _) => Rest::Busy,
            (true, false) => Rest::Waiting,
            (true, true) => Rest::Calm,
        };
        rest > std::mem::replace(&mut self.rest, rest)
    }

    /// Sets when the clock is to be looked at next; at `deadline` at the latest, as long as that is to come.
    pub(super) fn set_next_tick(&mut self, now: Instant, was_tick: bool, deadline: Option<Instant>) {
        let next = match (self.rest, was_tick) {
            (Rest::Calm, true) if now.duration_since(self.read_at) > QUIET => now + QUIET_TICK,
            (Rest::Calm, true) => now + IDLE_TICK,
            (Rest::Calm, false) => self.tick_at,
            (_, true) => now + TICK,
            (_, false) => self.tick_at.min(now + TICK),
        };
        // Once it is over there is nothing more to be in time for.
        self.tick_at = deadline.filter(|deadline| *deadline > now).map_or(next, |deadline| next.min(deadline));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{IDLE_TICK, Pace, QUIET_TICK, TICK};

    /// Check that memory is given back once when nothing comes, once when nothing is under way any more, and again
    /// after something came.
    #[test]
    fn calms_in_two_steps() {
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let mut pace = Pace::new(begin);
        let asked = [(1, true), (3, false), (4, false), (8, true), (9, true), (10, false), (11, true)];
        let calmed = asked.map(|(seconds, is_idle)| pace.has_calmed(at(seconds), is_idle));
        assert_eq!(calmed, [false, true, false, true, false, false, true]);
        pace.read(at(12));
        assert_eq!([13, 15].map(|seconds| pace.has_calmed(at(seconds), true)), [false, true]);
    }

    /// Check that the clock slows down with what there is to do, hurries when something comes, and keeps a deadline.
    #[test]
    fn ticks_by_what_there_is_to_do() {
        let begin = Instant::now();
        let mut pace = Pace::new(begin);
        let mut next = |seconds, is_idle, was_tick, deadline: Option<u64>| {
            let now = begin + Duration::from_secs(seconds);
            pace.has_calmed(now, is_idle);
            pace.set_next_tick(now, was_tick, deadline.map(|deadline| begin + Duration::from_secs(deadline)));
            pace.tick_at() - now
        };
        assert_eq!(next(1, true, true, None), TICK);
        assert_eq!(next(3, false, true, None), TICK);
        assert_eq!(next(4, true, true, None), IDLE_TICK);
        assert_eq!(next(11, true, true, None), QUIET_TICK);
        assert_eq!(next(12, true, false, None), QUIET_TICK - Duration::from_secs(1));
        assert_eq!(next(13, false, false, None), TICK);
        assert_eq!(next(14, true, true, Some(17)), Duration::from_secs(3));
        assert_eq!(next(18, true, true, Some(17)), QUIET_TICK);
    }
}
