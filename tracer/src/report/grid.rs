//! Columns of text side by side, as wide as there is room.

/// Characters of a time without its seconds.
const MINUTES_CHARS: usize = 16;

/// Characters of its year, with what follows it.
const YEAR_CHARS: usize = 5;

/// What stands for what was cut off.
const CUT: &str = "...";

/// Between columns.
const GAP: usize = 2;

/// A column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Column {
    head: &'static str,
    kind: Kind,
    /// The lower, the sooner it is left out where there is no room; never without.
    spared: Option<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Names: cut, but to no fewer characters than these.
    Names(usize),
    /// Numbers, which are never cut.
    Number,
    /// Times, which may lose their seconds.
    Time,
}

impl Column {
    /// Names, cut to no fewer characters than `min`.
    pub(super) const fn names(head: &'static str, min: usize) -> Self {
        Self { head, kind: Kind::Names(min), spared: None }
    }

    /// Numbers, on the right.
    pub(super) const fn number(head: &'static str) -> Self {
        Self { head, kind: Kind::Number, spared: None }
    }

    /// Dates with times to the second.
    pub(super) const fn time(head: &'static str) -> Self {
        Self { head, kind: Kind::Time, spared: None }
    }

    /// The same, left out where there is no room: those with the lowest number first.
    pub(super) const fn spared(self, order: u8) -> Self {
        Self { spared: Some(order), ..self }
    }
}

/// A column with its cells' width.
#[derive(Clone, Copy, Debug)]
struct Laid {
    column: Column,
    /// Its place among the cells of a line.
    place: usize,
    width: usize,
    /// Characters of its cells that are passed over.
    skipped: usize,
}

impl Laid {
    /// The narrowest that it can be.
    const fn min(&self) -> usize {
        match self.column.kind {
            Kind::Names(min) if min < self.width => min,
            _ => self.width,
        }
    }
}

/// The lines under their heads. Where they do not fit, times lose their seconds first, then columns are left out (and
/// that is said), then times lose a year that all share (which is said, too), then names are cut.
pub(super) fn drawn(columns: &[Column], lines: &[Vec<String>], width: Option<usize>) -> String {
    let laid = columns.iter().enumerate().map(|(place, column)| {
        let cells = lines.iter().filter_map(|line| line.get(place)).map(|cell| length(cell));
        Laid { column: *column, place, width: cells.fold(length(column.head), usize::max), skipped: 0 }
    });
    let mut laid: Vec<Laid> = laid.collect();
    let year = shared_year(columns, lines);
    let left_out = width.map_or_else(Vec::new, |limit| fit(&mut laid, limit, year.is_some()));
    let year = year.filter(|_| laid.iter().any(|column| column.skipped > 0));
    let mut out = String::new();
    let heads: Vec<String> = columns.iter().map(|column| column.head.to_owned()).collect();
    for line in std::iter::once(&heads).chain(lines) {
        let cells = laid.iter().map(|Laid { column, place, width, skipped }| {
            let cell = line.get(*place).map_or("", String::as_str);
            let cell = match column.kind {
                // A head is no time.
                Kind::Time if cell == column.head => cell.to_owned(),
                Kind::Time => cell.chars().skip(*skipped).take(*width).collect(),
                Kind::Names(_) | Kind::Number => cut(cell, *width),
            };
            if column.kind == Kind::Number { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
        });
        let joined = cells.collect::<Vec<_>>().join(&" ".repeat(GAP));
        out.push_str(joined.trim_end());
        out.push('\n');
    }
    let year = year.map(|year| format!("times are of {year}"));
    let left_out = (!left_out.is_empty()).then(|| format!("no room for {}", left_out.join(", ")));
    let notes: Vec<String> = year.into_iter().chain(left_out).collect();
    if !notes.is_empty() {
        out.push_str(&format!("({})\n", notes.join("; ")));
    }
    out
}

/// The year that all times are of.
fn shared_year<'a>(columns: &[Column], lines: &'a [Vec<String>]) -> Option<&'a str> {
    let is_time = |cell: &(&Column, &String)| cell.0.kind == Kind::Time;
    let times = lines.iter().flat_map(|line| columns.iter().zip(line).filter(is_time));
    let mut years = times.map(|(_, cell)| cell.split('-').next().unwrap_or_default());
    let first = years.next().filter(|year| year.len() + 1 == YEAR_CHARS)?;
    years.all(|year| year == first).then_some(first)
}

