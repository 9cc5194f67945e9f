//! The human-readable table.

use std::{
    collections::HashSet,
    io::{self, Write},
};

use jiff::tz::TimeZone;

use super::{
    aggregates::{GroupKey, Stats},
    columns::{Column, Layout},
    format::{blocked, date, named, place, program, shared, statuses, subject, timestamp},
    group_by::{By, Group, New, Place, Row, Shown, Sort, groups, rows},
    interner::NameId,
    query::ReportData,
};
use crate::output::{Style, escape_str, zone};

/// Maximum number of names in a grouped row.
const NAMES_SHOWN: usize = 4;

/// The view of a table.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct View {
    /// The group-by field; `None` for one row per combination.
    pub by: Option<By>,
    /// The sort order.
    pub sort: Sort,
    /// Maximum number of rows.
    pub top: Option<usize>,
}

impl View {
    /// The rows that are shown.
    pub(super) fn first<T>(self, rows: &[T]) -> &[T] {
        rows.get(..self.top.unwrap_or(rows.len())).unwrap_or(rows)
    }
}

/// Writes the table.
///
/// # Errors
/// When it cannot be written.
pub fn table(data: &ReportData<'_>, view: View, style: Style, writer: &mut dyn Write) -> io::Result<()> {
    let sheet = Sheet { data, view, style, zone: zone::zone(style.utc) };
    match view.by {
        None => sheet.combinations(writer),
        Some(by) => {
            let groups = groups(data, by, view.sort);
            let lines: Vec<Line<'_>> = groups.iter().map(Line::of_group).collect();
            let columns = grouped(data, by);
            sheet.write(&columns, &sheet.layout(&columns, &lines), &lines, &[], writer)
        }
    }
}

/// The content of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cell {
    New,
    Subject,
    Program,
    User,
    Login,
    Host,
    Place,
    Shared(By),
    Times,
    Requests,
    Loads,
    Blocked,
    First,
    Last,
    Results,
    /// Modules, or programs if rows are modules.
    Others(By),
    /// The hosts on which it is new.
    Hosts,
}

/// A row: one combination or a group.
struct Line<'a> {
    key: &'a GroupKey,
    stats: &'a Stats,
    new: Option<New>,
    others: &'a [(GroupKey, u64)],
    hosts: &'a [NameId],
}

impl<'a> Line<'a> {
    fn of_row(row: &'a Row) -> Self {
        Self { key: &row.key, stats: &row.stats, new: row.new, others: &[], hosts: &[] }
    }

    fn of_group(group: &'a Group) -> Self {
        Self { key: &group.key, stats: &group.stats, new: group.new, others: &group.others, hosts: &group.hosts }
    }
}

/// A table that is being written.
struct Sheet<'a> {
    data: &'a ReportData<'a>,
    view: View,
    style: Style,
    zone: TimeZone,
}

