//! The schedule of a trace: when it polls the ring, when it ticks, and when it has become quiet.

use std::time::Duration;

use tokio::time::Instant;

/// The ring is polled for this long after the last record: for the traced process, a wakeup costs more than everything else.
/// One request has several records.
const POLLING: Duration = Duration::from_millis(100);

/// Interval of polls: too short for a user to notice.
const POLL: Duration = Duration::from_millis(20);

/// Interval of polls after a poll with many records, so that the ring does not fill up.
const POLL_SOON: Duration = Duration::from_millis(2);

/// Number of records after which polls become more frequent: a twentieth of a ring of 4 MiB.
const MANY: usize = 128;

/// Interval of ticks, which handle timeouts and read the ring without a wakeup.
const TICK: Duration = Duration::from_millis(200);

/// The same if nothing has happened for [`CALM`] and nothing is in flight: an idle machine has almost no cost.
const IDLE_TICK: Duration = Duration::from_secs(1);

/// The same after [`QUIET`]: records wake this process, so ticks only serve missed runs.
const QUIET_TICK: Duration = Duration::from_secs(30);

/// After this long without records, ticks become rare.
const QUIET: Duration = Duration::from_secs(4);

/// For this long after the last record, timeouts may be pending and a frame may be open.
const CALM: Duration = Duration::from_secs(2);

/// The amount of work, most first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Activity {
    #[default]
    Busy,
    /// No records arrive; requests are in flight.
    Pending,
    /// Nothing is in flight either.
    Idle,
}

/// The schedule of polls and ticks.
#[derive(Debug)]
pub(super) struct PollSchedule {
    tick_at: Instant,
    read_at: Instant,
    read_many: bool,
    activity: Activity,
}

impl PollSchedule {
    pub(super) fn new(now: Instant) -> Self {
        Self { tick_at: now + TICK, read_at: now, read_many: false, activity: Activity::Busy }
    }

    /// The time of the next poll or tick.
    pub(super) fn next_at(&self, now: Instant) -> Instant {
        let poll = if self.read_many { POLL_SOON } else { POLL };
        if self.is_polling(now) { self.tick_at.min(now + poll) } else { self.tick_at }
    }

    /// Whether a tick is due.
    pub(super) fn is_tick(&self, now: Instant) -> bool {
        now >= self.tick_at
    }

    /// Whether the ring is polled.
    pub(super) fn is_polling(&self, now: Instant) -> bool {
        now.duration_since(self.read_at) < POLLING
    }

    /// When records were last read.
    pub(super) const fn read_at(&self) -> Instant {
        self.read_at
    }

    /// Notes that records were read.
    pub(super) fn read(&mut self, now: Instant, count: usize) {
        self.read_at = now;
        self.read_many = count >= MANY;
    }

    /// Whether there is less work than at the last call, so that memory can be returned.
    pub(super) fn has_calmed(&mut self, now: Instant, is_idle: bool) -> bool {
        let activity = match (now.duration_since(self.read_at) > CALM, is_idle) {
            (false, _) => Activity::Busy,
            (true, false) => Activity::Pending,
            (true, true) => Activity::Idle,
        };
        activity > std::mem::replace(&mut self.activity, activity)
    }

    /// Sets the time of the next tick: `deadline` at the latest, if it lies in the future.
    pub(super) fn set_next_tick(&mut self, now: Instant, was_tick: bool, deadline: Option<Instant>) {
        let next = match (self.activity, was_tick) {
            (Activity::Idle, true) if now.duration_since(self.read_at) > QUIET => now + QUIET_TICK,
            (Activity::Idle, true) => now + IDLE_TICK,
            (Activity::Idle, false) => self.tick_at,
            (_, true) => now + TICK,
            (_, false) => self.tick_at.min(now + TICK),
        };
        self.tick_at = deadline.filter(|deadline| *deadline > now).map_or(next, |deadline| next.min(deadline));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{IDLE_TICK, MANY, POLL, POLL_SOON, POLLING, PollSchedule, QUIET_TICK, TICK};

    /// The schedule calms down once when no records arrive, once when nothing is in flight, and again after records.
    #[test]
    fn schedule_calms_in_two_steps() {
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let mut polls = PollSchedule::new(begin);
        let asked = [(1, true), (3, false), (4, false), (8, true), (9, true), (10, false), (11, true)];
        let calmed = asked.map(|(seconds, is_idle)| polls.has_calmed(at(seconds), is_idle));
        assert_eq!(calmed, [false, true, false, true, false, false, true]);
        polls.read(at(12), 1);
        assert_eq!([13, 15].map(|seconds| polls.has_calmed(at(seconds), true)), [false, true]);
    }

    /// Ticks become rarer with less activity, frequent after records, and keep a deadline.
    #[test]
    fn tick_interval_follows_activity() {
        let begin = Instant::now();
        let mut polls = PollSchedule::new(begin);
        let mut next = |seconds, is_idle, was_tick, deadline: Option<u64>| {
            let now = begin + Duration::from_secs(seconds);
            polls.has_calmed(now, is_idle);
            polls.set_next_tick(now, was_tick, deadline.map(|deadline| begin + Duration::from_secs(deadline)));
            polls.tick_at - now
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

    /// The ring is polled for a moment after a record, more often after many records, and never delays a tick.
    #[test]
    fn ring_is_polled_after_a_record() {
        let begin = Instant::now();
        let mut polls = PollSchedule::new(begin);
        for (count, poll) in [(1, POLL), (MANY, POLL_SOON), (0, POLL)] {
            polls.read(begin, count);
            assert_eq!(polls.next_at(begin), begin + poll, "{count}");
        }
        let later = begin + POLLING;
        assert!(polls.is_polling(begin) && !polls.is_polling(later));
        assert_eq!(polls.next_at(later), polls.tick_at);
        assert!(!polls.is_tick(later) && polls.is_tick(polls.tick_at));
        let just_before = polls.tick_at - Duration::from_millis(1);
        polls.read(just_before, 1);
        assert_eq!(polls.next_at(just_before), polls.tick_at);
    }
}
