//! Parts of a row for people, and for programs.

use jiff::{Timestamp, tz::TimeZone};

use super::{
    cells::{CellKey, Kind, Tally},
    names::{NameId, Names},
    rows::By,
    who::Program,
};
use crate::{
    event::Text,
    output::{
        self,
        cell::{CELL_COLUMNS_LIMIT, cell},
        zone,
    },
};

/// More than is kept apart.
const OTHERS: &str = "(others)";

/// Bytes of a name that are looked at for a cell: more than have room in one, however they are escaped.
const CELL_BYTES_LIMIT: usize = 4 * CELL_COLUMNS_LIMIT;

/// As much of a name as a cell may show: its end, if it is a path.
fn clipped(name: &[u8]) -> Text {
    let beyond = name.len().saturating_sub(CELL_BYTES_LIMIT);
    if beyond == 0 {
        return Text::from(name);
    }
    if name.starts_with(b"/") {
        return Text::from([b"/", name.get(beyond..).unwrap_or_default()].concat().as_slice());
    }
    Text::from(name.get(..CELL_BYTES_LIMIT).unwrap_or_default())
}

/// A cell, as wide as it may be.
fn shown(text: &str) -> String {
    cell(text).into_owned()
}

/// The module, or the alias in quotes.
pub(super) fn what(key: &CellKey, names: &Names) -> String {
    let name = clipped(names.name(key.what.name));
    match (key.what.kind, key.what.name) {
        (Kind::Others, _) | (_, NameId::OTHERS) => OTHERS.to_owned(),
        (Kind::Module, NameId::NONE) => "(unknown)".to_owned(),
        (Kind::Module, _) => shown(&output::module(&name)),
        (Kind::Alias, _) => shown(&output::alias(&name)),
    }
}

/// The program.
pub(super) fn program(key: &CellKey, names: &Names) -> String {
    if key.who.program == NameId::OTHERS {
        return OTHERS.to_owned();
    }
    let name = clipped(names.name(key.who.program));
    shown(&Program::from_parts(key.who.program_kind, name.as_bytes()).words())
}

/// A name that may be absent.
pub(super) fn named(id: NameId, names: &Names) -> String {
    match id {
        NameId::OTHERS => OTHERS.to_owned(),
        NameId::NONE => "-".to_owned(),
        id => shown(&output::escape(&clipped(names.name(id)))),
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

/// Date and time to the second; with its offset where clocks showed that time twice.
pub(super) fn date(ns: i64, zone: &TimeZone) -> String {
    let time = timestamp(ns);
    let date = time.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string();
    date + &zone::offset_of_repeated(time, zone)
}

/// Nanoseconds since 1970 as a time.
pub(super) fn timestamp(ns: i64) -> Timestamp {
    Timestamp::from_nanosecond(i128::from(ns)).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// What it is, for programs: `module` or `alias`, and its name.
pub(super) fn what_fields(key: &CellKey, names: &Names) -> (&'static str, Text) {
    let name = Text::from(names.name(key.what.name));
    match (key.what.kind, key.what.name) {
        (Kind::Others, _) | (_, NameId::OTHERS) => ("others", Text::default()),
        (Kind::Module, _) => ("module", name),
        (Kind::Alias, _) => ("alias", name),
    }
}

/// The program, for programs.
pub(super) fn program_field(key: &CellKey, names: &Names) -> Text {
    if key.who.program == NameId::OTHERS { Text::from(OTHERS) } else { key.who.program(names).field() }
}

/// A name that may be absent, for programs.
pub(super) fn field(id: NameId, names: &Names) -> Option<Text> {
    match id {
        NameId::NONE => None,
        NameId::OTHERS => Some(Text::from(OTHERS)),
        id => Some(Text::from(names.name(id))),
    }
}

/// The part that rows are rolled up by, for programs.
pub(super) fn shared_fields(key: &CellKey, by: By, names: &Names) -> (&'static str, Text) {
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

/// A module, alias or program in a list for programs: as in a table, but never cut.
pub(super) fn listed(key: &CellKey, by: By, names: &Names) -> String {
    let name = Text::from(names.name(key.what.name));
    match (by, key.what.kind, key.what.name) {
        (By::Module, Kind::Module, id) if id > NameId::NONE => output::module(&name),
        (By::Module, Kind::Alias, id) if id > NameId::NONE => output::alias(&name),
        (By::Exe, ..) if key.who.program != NameId::OTHERS => key.who.program(names).words(),
        _ => shared(key, by, names),
    }
}
