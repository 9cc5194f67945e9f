//! Conversion of boot time to wall clock time.

use jiff::{SignedDuration, Timestamp};

/// The offset between the two clocks, as measured at start or at the last correction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Clock {
    /// Wall clock minus `CLOCK_BOOTTIME`, nanoseconds.
    pub realtime_minus_boot_ns: i64,
}

impl Clock {
    /// The wall clock time at a boot time, nanoseconds since 1970.
    pub(super) fn realtime_ns(self, boot_ns: u64) -> i64 {
        i64::try_from(boot_ns).unwrap_or(i64::MAX).saturating_add(self.realtime_minus_boot_ns)
    }

    /// The wall clock time at a boot time, clamped to the range of [`Timestamp`].
    #[must_use]
    pub fn at(self, boot_ns: u64) -> Timestamp {
        let since_epoch = i128::from(boot_ns) + i128::from(self.realtime_minus_boot_ns);
        let duration = SignedDuration::from_nanos_i128(since_epoch);
        Timestamp::from_duration(duration).unwrap_or(if since_epoch < 0 { Timestamp::MIN } else { Timestamp::MAX })
    }
}