/// Makes columns as narrow as it takes, and gives the heads of those that are left out.
fn fit(laid: &mut Vec<Laid>, limit: usize, share_year: bool) -> Vec<&'static str> {
    let gaps = |laid: &[Laid]| GAP * laid.len().saturating_sub(1);
    let natural = |laid: &[Laid]| laid.iter().map(|column| column.width).sum::<usize>() + gaps(laid);
    let least = |laid: &[Laid]| laid.iter().map(Laid::min).sum::<usize>() + gaps(laid);
    if natural(laid) > limit {
        for column in laid.iter_mut().filter(|column| column.column.kind == Kind::Time) {
            column.width = column.width.min(MINUTES_CHARS);
        }
    }
    let mut left_out = Vec::new();
    while least(laid) > limit {
        let next = laid.iter().enumerate().filter_map(|(at, column)| Some((column.column.spared?, at))).min();
        let Some((_, at)) = next else { break };
        left_out.push(laid.remove(at).column.head);
    }
    if natural(laid) > limit && share_year {
        for column in laid.iter_mut().filter(|column| column.column.kind == Kind::Time) {
            column.width -= YEAR_CHARS.min(column.width);
            column.skipped = YEAR_CHARS;
        }
    }
    while natural(laid) > limit {
        let widest = laid.iter_mut().filter(|column| column.width > column.min()).max_by_key(|column| column.width);
        let Some(widest) = widest else { break };
        widest.width -= 1;
    }
    left_out
}

fn length(text: &str) -> usize {
    text.chars().count()
}

/// What does not fit loses its end, and says so; a path loses its front, since its end is the name.
fn cut(text: &str, width: usize) -> String {
    let chars = length(text);
    if chars <= width {
        return text.to_owned();
    }
    let kept = width.saturating_sub(CUT.len());
    if text.starts_with('/') || text.starts_with(".../") {
        let end: String = text.chars().skip(chars - kept).collect();
        return format!("{CUT}{end}");
    }
    let begin: String = text.chars().take(kept).collect();
    format!("{begin}{CUT}")
}

#[cfg(test)]
mod tests {
    use super::{Column, drawn};

    fn cells(cells: &[&str]) -> Vec<String> {
        cells.iter().map(|cell| (*cell).to_owned()).collect()
    }

    /// Check that columns stand under each other, and that a narrow terminal cuts the front of paths, the end of names, and
    /// no numbers.
    #[test]
    fn columns_are_aligned_and_cut() {
        let columns = [Column::names("BY", 12), Column::number("TIMES")];
        let lines = [cells(&["/usr/bin/mount", "7"]), cells(&["(somebody)[else]", "12345"])];
        assert_eq!(
            drawn(&columns, &lines, None),
            "BY                TIMES\n/usr/bin/mount        7\n(somebody)[else]  12345\n"
        );
        assert_eq!(
            drawn(&columns, &lines, Some(19)),
            "BY            TIMES\n...bin/mount      7\n(somebody...  12345\n"
        );
    }

    /// Check that seconds go first, then the columns that can be spared, and that this is said.
    #[test]
    fn the_least_is_left_out() {
        let columns = [
            Column::names("BY", 4),
            Column::names("UNIT", 4).spared(1),
            Column::number("BLOCKED").spared(3),
            Column::time("FIRST").spared(2),
        ];
        let lines = [cells(&["mount", "a.mount", "7 ms", "2026-11-23 06:30:49"])];
        let of = "times are of 2026";
        let room = |heads: &str| format!("no room for {heads}");
        for (width, shown) in [
            (44, "BY     UNIT     BLOCKED  FIRST\nmount  a.mount     7 ms  2026-11-23 06:30:49\n".to_owned()),
            (43, "BY     UNIT     BLOCKED  FIRST\nmount  a.mount     7 ms  2026-11-23 06:30\n".to_owned()),
            (37, format!("BY     UNIT     BLOCKED  FIRST\nmount  a.mount     7 ms  11-23 06:30\n({of})\n")),
            (36, format!("BY     BLOCKED  FIRST\nmount     7 ms  2026-11-23 06:30\n({})\n", room("UNIT"))),
            (31, format!("BY     BLOCKED  FIRST\nmount     7 ms  11-23 06:30\n({of}; {})\n", room("UNIT"))),
            (15, format!("BY     BLOCKED\nmount     7 ms\n({})\n", room("UNIT, FIRST"))),
            (4, format!("BY\nm...\n({})\n", room("UNIT, FIRST, BLOCKED"))),
        ] {
            assert_eq!(drawn(&columns, &lines, Some(width)), shown, "{width}");
        }
    }
}
