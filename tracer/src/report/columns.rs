//! Text columns that are fitted to the width of the terminal.

use crate::output::{
    Style,
    cell::{self, cut, left, right},
};

/// Byte range of the seconds in a time: `2026-11-23 06:30:49`, followed by the offset if one is shown.
const SECONDS: std::ops::Range<usize> = 16..19;

/// Characters of the year and its separator.
const YEAR_CHARS: usize = 5;

/// Column separator.
const GAP: usize = 2;

/// Minimum width of a name if the line is too narrow for all columns.
const NAMES_MIN: usize = 6;

/// A column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Column {
    head: &'static str,
    /// Short head for narrow cells.
    short_head: &'static str,
    kind: Kind,
    /// Columns with low numbers are omitted first if the line is too narrow; `None` means never.
    spared: Option<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Names: truncated, but not below this width.
    Interner(usize),
    /// Numbers: never truncated.
    Number,
    /// Times: may lose the seconds, and the year if all times share it.
    Time,
}

impl Column {
    /// A column of names, truncated to no fewer than `min` characters.
    pub(super) const fn names(head: &'static str, min: usize) -> Self {
        Self { head, short_head: head, kind: Kind::Interner(min), spared: None }
    }

    /// Sets the head for narrow columns.
    pub(super) const fn short(self, short_head: &'static str) -> Self {
        Self { short_head, ..self }
    }

    /// A column of right-aligned numbers.
    pub(super) const fn number(head: &'static str) -> Self {
        Self { head, short_head: head, kind: Kind::Number, spared: None }
    }

    /// A column of dates with times to the second.
    pub(super) const fn time(head: &'static str) -> Self {
        Self { head, short_head: head, kind: Kind::Time, spared: None }
    }

    /// Makes the column optional: columns with the lowest number are omitted first.
    pub(super) const fn spared(self, order: u8) -> Self {
        Self { spared: Some(order), ..self }
    }
}

/// A column with the width of its cells.
#[derive(Clone, Copy, Debug)]
struct Laid {
    column: Column,
    /// Index of its cell in a line.
    place: usize,
    width: usize,
    /// Width of its cells without the head.
    cells_width: usize,
    /// All cells are equal, so the column distinguishes no lines.
    is_uniform: bool,
    has_seconds: bool,
    has_year: bool,
}

impl Laid {
    /// The preferred minimum width.
    fn min(&self) -> usize {
        match self.column.kind {
            Kind::Interner(min) => {
                min.min(self.cells_width).max(cell::columns(self.column.short_head).min(min)).min(self.width)
            }
            Kind::Number | Kind::Time => self.width,
        }
    }

    fn head(&self) -> String {
        let Column { head, short_head, kind, .. } = self.column;
        let head = if cell::columns(head) > self.width { short_head } else { head };
        if kind == Kind::Number { right(head, self.width) } else { left(&cut(head, self.width), self.width) }
    }

    fn is_time(&self) -> bool {
        self.column.kind == Kind::Time
    }

    fn cell(&self, text: &str) -> String {
        match self.column.kind {
            Kind::Number => right(text, self.width),
            Kind::Interner(_) => left(&cut(text, self.width), self.width),
            Kind::Time => {
                let seconds = if self.has_seconds { 0..0 } else { SECONDS };
                let skipped = if self.has_year { 0 } else { YEAR_CHARS };
                let kept = text.chars().enumerate().filter(|(at, _)| !seconds.contains(at) && *at >= skipped);
                left(&kept.map(|(_, character)| character).collect::<String>(), self.width)
            }
        }
    }
}

/// Columns with their widths. If they do not fit, columns are narrowed in this order: times lose their seconds,
/// optional columns are omitted (constant names first; this is reported), times lose a year that all share (also
/// reported), names are truncated.
///
/// Lines are generated twice, to measure and to write them, so that a long table is never in memory.
#[derive(Debug)]
pub(super) struct Layout {
    laid: Vec<Laid>,
    left_out: Vec<&'static str>,
    year: Option<String>,
    style: Style,
}

