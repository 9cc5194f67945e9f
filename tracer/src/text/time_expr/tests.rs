//! Expressions that people type and logs print.

use jiff::tz::TimeZone;
use proptest::prelude::*;

use super::{Reference, TimeExprError, parse};

/// Monday noon at +01:00.
fn noon() -> Reference {
    let boot = Some("2026-11-20T05:00:00Z".parse().unwrap());
    Reference { now: "2026-11-23T12:00:00+01:00[+01:00]".parse().unwrap(), boot }
}

/// As in Berlin, where clocks change.
fn berlin() -> Reference {
    let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
    let now: jiff::Timestamp = "2026-11-23T11:00:00Z".parse().unwrap();
    Reference { now: now.to_zoned(zone), boot: None }
}

fn shown(text: &str, reference: &Reference) -> Result<String, TimeExprError> {
    parse(text, reference).map(|time| time.to_string())
}

/// Every form that the error message lists is parsed, and those that logs print.
#[test]
fn parse_documented_form_returns_time() {
    for (text, wanted) in [
        ("2026-11-23T10:00:00Z", "2026-11-23T10:00:00Z"),
        ("2026-11-23t10:00:00z", "2026-11-23T10:00:00Z"),
        ("2026-11-23 10:00:00.25+02:00", "2026-11-23T08:00:00.25Z"),
        ("2026-11-23T10:00:05", "2026-11-23T09:00:05Z"),
        ("2026-11-23T10:00:05+02:00[+02:00]", "2026-11-23T08:00:05Z"),
        ("2026-11-23 10:00", "2026-11-23T09:00:00Z"),
        ("2026-11-23 6:30", "2026-11-23T05:30:00Z"),
        ("2026-11-23", "2026-11-22T23:00:00Z"),
        ("10:00", "2026-11-23T09:00:00Z"),
        ("6:30", "2026-11-23T05:30:00Z"),
        ("10:00:30", "2026-11-23T09:00:30Z"),
        ("2026-11-23 10:00 UTC", "2026-11-23T10:00:00Z"),
        ("2026-11-23 10:00:05 utc", "2026-11-23T10:00:05Z"),
        ("2026-11-23 6:30Z", "2026-11-23T06:30:00Z"),
        ("2026-11-23 6:30 Z", "2026-11-23T06:30:00Z"),
        ("2026-11-23 6:30 +0200", "2026-11-23T04:30:00Z"),
        ("2026-11-23 6:30 -02:30", "2026-11-23T09:00:00Z"),
        ("2026-11-23 6:30+0200", "2026-11-23T04:30:00Z"),
        ("2026-11-23 6:30 +02", "2026-11-23T04:30:00Z"),
        ("2026-11-23 +0200", "2026-11-22T22:00:00Z"),
        ("today UTC", "2026-11-23T00:00:00Z"),
        ("23:30 -1000", "2026-11-24T09:30:00Z"),
        ("now", "2026-11-23T11:00:00Z"),
        ("boot", "2026-11-20T05:00:00Z"),
        ("today", "2026-11-22T23:00:00Z"),
        ("Yesterday", "2026-11-21T23:00:00Z"),
        ("yesterday 10:00", "2026-11-22T09:00:00Z"),
        ("yesterday at 6:30", "2026-11-22T05:30:00Z"),
        ("monday", "2026-11-22T23:00:00Z"),
        ("last monday", "2026-11-15T23:00:00Z"),
        ("monday 11:00", "2026-11-23T10:00:00Z"),
        ("monday 13:00", "2026-11-16T12:00:00Z"),
        ("Sunday", "2026-11-21T23:00:00Z"),
        ("tue 10:00", "2026-11-17T09:00:00Z"),
        ("1h", "2026-11-23T10:00:00Z"),
        ("90m", "2026-11-23T09:30:00Z"),
        ("2d", "2026-11-21T11:00:00Z"),
        ("1h30m", "2026-11-23T09:30:00Z"),
        ("-2h", "2026-11-23T09:00:00Z"),
        ("-1h30m", "2026-11-23T09:30:00Z"),
        ("2 hours ago", "2026-11-23T09:00:00Z"),
        ("an hour ago", "2026-11-23T10:00:00Z"),
        ("A day ago", "2026-11-22T11:00:00Z"),
        ("3 days ago", "2026-11-20T11:00:00Z"),
        ("90s ago", "2026-11-23T10:58:30Z"),
        ("@1795415443", "2026-11-23T06:30:43Z"),
        ("@1795415443.5", "2026-11-23T06:30:43.5Z"),
        ("@-1.5", "1969-12-31T23:59:58.5Z"),
        ("Nov 23 06:30:49", "2026-11-23T05:30:49Z"),
        ("Nov 24 06:30:49", "2025-11-24T05:30:49Z"),
        ("23 November", "2026-11-22T23:00:00Z"),
        ("Mon Nov 23 06:30:49 2026", "2026-11-23T05:30:49Z"),
        ("Mon Nov  2 06:30:49 UTC 2026", "2026-11-02T06:30:49Z"),
        ("Mon, 23 Nov 2026 06:30:49 +0000", "2026-11-23T06:30:49Z"),
        ("Mon 2026-11-23 06:30:49 UTC", "2026-11-23T06:30:49Z"),
    ] {
        assert_eq!(shown(text, &noon()), Ok(wanted.to_owned()), "{text}");
    }
}

