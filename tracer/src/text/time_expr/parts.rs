//! The parts of a date and time, in any order that people and logs use.

use jiff::{
    ToSpan, Zoned,
    civil::{Date, DateTime, Time, Weekday},
    tz::{Offset, TimeZone},
};

use super::Zone;

/// A day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Day {
    Date(Date),
    /// Days after today.
    Near(i32),
}

/// The parts of an expression. Each occurs at most once.
#[derive(Debug, Default)]
pub(super) struct Parts {
    day: Option<Day>,
    weekday: Option<Weekday>,
    /// A month's day: `Nov 23`.
    month: Option<i8>,
    day_of_month: Option<i8>,
    year: Option<i16>,
    time: Option<Time>,
    offset: Option<Offset>,
    /// The name of a zone, or its abbreviation.
    zone: Option<String>,
    /// `last monday`: not today.
    is_before: bool,
}

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

const WEEKDAYS: [(&str, Weekday); 7] = [
    ("monday", Weekday::Monday),
    ("tuesday", Weekday::Tuesday),
    ("wednesday", Weekday::Wednesday),
    ("thursday", Weekday::Thursday),
    ("friday", Weekday::Friday),
    ("saturday", Weekday::Saturday),
    ("sunday", Weekday::Sunday),
];

/// Whether a word is a name or the beginning of it, with three letters at least: `mon`, `tues`, `sept`.
fn is_name(word: &str, name: &str) -> bool {
    word.len() >= 3 && name.starts_with(word)
}

/// Stores a part; `None` if there is one already.
fn put<T>(place: &mut Option<T>, part: T) -> Option<()> {
    place.is_none().then(|| *place = Some(part))
}

impl Parts {
    /// Reads the parts; `None` if any is invalid.
    pub(super) fn read(text: &str) -> Option<Self> {
        let mut parts = Self::default();
        for word in text.split_ascii_whitespace() {
            parts.word(word.trim_end_matches(','))?;
        }
        // A name is that of a zone only next to a time.
        (parts.zone.is_none() || parts.time.is_some()).then_some(parts)
    }

    fn word(&mut self, word: &str) -> Option<()> {
        let lower = word.to_ascii_lowercase();
        let near = match lower.as_str() {
            "today" => Some(0),
            "yesterday" => Some(-1),
            "tomorrow" => Some(1),
            "last" if !self.is_before => {
                self.is_before = true;
                return Some(());
            }
            "at" => return Some(()),
            _ => None,
        };
        if let Some(days) = near {
            return put(&mut self.day, Day::Near(days));
        }
        if let Some((_, weekday)) = WEEKDAYS.into_iter().find(|(name, _)| is_name(&lower, name)) {
            return put(&mut self.weekday, weekday);
        }
        if let Some(month) = (1..).zip(MONTHS).find_map(|(number, name)| is_name(&lower, name).then_some(number)) {
            return put(&mut self.month, month);
        }
        if lower.bytes().all(|byte| byte.is_ascii_digit()) {
            return match lower.len() {
                1 | 2 => put(&mut self.day_of_month, lower.parse().ok()?),
                4 => put(&mut self.year, lower.parse().ok()?),
                _ => None,
            };
        }
        if let Some(offset) = offset(&lower) {
            return put(&mut self.offset, offset);
        }
        if lower.starts_with(|first: char| first.is_ascii_digit()) {
            return self.number(&lower);
        }
        put(&mut self.zone, word.to_owned())
    }

    /// A date, a time, or both with a `t` between them; then an offset.
    fn number(&mut self, lower: &str) -> Option<()> {
        if let Some((date, time)) = lower.split_once('t') {
            put(&mut self.day, Day::Date(date.parse().ok()?))?;
            return self.time_with_offset(time);
        }
        match lower.parse::<Date>() {
            Ok(date) if !lower.contains(':') => put(&mut self.day, Day::Date(date)),
            _ => self.time_with_offset(lower),
        }
    }

    fn time_with_offset(&mut self, lower: &str) -> Option<()> {
        let end = lower.find(['+', '-', 'z']).unwrap_or(lower.len());
        let (time, after) = lower.split_at_checked(end)?;
        if !after.is_empty() {
            put(&mut self.offset, offset(after)?)?;
        }
        put(&mut self.time, clock(time)?)
    }

    /// The local time that the parts describe, and the zone that they name.
    pub(super) fn moment(self, now: &Zoned) -> Option<(DateTime, Zone)> {
        let now = match &self.zone {
            Some(name) if self.offset.is_none() => self.in_zone(name, now)?,
            Some(_) => return None,
            None => match self.offset {
                Some(offset) => now.with_time_zone(offset.to_time_zone()),
                None => now.clone(),
            },
        };
        let day = self.date(&now)?;
        let moment = day.to_datetime(self.time.unwrap_or(Time::midnight()));
        let zone = match (self.offset, self.time) {
            (Some(offset), _) => Zone::Offset(offset),
            (None, Some(_)) => Zone::Local(now.time_zone().clone()),
            (None, None) => Zone::Day(now.time_zone().clone()),
        };
        let zone = match &self.zone {
            Some(name) => by_abbreviation(name, moment, now.time_zone()).map_or(zone, Zone::Offset),
            None => zone,
        };
        Some((moment, zone))
    }