impl Layout {
    /// Measures all lines and fits the columns.
    pub(super) fn new(columns: &[Column], lines: impl Iterator<Item = Vec<String>>, style: Style) -> Self {
        let laid = columns.iter().enumerate().map(|(place, column)| Laid {
            column: *column,
            place,
            width: cell::columns(column.head),
            cells_width: 0,
            is_uniform: matches!(column.kind, Kind::Interner(_)),
            has_seconds: true,
            has_year: true,
        });
        let mut laid: Vec<Laid> = laid.collect();
        let mut years = Years::None;
        let mut first: Option<Vec<String>> = None;
        for line in lines {
            for (laid, text) in laid.iter_mut().zip(&line) {
                laid.is_uniform &= first.as_ref().and_then(|first| first.get(laid.place)).is_none_or(|own| own == text);
                laid.cells_width = laid.cells_width.max(cell::columns(&cell::cell(&style.text(text))));
                laid.width = laid.width.max(laid.cells_width);
                if laid.is_time() {
                    years = years.and(text);
                }
            }
            first.get_or_insert(line);
        }
        let year = years.shared();
        let left_out = style.width.map_or_else(Vec::new, |limit| fit(&mut laid, limit, year.is_some()));
        let year = year.filter(|_| laid.iter().any(|column| !column.has_year));
        Self { laid, left_out, year, style }
    }

    /// The heads of omitted columns.
    pub(super) fn left_out(&self) -> &[&'static str] {
        &self.left_out
    }

    /// The common year of all times, if they are shown without it.
    pub(super) fn year(&self) -> Option<&str> {
        self.year.as_deref()
    }

    /// The header line.
    pub(super) fn heads(&self) -> String {
        joined(self.laid.iter().map(Laid::head))
    }

    /// Formats a line.
    pub(super) fn line(&self, cells: &[String]) -> String {
        joined(self.laid.iter().map(|laid| {
            let text = cells.get(laid.place).map_or("", String::as_str);
            laid.cell(&self.style.text(text))
        }))
    }
}

fn joined(cells: impl Iterator<Item = String>) -> String {
    let mut out = cells.collect::<Vec<_>>().join(&" ".repeat(GAP));
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

/// The years that occur in a column of times.
enum Years {
    None,
    One(String),
    Several,
}

impl Years {
    fn and(self, time: &str) -> Self {
        let year = time.split('-').next().unwrap_or_default();
        match self {
            Self::None if year.len() + 1 == YEAR_CHARS => Self::One(year.to_owned()),
            Self::One(own) if own == year => Self::One(own),
            _ => Self::Several,
        }
    }

    fn shared(self) -> Option<String> {
        if let Self::One(year) = self { Some(year) } else { None }
    }
}

/// Narrows the columns to the available width and returns the heads of omitted ones.
fn fit(laid: &mut Vec<Laid>, limit: usize, share_year: bool) -> Vec<&'static str> {
    let gaps = |laid: &[Laid]| GAP * laid.len().saturating_sub(1);
    let natural = |laid: &[Laid]| laid.iter().map(|column| column.width).sum::<usize>() + gaps(laid);
    let least = |laid: &[Laid]| laid.iter().map(Laid::min).sum::<usize>() + gaps(laid);
    if natural(laid) > limit {
        for column in laid.iter_mut().filter(|column| column.is_time()) {
            column.width = column.width.saturating_sub(SECONDS.len()).max(cell::columns(column.column.head));
            column.has_seconds = false;
        }
    }
    let skip_year = |laid: &mut [Laid]| {
        for column in laid.iter_mut().filter(|column| column.is_time() && column.has_year && share_year) {
            column.width = column.width.saturating_sub(YEAR_CHARS).max(cell::columns(column.column.head));
            column.has_year = false;
        }
    };
    let mut left_out = Vec::new();
    while least(laid) > limit {
        let order = |column: &Laid| Some((!column.is_uniform, column.column.spared?));
        let next = laid.iter().enumerate().filter_map(|(at, column)| Some((order(column)?, at))).min();
        let Some((_, at)) = next else { break };
        left_out.push(laid.remove(at).column.head);
        // Each of the remaining columns is more useful than the year.
        if least(laid) > limit {
            skip_year(laid);
        }
    }
    if natural(laid) > limit {
        skip_year(laid);
    }
    if natural(laid) > limit {
        // No cell of these columns is truncated.
        for column in laid.iter_mut() {
            column.width = column.width.min(column.cells_width.max(cell::columns(column.column.short_head)));
        }
    }
    for is_last_resort in [false, true] {
        let min = |column: &Laid| match column.column.kind {
            Kind::Interner(_) if is_last_resort => NAMES_MIN.min(column.width),
            _ => column.min(),
        };
        while natural(laid) > limit {
            let widest = laid.iter_mut().filter(|column| column.width > min(column)).max_by_key(|column| column.width);
            let Some(widest) = widest else { break };
            widest.width -= 1;
        }
    }
    left_out
}

