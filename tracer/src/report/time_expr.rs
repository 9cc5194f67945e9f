//! Parses time expressions.

use jiff::{
    SignedDuration, Span, Timestamp, ToSpan, Zoned,
    civil::{Date, DateTime, Time},
    tz::TimeZone,
};

/// An invalid time expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid time {text:?}: expected 2026-11-23, \"2026-11-23 10:00\", 10:00, today, yesterday, \"yesterday 10:00\", -2h, \
     \"2 hours ago\", @1795415443, or an RFC 3339 time"
)]
pub struct TimeExprError {
    text: String,
}

/// Parses a point in time. Without a zone it is in the zone of `now`; a time without a date is today.
///
/// # Errors
/// When the expression is invalid.
pub fn parse(text: &str, now: &Zoned) -> Result<Timestamp, TimeExprError> {
    let trimmed = text.trim();
    read(trimmed, now).ok_or_else(|| TimeExprError { text: text.to_owned() })
}

fn read(text: &str, now: &Zoned) -> Option<Timestamp> {
    if let Some(seconds) = text.strip_prefix('@') {
        return epoch(seconds);
    }
    if text.eq_ignore_ascii_case("now") {
        return Some(now.timestamp());
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time);
    }
    if let Ok(time) = text.parse::<Zoned>() {
        return Some(time.timestamp());
    }
    ago(text, now).or_else(|| civil(text, now)).or_else(|| named(text, now))
}

/// A time followed by the name of its zone, as reports print it: `2026-11-23 10:00 UTC`, `10:00 Europe/Berlin`.
fn named(text: &str, now: &Zoned) -> Option<Timestamp> {
    let (time, zone) = text.rsplit_once(' ')?;
    let zone = TimeZone::get(zone).ok()?;
    civil(time.trim_end(), &now.with_time_zone(zone))
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

/// `-2h`, `2 hours ago`, `1h 30m ago`: relative to now. Days and longer units keep the time of day.
fn ago(text: &str, now: &Zoned) -> Option<Timestamp> {
    let is_back = text.starts_with('-') || text.to_ascii_lowercase().ends_with(" ago");
    let span: Span = text.to_ascii_lowercase().parse().ok()?;
    // Without a sign or "ago" the direction is ambiguous.
    (is_back && span.is_negative()).then_some(())?;
    now.checked_add(span).ok().map(|time| time.timestamp())
}

/// Local dates and times.
fn civil(text: &str, now: &Zoned) -> Option<Timestamp> {
    let today = now.date();
    let lower = text.to_ascii_lowercase();
    let (day, rest) = lower.split_once(' ').map_or((lower.as_str(), ""), |(day, rest)| (day, rest.trim()));
    let date = match day {
        "today" => Some(today),
        "yesterday" => today.checked_sub(1.day()).ok(),
        "tomorrow" => today.checked_add(1.day()).ok(),
        _ => None,
    };
    let moment = match date {
        Some(date) if rest.is_empty() => date.to_datetime(Time::midnight()),
        Some(date) => date.to_datetime(rest.parse().ok()?),
        None => moment(text, today)?,
    };
    moment.to_zoned(now.time_zone().clone()).ok().map(|time| time.timestamp())
}

fn moment(text: &str, today: Date) -> Option<DateTime> {
    if let Ok(moment) = text.parse::<DateTime>() {
        return Some(moment);
    }
    text.parse::<Time>().ok().map(|time| today.to_datetime(time))
}

#[cfg(test)]
mod tests {
    use jiff::Zoned;
    use proptest::prelude::*;

    use super::parse;

    fn now() -> Zoned {
        "2026-11-23T12:00:00+01:00[+01:00]".parse().unwrap()
    }

    /// Every form that the error message lists is parsed.
    #[test]
    fn parse_documented_form_returns_time() {
        for (text, wanted) in [
            ("2026-11-23T10:00:00Z", "2026-11-23T10:00:00Z"),
            ("2026-11-23 10:00:00.25+02:00", "2026-11-23T08:00:00.25Z"),
            ("2026-11-23 10:00", "2026-11-23T09:00:00Z"),
            ("2026-11-23T10:00:05", "2026-11-23T09:00:05Z"),
            ("2026-11-23", "2026-11-22T23:00:00Z"),
            ("10:00", "2026-11-23T09:00:00Z"),
            ("10:00:30", "2026-11-23T09:00:30Z"),
            ("2026-11-23 10:00 UTC", "2026-11-23T10:00:00Z"),
            ("2026-11-23 10:00:05 utc", "2026-11-23T10:00:05Z"),
            ("now", "2026-11-23T11:00:00Z"),
            ("today", "2026-11-22T23:00:00Z"),
            ("Yesterday", "2026-11-21T23:00:00Z"),
            ("yesterday 10:00", "2026-11-22T09:00:00Z"),
            ("-2h", "2026-11-23T09:00:00Z"),
            ("-1h30m", "2026-11-23T09:30:00Z"),
            ("2 hours ago", "2026-11-23T09:00:00Z"),
            ("3 days ago", "2026-11-20T11:00:00Z"),
            ("90s ago", "2026-11-23T10:58:30Z"),
            ("@1795415443", "2026-11-23T06:30:43Z"),
            ("@1795415443.5", "2026-11-23T06:30:43.5Z"),
            ("@-1.5", "1969-12-31T23:59:58.5Z"),
        ] {
            assert_eq!(parse(text, &now()).map(|time| time.to_string()), Ok(wanted.to_owned()), "{text}");
        }
    }

    /// An ambiguous or invalid expression is an error with examples.
    #[test]
    fn parse_ambiguous_expression_fails() {
        for text in ["", "2h", "soon", "25:00", "@", "@1.", "@x", "2026-13-01", "yesterday 25:00", "--2h"] {
            let error = parse(text, &now()).unwrap_err().to_string();
            assert!(error.contains(&format!("{text:?}")) && error.contains("2 hours ago"), "{text}: {error}");
        }
    }

    proptest! {
        /// No input panics.
        #[test]
        fn parse_arbitrary_text_does_not_panic(text in "\\PC{0,24}") {
            let _ = parse(&text, &now());
        }
    }
}