    /// Now in a named zone, or in the local one if the name is an abbreviation of it.
    fn in_zone(&self, name: &str, now: &Zoned) -> Option<Zoned> {
        let date = self.date(now)?;
        let moment = date.to_datetime(self.time?);
        if by_abbreviation(name, moment, now.time_zone()).is_some() {
            return Some(now.clone());
        }
        let zone = TimeZone::get(name).ok()?;
        let zoned = now.with_time_zone(zone);
        // `CET` is a zone with summer time in the database, but in summer it does not mean that.
        let is_abbreviation = !name.contains('/') && name.bytes().all(|byte| byte.is_ascii_uppercase());
        let is_used = || by_abbreviation(name, moment, zoned.time_zone()).is_some();
        (!is_abbreviation || is_used()).then_some(zoned)
    }

    fn date(&self, now: &Zoned) -> Option<Date> {
        let today = now.date();
        let date = match (self.day, self.month, self.day_of_month) {
            (Some(Day::Date(date)), None, None) if self.year.is_none() => Some(date),
            (Some(Day::Near(days)), None, None) if self.year.is_none() => Some(today.checked_add(days.days()).ok()?),
            (None, Some(month), Some(day)) => Some(self.of_year(month, day, now)?),
            (None, None, None) if self.year.is_none() => None,
            _ => return None,
        };
        match (date, self.weekday) {
            // The weekday of a date is redundant, but must be the right one.
            (Some(date), Some(weekday)) => (date.weekday() == weekday && !self.is_before).then_some(date),
            (Some(date), None) => (!self.is_before).then_some(date),
            (None, Some(weekday)) => {
                let back = i32::from(today.weekday().since(weekday));
                let is_later_today = self.time.is_some_and(|time| time > now.time());
                let back = if back == 0 && (self.is_before || is_later_today) { 7 } else { back };
                today.checked_sub(back.days()).ok()
            }
            (None, None) => (self.time.is_some() && !self.is_before).then_some(today),
        }
    }

    /// `Nov 23`: of the given year, or the last one.
    fn of_year(&self, month: i8, day: i8, now: &Zoned) -> Option<Date> {
        if let Some(year) = self.year {
            return Date::new(year, month, day).ok();
        }
        let this = Date::new(now.year(), month, day).ok();
        match this {
            Some(date) if date.to_datetime(self.time.unwrap_or(Time::midnight())) <= now.datetime() => Some(date),
            _ => Date::new(now.year().checked_sub(1)?, month, day).ok(),
        }
    }
}

/// The offset of a local time, if the zone has this abbreviation at that time.
fn by_abbreviation(name: &str, moment: DateTime, zone: &TimeZone) -> Option<Offset> {
    let ambiguous = zone.to_ambiguous_timestamp(moment);
    let both = [ambiguous.earlier(), ambiguous.later()];
    both.into_iter().flatten().find_map(|time| {
        let info = zone.to_offset_info(time);
        info.abbreviation().eq_ignore_ascii_case(name).then(|| info.offset())
    })
}

/// `6:30`, `06:30:49.25`.
fn clock(text: &str) -> Option<Time> {
    let (hour, rest) = text.split_once(':')?;
    let is_number = (1..=2).contains(&hour.len()) && hour.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| format!("{hour:0>2}:{rest}").parse().ok())?
}

/// `z`, `utc`, `gmt`, `+01`, `+0100`, `+01:00`; in lower case.
fn offset(lower: &str) -> Option<Offset> {
    if matches!(lower, "z" | "utc" | "gmt") {
        return Some(Offset::UTC);
    }
    let (sign, digits) =
        lower.strip_prefix('+').map(|rest| (1, rest)).or_else(|| Some((-1, lower.strip_prefix('-')?)))?;
    let (hours, minutes) = match digits.len() {
        2 => (digits, "0"),
        4 => digits.split_at_checked(2)?,
        5 => digits.split_once(':')?,
        _ => return None,
    };
    let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<i32>().ok())?;
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    if hours > 23 || minutes > 59 || hours.to_string().len() > 2 {
        return None;
    }
    Offset::from_seconds(sign * (hours * 3600 + minutes * 60)).ok()
}

/// `+01:00`.
pub(super) fn offset_name(offset: Offset) -> String {
    let seconds = offset.seconds();
    let (sign, seconds) = (if seconds < 0 { '-' } else { '+' }, seconds.abs());
    format!("{sign}{:02}:{:02}", seconds / 3600, seconds / 60 % 60)
}
