//! Human-readable text: escaping of foreign bytes, numbers with nouns, times as people type them.

mod escape;
pub mod time_expr;
pub(crate) mod unicode;

pub use escape::{alias, argument, ascii, escape, escape_str, module, name, quoted, sentence};

/// `1 event`, `2 events`.
#[must_use]
pub fn count(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// The name of a time zone, such as `Europe/Berlin`, or its abbreviation and offset if it has none.
pub(crate) fn zone_name(zone: &jiff::tz::TimeZone, at: jiff::Timestamp) -> String {
    match zone.iana_name() {
        Some(name) => escape_str(name),
        None => escape_str(&at.to_zoned(zone.clone()).strftime("%Z (UTC%:z)").to_string()),
    }
}
