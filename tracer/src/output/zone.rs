//! The time zone that times are shown in, by name.

use jiff::{Timestamp, tz::TimeZone};

/// A time zone that times cannot be shown in.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ZoneError {
    /// `TZ` is set to something that is no time zone here.
    #[error(
        "cannot show local times: TZ={0:?} is not a time zone known on this machine; correct TZ, install the time zone \
         database (tzdata), or use --utc"
    )]
    Variable(String),
    /// The machine's own zone cannot be read.
    #[error("cannot show local times: {LOCALTIME} is not a time zone; set TZ, or use --utc")]
    Machine,
}

/// Where a machine has its own zone.
const LOCALTIME: &str = "/etc/localtime";

/// Checks that local times can be shown: what is set but not understood must not pass for UTC.
///
/// # Errors
/// When `TZ` or the machine's own zone is not understood. A machine without a zone is in UTC.
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

/// UTC, or the zone of `TZ` or of this machine. See [`check_local`] for what is not understood.
pub(crate) fn zone(utc: bool) -> TimeZone {
    if utc { TimeZone::UTC } else { TimeZone::try_system().unwrap_or(TimeZone::UTC) }
}

/// The name of a zone: `UTC`, `Europe/Berlin`, or where it has none its abbreviation and offset at a time.
pub(crate) fn name(zone: &TimeZone, at: Timestamp) -> String {
    match zone.iana_name() {
        Some(name) => super::escape_str(name),
        None => super::escape_str(&at.to_zoned(zone.clone()).strftime("%Z (UTC%:z)").to_string()),
    }
}

/// ` +01:00` for a time whose clock time comes twice, since the clocks were set back; nothing for all others.
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

    /// Check that the repeated hour, and that hour alone, has its offset, and that zones have names.
    #[test]
    fn the_repeated_hour_has_its_offset() {
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