#[cfg(test)]
mod tests {
    use super::{Column, Layout};
    use crate::output::Style;

    fn cells(cells: &[&str]) -> Vec<String> {
        cells.iter().map(|cell| (*cell).to_owned()).collect()
    }

    fn drawn(columns: &[Column], lines: &[Vec<String>], style: Style) -> String {
        let layout = Layout::new(columns, lines.iter().cloned(), style);
        let mut out = layout.heads();
        lines.iter().for_each(|line| out.push_str(&layout.line(line)));
        if let Some(year) = layout.year() {
            out.push_str(&format!("of {year}\n"));
        }
        if !layout.left_out().is_empty() {
            out.push_str(&format!("without {}\n", layout.left_out().join(", ")));
        }
        out
    }

    fn wide(width: usize) -> Style {
        Style { width: Some(width), ..Style::default() }
    }

    /// A narrow terminal truncates the front of paths and the end of names, but no numbers, and keeps columns aligned.
    #[test]
    fn columns_on_narrow_terminal_are_aligned_and_truncated() {
        let columns = [Column::names("BY", 12), Column::number("TIMES")];
        let lines = [cells(&["/usr/bin/mount", "7"]), cells(&["(program)[other]", "12345"])];
        assert_eq!(
            drawn(&columns, &lines, Style::default()),
            "BY                TIMES\n/usr/bin/mount        7\n(program)[other]  12345\n"
        );
        assert_eq!(
            drawn(&columns, &lines, wide(19)),
            "BY            TIMES\n...bin/mount      7\n(program)...  12345\n"
        );
    }

    /// Wide characters do not shift the following columns; a non-UTF-8 locale gets escapes.
    #[test]
    fn columns_with_wide_characters_are_aligned() {
        let columns = [Column::names("BY", 12), Column::number("TIMES")];
        let lines = [cells(&["/漢字", "7"]), cells(&["/bin/a", "8"])];
        assert_eq!(drawn(&columns, &lines, Style::default()), "BY      TIMES\n/漢字       7\n/bin/a      8\n");
        let ascii = Style { ascii: true, ..Style::default() };
        assert_eq!(
            drawn(&columns, &lines, ascii),
            "BY                 TIMES\n/\\u{6f22}\\u{5b57}      7\n/bin/a                 8\n"
        );
    }

    /// A very long cell does not widen the others and does not panic.
    #[test]
    fn long_cell_is_truncated() {
        let columns = [Column::names("BY", 12), Column::number("TIMES")];
        for length in [300, 65_535, 65_536, 4_000_000] {
            let lines = [cells(&[&"a".repeat(length), "7"]), cells(&["b", "8"])];
            for style in [Style::default(), wide(80), wide(1_000_000)] {
                let text = drawn(&columns, &lines, style);
                assert!(text.lines().all(|line| line.len() <= 256 + 2 + 5), "{length} {style:?}");
                assert!(text.contains("aaa..."), "{length} {style:?}");
            }
        }
    }

