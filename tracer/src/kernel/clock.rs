//! The three clocks, read together: events have boot time, outputs show wall time.

use rustix::time::{ClockId, Timespec, clock_gettime};

use crate::event;

/// Number of readings, of which the best is used: an interrupt between reading two clocks affects only one.
const READINGS: u32 = 16;

/// A change of the difference between wall and boot clock that counts as a step, nanoseconds.
const STEP_NS: u64 = 10_000_000;

/// Boot, wall and monotonic clock at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClockTriple {
    /// `CLOCK_BOOTTIME`, nanoseconds.
    pub boot_ns: u64,
    /// `CLOCK_REALTIME`, nanoseconds since 1970.
    pub realtime_ns: i64,
    /// `CLOCK_MONOTONIC`, nanoseconds.
    pub monotonic_ns: u64,
    /// Time within which the three were read, nanoseconds.
    pub uncertainty_ns: u64,
}

impl ClockTriple {
    /// Reads the clocks several times, and keeps the quickest reading.
    #[must_use]
    pub fn now() -> Self {
        let first = Self::read();
        (1..READINGS)
            .map(|_| Self::read())
            .fold(first, |best, next| if next.uncertainty_ns < best.uncertainty_ns { next } else { best })
    }

    /// The difference between wall time and boot time.
    #[must_use]
    pub const fn realtime_minus_boot_ns(&self) -> i64 {
        self.realtime_ns.saturating_sub_unsigned(self.boot_ns)
    }

    /// The clocks, if the wall clock was set since this difference between wall time and boot time was measured.
    #[must_use]
    pub fn if_set_since(realtime_minus_boot_ns: i64) -> Option<Self> {
        let was_set = |clocks: &Self| clocks.realtime_minus_boot_ns().abs_diff(realtime_minus_boot_ns) >= STEP_NS;
        // One reading may be wrong because this process was interrupted.
        Some(Self::read()).filter(was_set).map(|_| Self::now()).filter(was_set)
    }

    fn read() -> Self {
        let before_ns = unsigned(clock_gettime(ClockId::Boottime));
        let realtime_ns = nanoseconds(clock_gettime(ClockId::Realtime));
        let monotonic_ns = unsigned(clock_gettime(ClockId::Monotonic));
        let after_ns = unsigned(clock_gettime(ClockId::Boottime));
        let uncertainty_ns = after_ns.saturating_sub(before_ns);
        Self { boot_ns: before_ns + uncertainty_ns / 2, realtime_ns, monotonic_ns, uncertainty_ns }
    }
}

impl From<&ClockTriple> for event::Clock {
    fn from(clocks: &ClockTriple) -> Self {
        Self {
            realtime_minus_boot_ns: clocks.realtime_minus_boot_ns(),
            boot_minus_monotonic_ns: clocks.boot_ns.saturating_sub(clocks.monotonic_ns),
            clock_uncertainty_ns: clocks.uncertainty_ns,
        }
    }
}

/// Saturates in the year 2262.
const fn nanoseconds(time: Timespec) -> i64 {
    time.tv_sec.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec)
}

/// Boot and monotonic time begin at 0.
fn unsigned(time: Timespec) -> u64 {
    u64::try_from(nanoseconds(time)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{ClockTriple, STEP_NS};

    /// The clocks agree with one another: boot time includes suspend, and the wall clock is after 1970.
    #[test]
    fn clock_readings_are_consistent() {
        let first = ClockTriple::now();
        let second = ClockTriple::now();
        assert!(first.boot_ns + first.uncertainty_ns >= first.monotonic_ns);
        assert!(second.monotonic_ns >= first.monotonic_ns);
        assert!(first.realtime_minus_boot_ns() > 0);
    }

    /// The difference cannot overflow.
    #[test]
    fn clock_difference_does_not_overflow() {
        let extreme = ClockTriple { boot_ns: u64::MAX, realtime_ns: i64::MIN, monotonic_ns: 0, uncertainty_ns: 0 };
        assert_eq!(extreme.realtime_minus_boot_ns(), i64::MIN);
    }

    /// A clock that was not set has no step, and one that was set by more than the limit has one.
    #[test]
    fn step_is_found_from_the_difference() {
        let difference_ns = ClockTriple::now().realtime_minus_boot_ns();
        assert_eq!(ClockTriple::if_set_since(difference_ns), None);
        let step_ns = i64::try_from(STEP_NS).unwrap() * 100;
        for before_ns in [difference_ns - step_ns, difference_ns + step_ns] {
            let clocks = ClockTriple::if_set_since(before_ns).unwrap();
            assert!(clocks.realtime_minus_boot_ns().abs_diff(difference_ns) < STEP_NS);
        }
    }
}
