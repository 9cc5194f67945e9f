//! Who loaded what, as a table for people.

use std::collections::HashSet;

use jiff::tz::TimeZone;

use super::{
    engine::Whole,
    grid::{Column, drawn},
    names::Names,
    rows::{By, Group, Row, Sort, groups, rows},
    words::{blocked, date, named, place, program, shared, statuses, what},
};
use crate::output::{Style, escape_str};

/// Names that a rolled-up row has room for.
const NAMES_SHOWN: usize = 4;

/// What a table shows.
#[derive(Clone, Copy, Debug)]
pub struct View {
    /// Rolled up, or one row for each combination.
    pub by: Option<By>,
    /// The order.
    pub sort: Sort,
    /// At most this many rows.
    pub top: Option<usize>,
}

impl View {
    /// The rows that are shown.
    pub(super) fn first<T>(self, rows: &[T]) -> &[T] {
        rows.get(..self.top.unwrap_or(rows.len())).unwrap_or(rows)
    }
}

/// The table.
#[must_use]
pub fn table(whole: &Whole<'_>, view: View, style: Style) -> String {
    let zone = if style.utc { TimeZone::UTC } else { TimeZone::system() };
    let (heads, mut lines) = match view.by {
        None => combinations(whole, &rows(whole, view.sort), &zone),
        Some(by) => rolled_up(whole, &groups(whole, by, view.sort), by, &zone),
    };
    let left_out = view.top.map_or(0, |top| lines.len().saturating_sub(top));
    lines.truncate(view.top.unwrap_or(usize::MAX));
    if lines.is_empty() {
        return nothing(whole, &zone);
    }
    let mut out = drawn(&heads, &lines, style.width);
    if left_out > 0 {
        out.push_str(&format!("... and {left_out} more\n"));
    }
    out
}

/// Why a table has no rows: nothing is there, or nothing of it is wanted.
fn nothing(whole: &Whole<'_>, zone: &TimeZone) -> String {
    let plan = whole.plan;
    let mut wanted: Vec<String> =
        plan.selector.describe().iter().map(|pattern| format!("--{}", escape_str(pattern))).collect();
    for (option, ns) in [("since", plan.since_ns), ("until", plan.until_ns), ("new-since", plan.new_since_ns)] {
        wanted.extend(ns.map(|ns| format!("--{option} \"{}\"", date(ns, zone))));
    }
    if wanted.is_empty() {
        return "nothing was loaded, and nothing was asked for\n".to_owned();
    }
    format!("nothing matches {}\n", wanted.join(" "))
}

fn combinations(whole: &Whole<'_>, rows: &[Row], zone: &TimeZone) -> (Vec<Column>, Vec<Vec<String>>) {
    let names: &Names = whole.names;
    let hosts: HashSet<_> = whole.cells.iter().map(|(key, _)| key.host).collect();
    let mut heads = vec![
        Column::names("MODULE OR ALIAS", 16),
        Column::names("BY", 16),
        Column::names("USER", 8),
        Column::names("UNIT OR CONTAINER", 12).spared(1),
        Column::number("TIMES"),
        Column::number("BLOCKED").spared(3),
        Column::time("FIRST").spared(2),
        Column::time("LAST"),
        Column::names("RESULT", 12),
    ];
    if hosts.len() > 1 {
        heads.insert(4, Column::names("HOST", 8));
    }
    if whole.plan.new_since_ns.is_some() {
        heads.insert(0, Column::names("NEW", 9));
    }
    let line = |row: &Row| {
        let mut line = vec![
            what(&row.key, names),
            program(&row.key, names),
            named(row.key.who.user, names),
            place(&row.key, names),
            row.tally.count.to_string(),
            blocked(&row.tally),
            date(row.tally.first_ns, zone),
            date(row.tally.last_ns, zone),
            statuses(&row.tally),
        ];
        if hosts.len() > 1 {
            line.insert(4, named(row.key.host, names));
        }
        if let Some(new) = row.new {
            line.insert(0, new.name().to_owned());
        }
        line
    };
    (heads, rows.iter().map(line).collect())
}