    /// Narrowing drops seconds first, then optional columns, and reports the omitted columns.
    #[test]
    fn narrowing_drops_seconds_then_optional_columns() {
        let columns = [
            Column::names("BY", 4),
            Column::names("UNIT", 4).spared(3),
            Column::number("BLOCKED").spared(2),
            Column::time("FIRST").spared(1),
            Column::time("LAST"),
        ];
        let lines = ["a.mount", "b.mount"]
            .map(|unit| cells(&["mount", unit, "7 ms", "2026-11-23 06:30:49", "2026-11-23 06:30:50"]));
        for (width, shown) in [
            (
                65,
                "BY     UNIT     BLOCKED  FIRST                LAST\nmount  a.mount     7 ms  2026-11-23 06:30:49  2026-11-23 06:30:50\n",
            ),
            (
                64,
                "BY     UNIT     BLOCKED  FIRST             LAST\nmount  a.mount     7 ms  2026-11-23 06:30  2026-11-23 06:30\n",
            ),
            (
                55,
                "BY     UNIT     BLOCKED  FIRST        LAST\nmount  a.mount     7 ms  11-23 06:30  11-23 06:30\nof 2026\n",
            ),
            (42, "BY     UNIT     BLOCKED  LAST\nmount  a.mount     7 ms  2026-11-23 06:30\nwithout FIRST\n"),
            (36, "BY     UNIT     BLOCKED  LAST\nmount  a.mount     7 ms  11-23 06:30\nof 2026\nwithout FIRST\n"),
            (28, "BY     UNIT     LAST\nmount  a.mount  11-23 06:30\nof 2026\nwithout FIRST, BLOCKED\n"),
            (18, "BY     LAST\nmount  11-23 06:30\nof 2026\nwithout FIRST, BLOCKED, UNIT\n"),
        ] {
            let second = |line: &str| {
                if line.starts_with("mount") {
                    format!("{line}\n{}\n", line.replace("a.m", "b.m"))
                } else {
                    format!("{line}\n")
                }
            };
            let shown: String = shown.lines().map(second).collect();
            assert_eq!(drawn(&columns, &lines, wide(width)), shown, "{width}");
        }
    }

    /// A column of equal names is omitted before times.
    #[test]
    fn constant_column_is_omitted_first() {
        let columns = [Column::names("BY", 4), Column::names("UNIT", 4).spared(2), Column::time("FIRST").spared(1)];
        let lines =
            [cells(&["mount", "a.mount", "2026-11-23 06:30:49"]), cells(&["mkfs", "a.mount", "2026-11-23 06:30:49"])];
        let shown = "BY     FIRST\nmount  11-23 06:30\nmkfs   11-23 06:30\nof 2026\nwithout UNIT\n";
        assert_eq!(drawn(&columns, &lines, wide(22)), shown);
    }

    /// A narrowed time keeps the UTC offset of a repeated hour.
    #[test]
    fn narrowed_time_keeps_offset() {
        let columns = [Column::names("BY", 4), Column::time("LAST")];
        let lines = [cells(&["mount", "2026-10-25 02:30:00 +02:00"]), cells(&["mount", "2026-10-25 03:30:00"])];
        for (width, shown) in [
            (30, "BY     LAST\nmount  2026-10-25 02:30 +02:00\nmount  2026-10-25 03:30\n"),
            (29, "BY     LAST\nmount  10-25 02:30 +02:00\nmount  10-25 03:30\nof 2026\n"),
        ] {
            assert_eq!(drawn(&columns, &lines, wide(width)), shown, "{width}");
        }
    }
}
