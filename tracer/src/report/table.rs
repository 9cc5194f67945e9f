//! Who loaded what, as a table for people.

use std::collections::HashSet;

use jiff::tz::TimeZone;

use super::{
    engine::Whole,
    names::Names,
    rows::{By, Group, Row, Sort, groups, rows},
    words::{blocked, date, named, place, program, shared, statuses, what},
};
use crate::output::Style;

/// Names that a rolled-up row has room for.
const NAMES_SHOWN: usize = 4;

/// The narrowest that a column with names is cut to.
const COLUMN_WIDTH_MIN: usize = 12;

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
        return "nothing was loaded, and nothing was asked for\n".to_owned();
    }
    let mut out = drawn(&heads, &lines, style.width);
    if left_out > 0 {
        out.push_str(&format!("... and {left_out} more\n"));
    }
    out
}

/// A column: its head, and whether it is a number.
type Head = (&'static str, Align);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Align {
    Left,
    Right,
}

fn combinations(whole: &Whole<'_>, rows: &[Row], zone: &TimeZone) -> (Vec<Head>, Vec<Vec<String>>) {
    let names: &Names = whole.names;
    let hosts: HashSet<_> = whole.cells.iter().map(|(key, _)| key.host).collect();
    let mut heads = vec![
        ("MODULE OR ALIAS", Align::Left),
        ("BY", Align::Left),
        ("USER", Align::Left),
        ("UNIT OR CONTAINER", Align::Left),
        ("TIMES", Align::Right),
        ("BLOCKED", Align::Right),
        ("FIRST", Align::Left),
        ("LAST", Align::Left),
        ("RESULT", Align::Left),
    ];
    if hosts.len() > 1 {
        heads.insert(4, ("HOST", Align::Left));
    }
    if whole.plan.new_since_ns.is_some() {
        heads.insert(0, ("NEW", Align::Left));
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

fn rolled_up(whole: &Whole<'_>, groups: &[Group], by: By, zone: &TimeZone) -> (Vec<Head>, Vec<Vec<String>>) {
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
        (head, Align::Left),
        ("TIMES", Align::Right),
        ("BLOCKED", Align::Right),
        ("FIRST", Align::Left),
        ("LAST", Align::Left),
        ("RESULT", Align::Left),
        (others, Align::Left),
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

/// Columns side by side. Where they do not fit, the widest of names lose their ends.
fn drawn(heads: &[Head], lines: &[Vec<String>], width: Option<usize>) -> String {
    let length = |text: &str| text.chars().count();
    let mut widths: Vec<usize> = heads.iter().map(|(head, _)| length(head)).collect();
    for line in lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = length(cell).max(*width);
        }
    }
    if let Some(limit) = width {
        let gaps = 2 * widths.len().saturating_sub(1);
        while widths.iter().sum::<usize>() + gaps > limit {
            let Some(widest) = widths.iter_mut().filter(|width| **width > COLUMN_WIDTH_MIN).max() else { break };
            *widest -= 1;
        }
    }
    let mut out = String::new();
    let head: Vec<String> = heads.iter().map(|(head, _)| (*head).to_owned()).collect();
    for line in std::iter::once(&head).chain(lines) {
        let cells = line.iter().zip(heads).zip(&widths).map(|((cell, (_, align)), width)| {
            let cell = cut(cell, *width);
            match align {
                Align::Left => format!("{cell:<width$}"),
                Align::Right => format!("{cell:>width$}"),
            }
        });
        let joined = cells.collect::<Vec<_>>().join("  ");
        out.push_str(joined.trim_end());
        out.push('\n');
    }
    out
}

/// What does not fit loses its end, and says so.
fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept: String = text.chars().take(width.saturating_sub(3)).collect();
    format!("{kept}...")
}

#[cfg(test)]
mod tests {
    use super::{Align, drawn};

    /// Check that columns stand under each other, and that a narrow terminal cuts names and not numbers.
    #[test]
    fn columns_are_aligned_and_cut() {
        let heads = [("BY", Align::Left), ("TIMES", Align::Right)];
        let lines = [vec!["/usr/bin/mount".to_owned(), "7".to_owned()], vec!["x".to_owned(), "12345".to_owned()]];
        assert_eq!(
            drawn(&heads, &lines, None),
            "BY              TIMES\n/usr/bin/mount      7\nx               12345\n"
        );
        assert_eq!(drawn(&heads, &lines, Some(19)), "BY            TIMES\n/usr/bin/...      7\nx             12345\n");
    }
}
