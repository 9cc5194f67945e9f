//! How often a trace looks into the ring and at the clock, and when there is nothing to do.

use std::time::Duration;

use tokio::time::Instant;

/// How long a trace looks into the ring by itself after the last record: to be woken costs whoever is traced more than all
/// else. A request has several records.
const AWAKE: Duration = Duration::from_millis(100);

/// How often it looks meanwhile: a person does not see the difference.
const LOOK: Duration = Duration::from_millis(20);

/// The same where there was much to read: the ring must not run full.
const LOOK_SOON: Duration = Duration::from_millis(2);

/// Records that are much: of a ring of 4 MiB, a twentieth.
const MANY: usize = 128;

/// How often what only time can settle is settled, and the ring is read by the clock.
const TICK: Duration = Duration::from_millis(200);

/// The same while nothing has happened for [`CALM`] and nothing is under way: who loads no modules pays next to nothing.
const IDLE_TICK: Duration = Duration::from_secs(1);

/// The same after [`QUIET`]: what comes wakes this process by itself, so that the clock is for what was missed alone.
const QUIET_TICK: Duration = Duration::from_secs(30);

/// How long nothing has happened on a machine where nothing happens.
const QUIET: Duration = Duration::from_secs(4);

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
    read_many: bool,
    rest: Rest,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Self { tick_at: now + TICK, read_at: now, read_many: false, rest: Rest::Busy }
    }

    /// When something is to be done next, if nothing comes.
    pub(super) fn next_at(&self, now: Instant) -> Instant {
        let look = if self.read_many { LOOK_SOON } else { LOOK };
        if self.is_awake(now) { self.tick_at.min(now + look) } else { self.tick_at }
    }

    /// Whether it is time to look at the clock.
    pub(super) fn is_tick(&self, now: Instant) -> bool {
        now >= self.tick_at
    }

    /// Whether the ring is looked into without being woken.
    pub(super) fn is_awake(&self, now: Instant) -> bool {
        now.duration_since(self.read_at) < AWAKE
    }

    /// When something was read last.
    pub(super) const fn read_at(&self) -> Instant {
        self.read_at
    }

    /// So many records were read.
    pub(super) fn read(&mut self, now: Instant, count: usize) {
        self.read_at = now;
        self.read_many = count >= MANY;
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

    use super::{AWAKE, IDLE_TICK, LOOK, LOOK_SOON, MANY, Pace, QUIET_TICK, TICK};

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
        pace.read(at(12), 1);
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
            pace.tick_at - now
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

    /// Check that the ring is looked into without being woken for a moment after something came, and sooner where it was
    /// much; the clock is never late for that.
    #[test]
    fn looks_by_itself_for_a_moment() {
        let begin = Instant::now();
        let mut pace = Pace::new(begin);
        for (count, look) in [(1, LOOK), (MANY, LOOK_SOON), (0, LOOK)] {
            pace.read(begin, count);
            assert_eq!(pace.next_at(begin), begin + look, "{count}");
        }
        let later = begin + AWAKE;
        assert!(pace.is_awake(begin) && !pace.is_awake(later));
        assert_eq!(pace.next_at(later), pace.tick_at);
        assert!(!pace.is_tick(later) && pace.is_tick(pace.tick_at));
        let just_before = pace.tick_at - Duration::from_millis(1);
        pace.read(just_before, 1);
        assert_eq!(pace.next_at(just_before), pace.tick_at);
    }
}
