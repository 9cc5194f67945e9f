//! Parts of a row for people, and for programs.

use jiff::{Timestamp, tz::TimeZone};

use super::{
    cells::{CellKey, Kind, Tally},
    names::{NameId, Names},
    rows::By,
    who::Program,
};
use crate::{event::Text, output};

/// More than is kept apart.
const OTHERS: &str = "(others)";

/// The module, or the alias in quotes.
pub(super) fn what(key: &CellKey, names: &Names) -> String {
    let name = Text::from(names.name(key.what.name));
    match (key.what.kind, key.what.name) {
        (Kind::Others, _) | (_, NameId::OTHERS) => OTHERS.to_owned(),
        (Kind::Module, NameId::NONE) => "(unknown)".to_owned(),
        (Kind::Module, _) => output::name(&name),
        (Kind::Alias, _) => output::quoted(&name),
    }
}

/// The program.
pub(super) fn program(key: &CellKey, names: &Names) -> String {
    if key.who.program == NameId::OTHERS { OTHERS.to_owned() } else { key.who.program(names).words() }
}

/// A name that may be absent.
pub(super) fn named(id: NameId, names: &Names) -> String {
    match id {
        NameId::OTHERS => OTHERS.to_owned(),
        NameId::NONE => "-".to_owned(),
        id => output::escape(&Text::from(names.name(id))),
    }
}

/// The part that rows are rolled up by.
pub(super) fn shared(key: &CellKey, by: By, names: &Names) -> String {
    match by {
        By::Module => what(key, names),
        By::Exe => program(key, names),
        By::User => named(key.who.user, names),
        By::Unit => named(key.who.unit, names),
        By::Container => named(key.who.container, names),
        By::Host => named(key.host, names),
    }
}

/// The container, or the unit.
pub(super) fn place(key: &CellKey, names: &Names) -> String {
    let container = named(key.who.container, names);
    match container.split_once(':') {
        // As the engines print it.
        Some((runtime, id)) if id.len() > 12 => format!("{runtime}:{}", id.chars().take(12).collect::<String>()),
        _ if container != "-" => container,
        _ => named(key.who.unit, names),
    }
}

/// `loaded`, or `loaded 11, failed 1`.
pub(super) fn statuses(tally: &Tally) -> String {
    let all: Vec<_> = tally.statuses().collect();
    match all.as_slice() {
        [(status, _)] => status.name().to_owned(),
        _ => all.iter().map(|(status, count)| format!("{} {count}", status.name())).collect::<Vec<_>>().join(", "),
    }
}

/// How long somebody was blocked.
pub(super) fn blocked(tally: &Tally) -> String {
    if tally.blocked_count == 0 { "-".to_owned() } else { output::duration(tally.blocked_ns) }
}

/// Date and time to the second.
pub(super) fn date(ns: i64, zone: &TimeZone) -> String {
    timestamp(ns).to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// Nanoseconds since 1970 as a time.
pub(super) fn timestamp(ns: i64) -> Timestamp {
    Timestamp::from_nanosecond(i128::from(ns)).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// What it is, for programs: `module` or `alias`, and its name.
pub(super) fn what_fields(key: &CellKey, names: &Names) -> (&'static str, String) {
    let name = String::from_utf8_lossy(names.name(key.what.name)).into_owned();
    match (key.what.kind, key.what.name) {
        (Kind::Others, _) | (_, NameId::OTHERS) => ("others", String::new()),
        (Kind::Module, _) => ("module", name),
        (Kind::Alias, _) => ("alias", name),
    }
}

/// The program, for programs.
pub(super) fn program_field(key: &CellKey, names: &Names) -> String {
    if key.who.program == NameId::OTHERS { OTHERS.to_owned() } else { program_of(key, names).field() }
}

fn program_of<'a>(key: &CellKey, names: &'a Names) -> Program<'a> {
    key.who.program(names)
}

/// A name that may be absent, for programs.
pub(super) fn field(id: NameId, names: &Names) -> Option<String> {
    match id {
        NameId::NONE => None,
        NameId::OTHERS => Some(OTHERS.to_owned()),
        id => Some(String::from_utf8_lossy(names.name(id)).into_owned()),
    }
}

/// The part that rows are rolled up by, for programs.
pub(super) fn shared_fields(key: &CellKey, by: By, names: &Names) -> (&'static str, String) {
    let named = |id| field(id, names).unwrap_or_default();
    match by {
        By::Module => what_fields(key, names),
        By::Exe => ("program", program_field(key, names)),
        By::User => ("user", named(key.who.user)),
        By::Unit => ("unit", named(key.who.unit)),
        By::Container => ("container", named(key.who.container)),
        By::Host => ("host", named(key.host)),
    }
}
