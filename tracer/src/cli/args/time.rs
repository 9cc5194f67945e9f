//! Times in options.

use anyhow::Context;
use jiff::{Timestamp, Zoned, tz::TimeZone};

use crate::{
    kernel::sysinfo::SystemInfo,
    output::check_local,
    text::time_expr::{self, Reference},
};

/// Help on TIME, for verbs with such options.
pub(in crate::cli) const TIME_HELP: &str = "\
TIME is 2026-11-23, \"2026-11-23 6:30\", 6:30 (today), today, yesterday, monday (the last one), \"yesterday 10:00\", boot, 2h or \
\"2 hours ago\" (back from now), \"Nov 23 06:30:49\", @1795415443 or RFC 3339; a zone may follow: UTC, +0100, Europe/Berlin.";

/// Parses times of options.
pub(in crate::cli) struct Times {
    reference: Reference,
}

impl Times {
    /// Times without a zone are local, or UTC.
    pub(in crate::cli) fn new(utc: bool) -> anyhow::Result<Self> {
        if !utc {
            check_local()?;
        }
        let now = if utc { Zoned::now().with_time_zone(TimeZone::UTC) } else { Zoned::now() };
        let boot = SystemInfo::default().boot_time().ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
        Ok(Self { reference: Reference { now, boot } })
    }

    /// The time of an option, nanoseconds since 1970.
    pub(in crate::cli) fn ns(&self, option: &str, text: Option<&str>) -> anyhow::Result<Option<i64>> {
        let Some(text) = text else { return Ok(None) };
        let time = time_expr::parse(text, &self.reference).with_context(|| format!("cannot use --{option}"))?;
        let ns = i64::try_from(time.as_nanosecond()).ok();
        Ok(Some(ns.with_context(|| format!("invalid --{option} {text:?}: expected a year from 1678 to 2261"))?))
    }
}
