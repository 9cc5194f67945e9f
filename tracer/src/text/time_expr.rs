//! Times as people type them, and as logs print them: one parser for every option that takes a time.

mod parts;
#[cfg(test)]
mod tests;

use jiff::{SignedDuration, Span, Timestamp, Zoned, civil::DateTime, tz::TimeZone};

use parts::Parts;

/// The forms that are accepted.
const EXPECTED: &str = "2026-11-23, \"2026-11-23 6:30\", 6:30 (today), today, yesterday, monday, \"yesterday 10:00\", now, boot, \
                        1h, 90m or \"2 hours ago\" (back from now), \"Nov 23 06:30:49\", @1795415443, or an RFC 3339 time; \
                        after a time also its zone: UTC, +0100, Europe/Berlin";

/// The longest expression, in bytes.
const EXPRESSION_BYTES_MAX: usize = 128;

/// An unusable time expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TimeExprError {
    /// It has no known form.
    #[error("invalid time {0:?}: expected {EXPECTED}")]
    Unknown(String),
    /// The clocks were set forward over it.
    #[error(
        "invalid time {text:?}: there is no {time} in {zone}, where clocks were set forward; expected a time before or after"
    )]
    Skipped {
        /// The expression.
        text: String,
        /// The local time.
        time: String,
        /// The time zone.
        zone: String,
    },
    /// The clocks were set back over it.
    #[error("ambiguous time {text:?}: {time} occurs twice in {zone}; add its offset, {first} or {second}")]
    Repeated {
        /// The expression.
        text: String,
        /// The local time.
        time: String,
        /// The time zone.
        zone: String,
        /// The offset of the first occurrence.
        first: String,
        /// The offset of the second occurrence.
        second: String,
    },
    /// The time when this system booted is unknown.
    #[error("cannot use the time \"boot\": /proc/stat has no time of the boot; give the time")]
    NoBoot,
}

/// What relative times refer to.
#[derive(Clone, Debug)]
pub struct Reference {
    /// The present time, in the zone of times that name none.
    pub now: Zoned,
    /// When this system booted.
    pub boot: Option<Timestamp>,
}

/// Parses a point in time. Without a zone it is in the zone of `now`; a time without a date is today.
///
/// # Errors
/// When the expression is invalid, or a local time that a change of the clocks has skipped or repeated.
pub fn parse(text: &str, reference: &Reference) -> Result<Timestamp, TimeExprError> {
    let unknown = || TimeExprError::Unknown(text.chars().take(EXPRESSION_BYTES_MAX).collect());
    let trimmed = text.trim();
    if trimmed.len() > EXPRESSION_BYTES_MAX {
        return Err(unknown());
    }
    let now = &reference.now;
    if let Some(seconds) = trimmed.strip_prefix('@') {
        return epoch(seconds).ok_or_else(unknown);
    }
    if let Ok(time) = trimmed.parse::<Zoned>() {
        return Ok(time.timestamp());
    }
    match trimmed.to_ascii_lowercase().as_str() {
        "now" => return Ok(now.timestamp()),
        "boot" => return reference.boot.ok_or(TimeExprError::NoBoot),
        lower => {
            if let Some(time) = ago(lower, now) {
                return Ok(time);
            }
        }
    }
    let (moment, zone) = Parts::read(trimmed).and_then(|parts| parts.moment(now)).ok_or_else(unknown)?;
    resolve(text, moment, &zone)
}

/// `1795415443.5`
fn epoch(seconds: &str) -> Option<Timestamp> {
    let (whole, fraction) = seconds.split_once('.').unwrap_or((seconds, "0"));
    if fraction.is_empty() || fraction.len() > 9 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let nanoseconds: i64 = format!("{fraction:0<9}").parse().ok()?;
    let sign = if whole.starts_with('-') { -1 } else { 1 };
    let time = Timestamp::from_second(whole.parse().ok()?).ok()?;
    time.checked_add(SignedDuration::from_nanos(sign * nanoseconds)).ok()
}

/// `1h`, `-2h`, `2 hours ago`, `an hour ago`: back from now. Days and longer units keep the time of day.
fn ago(lower: &str, now: &Zoned) -> Option<Timestamp> {
    // The parser of durations also knows ISO 8601 ("P1D"), and a sign that leads to the future.
    let bare = lower.strip_prefix('-').unwrap_or(lower);
    let bare = bare.strip_suffix(" ago").map_or(bare, str::trim_end);
    let one = ["an ", "a "].into_iter().find_map(|article| bare.strip_prefix(article)).map(|unit| format!("1 {unit}"));
    let bare = one.as_deref().unwrap_or(bare);
    // `10:00:30` is a time of the day, but also a duration to the parser.
    if !bare.starts_with(|first: char| first.is_ascii_digit()) || bare.contains(':') {
        return None;
    }
    let span: Span = bare.parse().ok()?;
    now.checked_sub(span.abs()).ok().map(|time| time.timestamp())
}

/// A local time and the zone that decides which moment it is.
enum Zone {
    Offset(jiff::tz::Offset),
    Local(TimeZone),
    /// The first moment of a day, which may have no midnight.
    Day(TimeZone),
}

fn resolve(text: &str, moment: DateTime, zone: &Zone) -> Result<Timestamp, TimeExprError> {
    use jiff::tz::AmbiguousOffset::{Fold, Gap, Unambiguous};
    let unknown = || TimeExprError::Unknown(text.to_owned());
    let zone = match zone {
        Zone::Offset(offset) => return offset.to_timestamp(moment).map_err(|_| unknown()),
        Zone::Day(zone) => {
            return moment.date().to_zoned(zone.clone()).map(|day| day.timestamp()).map_err(|_| unknown());
        }
        Zone::Local(zone) => zone,
    };
    let ambiguous = zone.to_ambiguous_timestamp(moment);
    let time = || moment.strftime("%Y-%m-%d %H:%M").to_string();
    let name = |time: Timestamp| super::zone_name(zone, time);
    match ambiguous.offset() {
        Unambiguous { .. } => ambiguous.unambiguous().map_err(|_| unknown()),
        Gap { .. } => {
            let later = ambiguous.later().map_err(|_| unknown())?;
            Err(TimeExprError::Skipped { text: text.to_owned(), time: time(), zone: name(later) })
        }
        Fold { before, after } => {
            let earlier = ambiguous.earlier().map_err(|_| unknown())?;
            let [first, second] = [before, after].map(parts::offset_name);
            Err(TimeExprError::Repeated { text: text.to_owned(), time: time(), zone: name(earlier), first, second })
        }
    }
}