impl Sheet<'_> {
    fn combinations(&self, writer: &mut dyn Write) -> io::Result<()> {
        let (data, sort) = (self.data, self.view.sort);
        let mut columns = combinations(data);
        let mut shown = Shown { place: Place::One, login: true };
        let mut hidden = Vec::new();
        loop {
            let all = rows(data, sort, shown);
            let lines: Vec<Line<'_>> = all.iter().map(Line::of_row).collect();
            let layout = self.layout(&columns, &lines);
            let is_left_out = |cell: Cell| match cell {
                Cell::Place => layout.left_out().contains(&PLACE),
                Cell::Login => layout.left_out().contains(&LOGIN),
                _ => false,
            };
            if !columns.iter().any(|(_, cell)| is_left_out(*cell)) {
                return self.write(&columns, &layout, &lines, &hidden, writer);
            }
            // Without these columns some rows would look the same, so they are merged.
            for (head, cell) in [(PLACE, Cell::Place), (LOGIN, Cell::Login)] {
                if is_left_out(cell) {
                    hidden.push(head);
                    columns.retain(|(_, own)| *own != cell);
                }
            }
            let has = |cell| columns.iter().any(|(_, own)| *own == cell);
            shown = Shown { place: if has(Cell::Place) { Place::One } else { Place::None }, login: has(Cell::Login) };
        }
    }

    fn layout(&self, columns: &[(Column, Cell)], lines: &[Line<'_>]) -> Layout {
        let heads: Vec<Column> = columns.iter().map(|(column, _)| *column).collect();
        let cells = self.view.first(lines).iter().map(|line| self.cells(columns, line));
        Layout::new(&heads, cells, self.style)
    }

    fn write(
        &self,
        columns: &[(Column, Cell)],
        layout: &Layout,
        lines: &[Line<'_>],
        merged: &[&str],
        writer: &mut dyn Write,
    ) -> io::Result<()> {
        let Some(first) = lines.first() else {
            return writer.write_all(self.style.text(&nothing(self.data, &self.zone)).as_bytes());
        };
        writer.write_all(layout.heads().as_bytes())?;
        let shown = self.view.first(lines);
        for line in shown {
            writer.write_all(layout.line(&self.cells(columns, line)).as_bytes())?;
        }
        if lines.len() > shown.len() {
            let order = match self.view.sort {
                Sort::Count => "the most frequent come first",
                Sort::First => "the earliest come first",
                Sort::Last => "the latest come first",
                Sort::Blocked => "those that blocked longest come first",
                Sort::Name => "by name",
            };
            writeln!(writer, "... and {} more ({order})", lines.len() - shown.len())?;
        }
        let year = layout.year().map_or_else(String::new, |year| format!("of {year}, "));
        let mut notes = vec![format!("times are {year}in {}", zone::name(&self.zone, timestamp(first.stats.first_ns)))];
        let left_out: Vec<&str> = layout.left_out().iter().chain(merged).copied().collect();
        if !left_out.is_empty() {
            notes.push(format!("no room for {}", left_out.join(", ")));
        }
        let line = format!("({})", notes.join("; "));
        if self.style.width.is_none_or(|width| line.chars().count() <= width) {
            return writeln!(writer, "{line}");
        }
        notes.iter().try_for_each(|note| writeln!(writer, "({note})"))
    }

    fn cells(&self, columns: &[(Column, Cell)], line: &Line<'_>) -> Vec<String> {
        columns.iter().map(|(_, cell)| self.cell(*cell, line)).collect()
    }

    fn cell(&self, cell: Cell, line: &Line<'_>) -> String {
        let (names, Line { key, stats, .. }) = (self.data.names, line);
        match cell {
            Cell::New => line.new.map_or("", New::name).to_owned(),
            Cell::Subject => subject(key, names),
            Cell::Program => program(key, names),
            Cell::User => named(key.requester.user, names),
            Cell::Login => named(key.requester.login, names),
            Cell::Host => named(key.host, names),
            Cell::Place => place(key, names),
            Cell::Shared(by) => shared(key, by, names),
            Cell::Times => stats.count.to_string(),
            Cell::Requests => stats.requests.to_string(),
            Cell::Loads => stats.loads.to_string(),
            Cell::Blocked => blocked(stats),
            Cell::First => date(stats.first_ns, &self.zone),
            Cell::Last => date(stats.last_ns, &self.zone),
            Cell::Results => statuses(stats),
            Cell::Others(By::Module) => some(line.others, |(key, _)| program(key, names)),
            Cell::Others(_) => some(line.others, |(key, _)| subject(key, names)),
            Cell::Hosts => some(line.hosts, |host| named(*host, names)),
        }
    }
}

/// The first names of a list, and the number of the others.
fn some<T>(all: &[T], name: impl Fn(&T) -> String) -> String {
    let mut shown: Vec<String> = all.iter().take(NAMES_SHOWN).map(name).collect();
    if all.len() > NAMES_SHOWN {
        shown.push(format!("+{}", all.len() - NAMES_SHOWN));
    }
    shown.join(" ")
}

/// Explains why a table is empty: no data, or no match.
fn nothing(data: &ReportData<'_>, zone: &TimeZone) -> String {
    let query = data.query;
    let mut wanted: Vec<String> =
        query.selector.describe().iter().map(|pattern| format!("--{}", escape_str(pattern))).collect();
    for (option, ns) in [("since", query.since_ns), ("until", query.until_ns), ("new-since", query.new_since_ns)] {
        wanted.extend(ns.map(|ns| format!("--{option} \"{} {}\"", date(ns, zone), zone::name(zone, timestamp(ns)))));
    }
    if wanted.is_empty() {
        return "nothing was loaded, and nothing was asked for\n".to_owned();
    }
    format!("nothing matches {}\n", wanted.join(" "))
}

/// Head of the column of users who logged in.
const LOGIN: &str = "LOGIN";

/// Head of the unit or container column.
const PLACE: &str = "UNIT OR CONTAINER";

fn combinations(data: &ReportData<'_>) -> Vec<(Column, Cell)> {
    let hosts: HashSet<_> = data.aggregates.iter().map(|(key, _)| key.host).collect();
    let mut columns = vec![
        (Column::names("MODULE OR ALIAS", 16), Cell::Subject),
        (Column::names("BY", 24), Cell::Program),
        (Column::names("USER", 8), Cell::User),
        (Column::names(LOGIN, 6).spared(5), Cell::Login),
        (Column::names(PLACE, 10).short("UNIT").spared(4), Cell::Place),
        (Column::number("TIMES"), Cell::Times),
        (Column::number("BLOCKED").spared(2), Cell::Blocked),
        (Column::time("FIRST").spared(1), Cell::First),
        (Column::time("LAST").spared(3), Cell::Last),
        (Column::names("RESULT", 12), Cell::Results),
    ];
    if hosts.len() > 1 {
        columns.insert(5, (Column::names("HOST", 8), Cell::Host));
    }
    if data.query.new_since_ns.is_some() {
        columns.insert(0, (Column::names("NEW", 9), Cell::New));
    }
    columns
}

fn grouped(data: &ReportData<'_>, by: By) -> Vec<(Column, Cell)> {
    let (head, others) = match by {
        By::Module => ("MODULE OR ALIAS", "BY"),
        By::Exe => ("BY", "MODULES AND ALIASES"),
        By::User => ("USER", "MODULES AND ALIASES"),
        By::Login => (LOGIN, "MODULES AND ALIASES"),
        By::Unit => ("UNIT", "MODULES AND ALIASES"),
        By::Container => ("CONTAINER", "MODULES AND ALIASES"),
        By::Host => ("HOST", "MODULES AND ALIASES"),
    };
    let is_new_wanted = data.query.new_since_ns.is_some();
    let mut columns = Vec::new();
    if is_new_wanted {
        columns.push((Column::names("NEW", 9), Cell::New));
    }
    columns.push((Column::names(head, if by == By::Exe { 24 } else { 16 }), Cell::Shared(by)));
    if by == By::Module {
        columns.push((Column::number("TIMES"), Cell::Times));
    } else {
        columns.push((Column::number("REQUESTS"), Cell::Requests));
        columns.push((Column::number("LOADS"), Cell::Loads));
    }
    columns.extend([
        (Column::number("BLOCKED").spared(2), Cell::Blocked),
        (Column::time("FIRST").spared(1), Cell::First),
        (Column::time("LAST").spared(3), Cell::Last),
        (Column::names("RESULT", 12), Cell::Results),
        (Column::names(others, 12), Cell::Others(by)),
    ]);
    if is_new_wanted && by == By::Module && data.streams.len() > 1 {
        columns.push((Column::names("ON HOST", 8), Cell::Hosts));
    }
    columns
}

#[cfg(test)]
mod tests {
    use super::{By, Sort, Style, View, table};
    use crate::{
        report::{Engine, ReportQuery},
        stream::{Pipeline, read_inputs},
    };

    const CAPTURE: &[u8] = include_bytes!("../../../tests/fixtures/captures/outage-6.1.jsonl");

    fn shown(query: ReportQuery, by: Option<By>, width: Option<usize>) -> String {
        let mut pipeline = Pipeline::new(Engine::new(query, Vec::new()));
        read_inputs([("o.jsonl".to_owned(), CAPTURE)], None, &mut pipeline).unwrap();
        let engine = pipeline.finish().unwrap().0;
        text(&engine, by, Style { utc: true, width, ..Style::default() })
    }

    fn text(engine: &Engine, by: Option<By>, style: Style) -> String {
        let view = View { by, sort: Sort::First, top: None };
        let mut text = Vec::new();
        table(&engine.data(), view, style, &mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    /// A table on a common terminal fits its width and shows requester, module and time.
    #[test]
    fn table_fits_common_terminals() {
        for by in [None, Some(By::Exe)] {
            for width in [80, 100, 120, 132] {
                let text = shown(ReportQuery::default(), by, Some(width));
                assert!(text.lines().all(|line| line.chars().count() <= width), "{width}:\n{text}");
                for part in ["nf_conntrack", "/xtables-legacy-multi", "11-23 06:30", "loaded"] {
                    let is_cut = by.is_some() && part == "nf_conntrack";
                    assert!(is_cut || text.contains(part), "{part} {width}:\n{text}");
                }
            }
        }
        assert!(!shown(ReportQuery::default(), None, None).contains("no room"));
    }

    /// On a terminal of 80 columns, rows that differ only in the login keep it, and without it they would be merged.
    #[test]
    fn login_that_tells_rows_apart_is_kept_on_narrow_terminal() {
        let text = std::str::from_utf8(CAPTURE).unwrap();
        let request = text.lines().find(|line| line.contains("\"fs-nosuchfs\"") && line.contains("request")).unwrap();
        let mut capture = String::new();
        for (number, login) in ["\"no_login\":true", "\"loginuid\":1000,\"login_user\":\"alice\"", "\"loginuid\":1001"]
            .into_iter()
            .enumerate()
        {
            let (front, rest) = request.split_once("\"request\":\"").unwrap();
            let (_, rest) = rest.split_once('"').unwrap();
            assert!(rest.contains("\"no_login\":true"), "{rest}");
            let rest = rest.replacen("\"no_login\":true", login, 1);
            capture.push_str(&format!("{front}\"request\":\"{number}-1\"{rest}\n"));
        }
        let mut pipeline = Pipeline::new(Engine::new(ReportQuery::default(), Vec::new()));
        read_inputs([("o.jsonl".to_owned(), capture.as_bytes())], None, &mut pipeline).unwrap();
        let engine = pipeline.finish().unwrap().0;
        let narrow = |width| text_of(&engine, None, width);
        let shown = narrow(80);
        assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
        for part in ["LOGIN", " none ", " alice ", " uid 1001 "] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
        assert_eq!(narrow(60).matches("fs-nosuchfs").count(), if narrow(60).contains("LOGIN  ") { 3 } else { 1 });
        let by = text_of(&engine, Some(By::Login), 80);
        assert!(["none", "alice", "uid 1001", "REQUESTS", "LOADS"].iter().all(|part| by.contains(part)), "{by}");
    }

    fn text_of(engine: &Engine, by: Option<By>, width: usize) -> String {
        text(engine, by, Style { utc: true, width: Some(width), ..Style::default() })
    }

    /// An empty table distinguishes no data from no match.
    #[test]
    fn empty_table_distinguishes_no_data_from_no_match() {
        let query = ReportQuery {
            selector: "module=gone,comm=a".parse().unwrap(),
            since_ns: Some(1_795_415_443_000_000_000),
            ..ReportQuery::default()
        };
        assert_eq!(
            shown(query, None, None),
            "nothing matches --module=gone --comm=a --since \"2026-11-23 06:30:43 UTC\"\n"
        );
        let engine = Engine::new(ReportQuery::default(), Vec::new());
        let text = text(&engine, None, Style::default());
        assert_eq!(text, "nothing was loaded, and nothing was asked for\n");
    }

    /// Requests as in the stored capture, one for each name.
    fn with_names(names: impl Iterator<Item = String>) -> Engine {
        let text = std::str::from_utf8(CAPTURE).unwrap();
        let request = text.lines().find(|line| line.contains("\"fs-nosuchfs\"") && line.contains("request")).unwrap();
        let mut capture = String::new();
        for (number, name) in names.enumerate() {
            let id = format!("{number}-1");
            let line = request.replace("fs-nosuchfs", &name);
            let (front, rest) = line.split_once("\"request\":\"").unwrap();
            let (_, rest) = rest.split_once('"').unwrap();
            capture.push_str(&format!("{front}\"request\":\"{id}\"{rest}\n"));
        }
        let mut pipeline = Pipeline::new(Engine::new(ReportQuery::default(), Vec::new()));
        read_inputs([("o.jsonl".to_owned(), capture.as_bytes())], None, &mut pipeline).unwrap();
        pipeline.finish().unwrap().0
    }

    /// A name of any length is truncated and does not widen other rows.
    #[test]
    fn long_name_does_not_widen_table() {
        for length in [65_534, 65_535, 70_000, 1_000_000] {
            let names = (0..200).map(|number| if number == 7 { "a".repeat(length) } else { format!("m{number}") });
            let engine = with_names(names);
            for by in [None, Some(By::Module), Some(By::Exe)] {
                for width in [None, Some(80)] {
                    let shown = text(&engine, by, Style { utc: true, width, ..Style::default() });
                    assert!(shown.len() < 200 * 1000, "{length} {by:?} {width:?}: {}", shown.len());
                }
            }
        }
    }
}
