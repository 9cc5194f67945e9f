//! Formats the cells of a row for human and machine-readable output.

use jiff::{Timestamp, tz::TimeZone};

use super::{
    aggregates::{GroupKey, Kind, Stats},
    group_by::By,
    interner::{Interner, NameId},
    requester::Program,
};
use crate::{
    event::Text,
    output::{
        self,
        cell::{CELL_COLUMNS_LIMIT, cell},
        zone,
    },
};

/// Everything beyond the limit.
const OVERFLOW: &str = "(others)";

/// Bytes of a name that are formatted for a cell: more than fit into one, with any escaping.
const CELL_BYTES_LIMIT: usize = 4 * CELL_COLUMNS_LIMIT;

/// The part of a name that fits into a cell: the end of a path, the beginning of any other name.
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

/// Truncates a cell to its maximum width.
fn shown(text: &str) -> String {
    cell(text).into_owned()
}

/// The module, or the alias in quotes.
pub(super) fn subject(key: &GroupKey, names: &Interner) -> String {
    let name = clipped(names.name(key.subject.name));
    match (key.subject.kind, key.subject.name) {
        (Kind::Overflow, _) | (_, NameId::OVERFLOW) => OVERFLOW.to_owned(),
        (Kind::Module, NameId::NONE) => "(unknown)".to_owned(),
        (Kind::Module, _) => shown(&output::module(&name)),
        (Kind::Alias, _) => shown(&output::alias(&name)),
    }
}

/// The program.
pub(super) fn program(key: &GroupKey, names: &Interner) -> String {
    if key.requester.program == NameId::OVERFLOW {
        return OVERFLOW.to_owned();
    }
    let name = clipped(names.name(key.requester.program));
    shown(&Program::from_parts(key.requester.program_kind, name.as_bytes()).label())
}

/// A name that may be absent.
pub(super) fn named(id: NameId, names: &Interner) -> String {
    match id {
        NameId::OVERFLOW => OVERFLOW.to_owned(),
        NameId::NONE => "-".to_owned(),
        id => shown(&output::escape(&clipped(names.name(id)))),
    }
}

/// The field that rows are grouped by.
pub(super) fn shared(key: &GroupKey, by: By, names: &Interner) -> String {
    match by {
        By::Module => subject(key, names),
        By::Exe => program(key, names),
        By::User => named(key.requester.user, names),
        By::Login => named(key.requester.login, names),
        By::Unit => named(key.requester.unit, names),
        By::Container => named(key.requester.container, names),
        By::Host => named(key.host, names),
    }
}

/// The container, or the unit.
pub(super) fn place(key: &GroupKey, names: &Interner) -> String {
    let container = named(key.requester.container, names);
    match container.split_once(':') {
        // Twelve characters, as container engines print ids.
        Some((runtime, id)) if id.len() > 12 => format!("{runtime}:{}", id.chars().take(12).collect::<String>()),
        _ if container != "-" => container,
        _ => named(key.requester.unit, names),
    }
}

/// `loaded`, or `loaded 11, failed 1`.
pub(super) fn statuses(stats: &Stats) -> String {
    let all: Vec<_> = stats.statuses().collect();
    match all.as_slice() {
        [(status, _)] => status.name().to_owned(),
        _ => all.iter().map(|(status, count)| format!("{} {count}", status.name())).collect::<Vec<_>>().join(", "),
    }
}

/// Total time that processes were blocked.
pub(super) fn blocked(stats: &Stats) -> String {
    if stats.blocked_count == 0 { "-".to_owned() } else { output::duration(stats.blocked_ns) }
}

/// Date and time to the second, with the UTC offset if the local time is ambiguous.
pub(super) fn date(ns: i64, zone: &TimeZone) -> String {
    let time = timestamp(ns);
    let date = time.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string();
    date + &zone::offset_of_repeated(time, zone)
}

/// Nanoseconds since 1970 as a time.
pub(super) fn timestamp(ns: i64) -> Timestamp {
    Timestamp::from_nanosecond(i128::from(ns)).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// Kind (`module` or `alias`) and name, for machine-readable output.
pub(super) fn subject_fields(key: &GroupKey, names: &Interner) -> (&'static str, Text) {
    let name = Text::from(names.name(key.subject.name));
    match (key.subject.kind, key.subject.name) {
        (Kind::Overflow, _) | (_, NameId::OVERFLOW) => ("others", Text::default()),
        (Kind::Module, _) => ("module", name),
        (Kind::Alias, _) => ("alias", name),
    }
}

/// The program, for machine-readable output.
pub(super) fn program_field(key: &GroupKey, names: &Interner) -> Text {
    if key.requester.program == NameId::OVERFLOW { Text::from(OVERFLOW) } else { key.requester.program(names).field() }
}

/// A name that may be absent, for machine-readable output.
pub(super) fn field(id: NameId, names: &Interner) -> Option<Text> {
    match id {
        NameId::NONE => None,
        NameId::OVERFLOW => Some(Text::from(OVERFLOW)),
        id => Some(Text::from(names.name(id))),
    }
}

/// The field that rows are grouped by, for machine-readable output.
pub(super) fn shared_fields(key: &GroupKey, by: By, names: &Interner) -> (&'static str, Text) {
    let named = |id| field(id, names).unwrap_or_default();
    match by {
        By::Module => subject_fields(key, names),
        By::Exe => ("program", program_field(key, names)),
        By::User => ("user", named(key.requester.user)),
        By::Login => ("login", named(key.requester.login)),
        By::Unit => ("unit", named(key.requester.unit)),
        By::Container => ("container", named(key.requester.container)),
        By::Host => ("host", named(key.host)),
    }
}

/// A module, alias or program in a machine-readable list: as in a table, but never truncated.
pub(super) fn listed(key: &GroupKey, by: By, names: &Interner) -> String {
    let name = Text::from(names.name(key.subject.name));
    match (by, key.subject.kind, key.subject.name) {
        (By::Module, Kind::Module, id) if id > NameId::NONE => output::module(&name),
        (By::Module, Kind::Alias, id) if id > NameId::NONE => output::alias(&name),
        (By::Exe, ..) if key.requester.program != NameId::OVERFLOW => key.requester.program(names).label(),
        _ => shared(key, by, names),
    }
}