fn rolled_up(whole: &Whole<'_>, groups: &[Group], by: By, zone: &TimeZone) -> (Vec<Column>, Vec<Vec<String>>) {
    let names: &Names = whole.names;
    let head = match by {
        By::Module => "MODULE OR ALIAS",
        By::Exe => "BY",
        By::User => "USER",
        By::Unit => "UNIT",
        By::Container => "CONTAINER",
        By::Host => "HOST",
    };
    let others = if by == By::Module { "BY" } else { "MODULES AND ALIASES" };
    let heads = vec![
        Column::names(head, 16),
        Column::number("TIMES"),
        Column::number("BLOCKED").spared(3),
        Column::time("FIRST").spared(2),
        Column::time("LAST"),
        Column::names("RESULT", 12),
        Column::names(others, 20),
    ];
    let line = |group: &Group| {
        let mut shown: Vec<String> = group
            .others
            .iter()
            .take(NAMES_SHOWN)
            .map(|(key, _)| if by == By::Module { program(key, names) } else { what(key, names) })
            .collect();
        if group.others.len() > NAMES_SHOWN {
            shown.push(format!("+{}", group.others.len() - NAMES_SHOWN));
        }
        vec![
            shared(&group.key, by, names),
            group.tally.count.to_string(),
            blocked(&group.tally),
            date(group.tally.first_ns, zone),
            date(group.tally.last_ns, zone),
            statuses(&group.tally),
            shown.join(" "),
        ]
    };
    (heads, groups.iter().map(line).collect())
}

#[cfg(test)]
mod tests {
    use super::{By, Sort, Style, View, table};
    use crate::{
        report::{Engine, Plan},
        stream::{Pipeline, read_inputs},
    };

    const CAPTURE: &[u8] = include_bytes!("../../../tests/fixtures/captures/outage-6.1.jsonl");

    fn shown(plan: Plan, by: Option<By>, width: Option<usize>) -> String {
        let mut pipeline = Pipeline::new(Engine::new(plan, Vec::new()));
        read_inputs([("o.jsonl".to_owned(), CAPTURE)], None, &mut pipeline).unwrap();
        let mut engine = pipeline.finish().unwrap().0;
        engine.finish().unwrap();
        let view = View { by, sort: Sort::First, top: None };
        table(&engine.whole(), view, Style { utc: true, width, ..Style::default() })
    }

    /// Check that usual terminals show who, what and when, and that nothing is wider than they are.
    #[test]
    fn usual_terminals_have_room() {
        for by in [None, Some(By::Exe)] {
            for width in [80, 100, 120, 132] {
                let text = shown(Plan::default(), by, Some(width));
                assert!(text.lines().all(|line| line.chars().count() <= width), "{width}:\n{text}");
                for part in ["nf_conntrack", "/xtables-legacy-multi", "11-23 06:30", "loaded"] {
                    let is_cut = by.is_some() && part == "nf_conntrack";
                    assert!(is_cut || text.contains(part), "{part} {width}:\n{text}");
                }
            }
        }
        assert!(!shown(Plan::default(), None, None).contains("no room"));
    }

    /// Check that a table without rows tells nothing from nothing wanted.
    #[test]
    fn nothing_is_told_from_nothing_wanted() {
        let plan = Plan {
            selector: "module=gone,comm=a".parse().unwrap(),
            since_ns: Some(1_795_415_443_000_000_000),
            ..Plan::default()
        };
        assert_eq!(shown(plan, None, None), "nothing matches --module=gone --comm=a --since \"2026-11-23 06:30:43\"\n");
        let engine = Engine::new(Plan::default(), Vec::new());
        let view = View { by: None, sort: Sort::First, top: None };
        let text = table(&engine.whole(), view, Style::default());
        assert_eq!(text, "nothing was loaded, and nothing was asked for\n");
    }
}
