//! The time zone of displayed times.

use jiff::{Timestamp, tz::TimeZone};

pub(crate) use crate::text::zone_name as name;

/// An unusable time zone.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ZoneError {
    /// `TZ` is not a known time zone.
    #[error("cannot show local times: TZ={0:?} is not a known time zone; correct TZ, install tzdata, or use --utc")]
    Variable(String),
    /// The time zone of this host cannot be read.
    #[error("cannot show local times: {LOCALTIME} is not a time zone; set TZ, or use --utc")]
    Machine,
}

/// The time zone of this host.
const LOCALTIME: &str = "/etc/localtime";

/// Checks that local times can be shown, so that an invalid time zone is not silently replaced by UTC.
///
/// # Errors
/// When `TZ` or the time zone of this host is invalid. A host without a time zone is in UTC.
pub fn check_local() -> Result<(), ZoneError> {
    if TimeZone::try_system().is_ok() {
        return Ok(());
    }
    match std::env::var_os("TZ") {
        Some(value) => Err(ZoneError::Variable(value.to_string_lossy().into_owned())),
        None if std::path::Path::new(LOCALTIME).exists() => Err(ZoneError::Machine),
        None => Ok(()),
    }
}

/// UTC, or the time zone of `TZ` or of this host. See [`check_local`] for invalid ones.
pub(crate) fn zone(utc: bool) -> TimeZone {
    if utc { TimeZone::UTC } else { TimeZone::try_system().unwrap_or(TimeZone::UTC) }
}

/// ` +01:00` for an ambiguous time, which occurs twice as the clocks are set back; empty for others.
pub(crate) fn offset_of_repeated(at: Timestamp, zone: &TimeZone) -> String {
    let zoned = at.to_zoned(zone.clone());
    if zone.to_ambiguous_timestamp(zoned.datetime()).is_ambiguous() {
        return zoned.strftime(" %:z").to_string();
    }
    String::new()
}

#[cfg(test)]
mod tests {
    use jiff::tz::{Offset, TimeZone};

    use super::{name, offset_of_repeated};

    /// Only times in the repeated hour have an offset, and zones have names.
    #[test]
    fn time_in_repeated_hour_has_its_offset() {
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        for (time, offset) in [
            ("2026-10-24T23:59:59Z", ""),
            ("2026-10-25T00:00:00Z", " +02:00"),
            ("2026-10-25T00:30:00Z", " +02:00"),
            ("2026-10-25T01:30:00Z", " +01:00"),
            ("2026-10-25T02:00:00Z", ""),
            ("2026-03-29T01:00:00Z", ""),
        ] {
            let time = time.parse().unwrap();
            assert_eq!(offset_of_repeated(time, &zone), offset, "{time}");
            assert_eq!(offset_of_repeated(time, &TimeZone::UTC), "");
        }
        let summer = "2026-07-01T00:00:00Z".parse().unwrap();
        assert_eq!(name(&zone, summer), "CEST (UTC+02:00)");
        assert_eq!(name(&TimeZone::UTC, summer), "UTC");
        assert_eq!(name(&TimeZone::fixed(Offset::constant(2)), summer), "+02 (UTC+02:00)");
    }
}