/// An invalid expression is an error with the accepted forms.
#[test]
fn parse_invalid_expression_fails() {
    for text in [
        "",
        "soon",
        "25:00",
        "@",
        "@1.",
        "@x",
        "2026-13-01",
        "yesterday 25:00",
        "--2h",
        "+2h",
        "2h from now",
        "P1D",
        "2026",
        "23",
        "last",
        "last 10:00",
        "last 2026-11-23",
        "Tue 2026-11-23",
        "Nov",
        "Nov 31",
        "monday tuesday",
        "UTC",
        "today Mars/Phobos",
        "10:00 10:00",
        "10:00Z UTC",
        "6:3",
        "006:30",
        "10:00 +25:00",
        "10:00 +1:00",
        "10:00 ++1",
        "2026-02-30",
        "@99999999999999999999",
        "today tomorrow",
        "-",
        "+",
        "é",
        "1h é",
    ] {
        let error = shown(text, &noon()).unwrap_err().to_string();
        assert!(error.contains(&format!("{text:?}")) && error.contains("2 hours ago"), "{text}: {error}");
    }
    let long = "a".repeat(1 << 20);
    assert!(shown(&long, &noon()).unwrap_err().to_string().len() < 1024);
    assert_eq!(shown("boot", &berlin()), Err(TimeExprError::NoBoot));
}

/// A local time that occurs twice needs an offset, or the abbreviation of the zone; one that does not exist is an error.
#[test]
fn parse_time_in_clock_change_asks_for_offset() {
    let repeated = shown("2026-10-25 2:30", &berlin()).unwrap_err().to_string();
    assert_eq!(
        repeated,
        "ambiguous time \"2026-10-25 2:30\": 2026-10-25 02:30 occurs twice in CEST (UTC+02:00); add its offset, +02:00 \
         or +01:00"
    );
    for (text, wanted) in [
        ("2026-10-25 2:30 +02:00", "2026-10-25T00:30:00Z"),
        ("2026-10-25 2:30 +01:00", "2026-10-25T01:30:00Z"),
        ("2026-10-25 02:30 CEST", "2026-10-25T00:30:00Z"),
        ("2026-10-25 02:30 CET", "2026-10-25T01:30:00Z"),
        ("2026-10-25 01:59:59", "2026-10-24T23:59:59Z"),
        ("2026-10-25 03:00", "2026-10-25T02:00:00Z"),
        ("2026-03-29 03:00", "2026-03-29T01:00:00Z"),
        ("2026-03-29", "2026-03-28T23:00:00Z"),
        ("2026-07-01 10:00", "2026-07-01T08:00:00Z"),
    ] {
        assert_eq!(shown(text, &berlin()), Ok(wanted.to_owned()), "{text}");
    }
    let skipped = shown("2026-03-29 2:30", &berlin()).unwrap_err().to_string();
    assert!(
        skipped.contains("there is no 2026-03-29 02:30 in CEST (UTC+02:00), where clocks were set forward"),
        "{skipped}"
    );
    // In summer there is no CET here.
    assert!(shown("2026-07-01 10:00 CET", &berlin()).is_err());
}

/// A day whose midnight the clocks skip begins with its first moment.
#[test]
fn parse_day_without_midnight_returns_first_moment() {
    let zone = TimeZone::posix("AAA4BBB,M10.1.0/0,M3.4.0/0").unwrap();
    let now: jiff::Timestamp = "2026-11-23T11:00:00Z".parse().unwrap();
    let reference = Reference { now: now.to_zoned(zone), boot: None };
    assert_eq!(shown("2026-10-04", &reference), Ok("2026-10-04T04:00:00Z".to_owned()));
    assert!(matches!(shown("2026-10-04 0:00", &reference), Err(TimeExprError::Skipped { .. })));
}

proptest! {
    /// No input panics.
    #[test]
    fn parse_arbitrary_text_does_not_panic(text in "\\PC{0,24}") {
        let _ = parse(&text, &noon());
    }

    /// No combination of known words panics, and what is printed as a time is read as the same.
    #[test]
    fn parse_words_do_not_panic(
        words in proptest::collection::vec(
            proptest::sample::select(vec!["last", "monday", "nov", "23", "2026", "10:00", "+0100", "utc", "2026-11-23", "ago", "a", "1h", "CET", "-"]),
            0..6,
        ),
        seconds in -62_000_000_000_i64..250_000_000_000,
    ) {
        let _ = parse(&words.join(" "), &berlin());
        let time = jiff::Timestamp::from_second(seconds).unwrap();
        prop_assert_eq!(parse(&time.to_string(), &noon()), Ok(time));
        let printed = time.to_zoned(berlin().now.time_zone().clone()).strftime("%Y-%m-%d %H:%M:%S %:z").to_string();
        if !printed.starts_with('-') && seconds > 0 {
            prop_assert_eq!(parse(&printed, &noon()), Ok(time));
        }
    }
}
