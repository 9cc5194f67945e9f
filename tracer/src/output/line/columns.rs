//! Columns that fit the terminal: the least important text is dropped first.

use jiff::Timestamp;

use crate::output::{
    Style,
    cell::{cell, columns, left, right},
    page::{Meaning, Phrase},
    words::{time_of_day, time_of_day_s},
};

/// Terminals with fewer columns get narrow table columns.
const WIDE: usize = 110;

/// A row before it is fitted to the terminal. All text is escaped.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) time: Timestamp,
    pub(super) status: String,
    pub(super) meaning: Meaning,
    pub(super) blocked: String,
    pub(super) who: String,
    pub(super) user: String,
    pub(super) what: String,
    /// Description of `what`.
    pub(super) words: Option<String>,
    /// Marks of uncertain parts.
    pub(super) marks: Vec<String>,
    pub(super) modules: Vec<String>,
    /// A note on the row above.
    pub(super) note: bool,
    /// About the stream: text instead of columns.
    pub(super) free: bool,
}

impl Row {
    /// An empty row.
    pub(super) fn at(time: Timestamp) -> Self {
        Self {
            time,
            status: String::new(),
            meaning: Meaning::Plain,
            blocked: String::new(),
            who: String::new(),
            user: String::new(),
            what: String::new(),
            words: None,
            marks: Vec::new(),
            modules: Vec::new(),
            note: false,
            free: false,
        }
    }
}

/// Widths of the columns.
#[derive(Clone, Copy, Debug)]
pub(super) struct Columns {
    style: Style,
    time: usize,
    status: usize,
    blocked: usize,
    who: usize,
    user: usize,
}

impl Columns {
    /// Columns for a style.
    pub(super) fn new(style: Style) -> Self {
        if style.width.is_none_or(|width| width >= WIDE) {
            Self { style, time: 12, status: 14, blocked: 8, who: 22, user: 10 }
        } else {
            Self { style, time: 8, status: 11, blocked: 7, who: 15, user: 5 }
        }
    }

    fn is_narrow(&self) -> bool {
        self.time == 8
    }

    fn fixed(&self, time: &str, status: &str, blocked: &str, who: &str, user: &str) -> (String, String, String) {
        let Self { time: time_w, status: status_w, blocked: blocked_w, who: who_w, user: user_w, .. } = *self;
        let [who, user] =
            [(who, who_w), (user, user_w)].map(|(text, width)| left(&cell(&self.style.text(text)), width));
        (
            format!("{} ", left(time, time_w)),
            left(status, status_w),
            format!(" {}  {who} {user} ", right(blocked, blocked_w)),
        )
    }

    /// The line with the column names.
    pub(super) fn header(&self) -> String {
        let (time, status, rest) = self.fixed("TIME", "RESULT", "BLOCKED", "REQUESTER", "USER");
        let line = Phrase::new(Meaning::Head, format!("{time}{status}{rest}ASKED FOR -> MODULES")).line(self.style);
        format!("{line}\n")
    }

    /// A row as one line, with modules on indented lines below if they do not fit.
    pub(super) fn line(&self, row: &Row) -> String {
        let indent = self.time + 1;
        if row.note {
            let text = Phrase::plain(" ".repeat(indent)).and(row.meaning, format!("! {}", row.what));
            return text.lines(self.style, indent + 2);
        }
        let time = match self.is_narrow() {
            true => time_of_day_s(row.time, self.style.utc),
            false => time_of_day(row.time, self.style.utc),
        };
        if row.free {
            let text = Phrase::plain(format!("{time} ")).and(row.meaning, format!("{} {}", row.status, row.what));
            return text.lines(self.style, indent);
        }
        let blocked = if row.blocked.is_empty() { "-" } else { &row.blocked };
        let (time, status, rest) = self.fixed(&time, &row.status, blocked, &row.who, &row.user);
        let taken = columns(&time) + columns(&status) + columns(&rest);
        let marks = row.marks.join(" ");
        let marked = if marks.is_empty() { 0 } else { columns(&marks) + 1 };
        let room = self.style.width.map(|width| width.saturating_sub(taken + marked));
        let (text, below) = text(row, room);
        let mut phrase = Phrase::plain(time).and(row.meaning, status).and_plain(rest).and_plain(text);
        if !marks.is_empty() {
            phrase = phrase.and_plain(" ").and(Meaning::Doubt, marks);
        }
        let mut line = phrase.line(self.style);
        line.truncate(line.trim_end().len());
        line.push('\n');
        if let Some(modules) = below {
            let more = Phrase::plain(format!("{}-> {modules}", " ".repeat(indent)));
            line.push_str(&more.lines(self.style, indent + 3));
        }
        line
    }
}

/// The request and its modules: with the description if it fits; the modules separately if they do not fit.
fn text(row: &Row, room: Option<usize>) -> (String, Option<String>) {
    let fits = |text: &str| room.is_none_or(|room| columns(text) <= room);
    let modules = row.modules.join(" ");
    let with_modules = |text: &str| match (modules.is_empty(), text.is_empty()) {
        (true, _) => text.to_owned(),
        (false, true) => format!("-> {modules}"),
        (false, false) => format!("{text} -> {modules}"),
    };
    let described = row.words.as_ref().map(|words| format!("{} ({words})", row.what));
    for text in [described.as_deref(), Some(row.what.as_str())].into_iter().flatten() {
        let text = with_modules(text);
        if fits(&text) {
            return (text, None);
        }
    }
    let first = described.filter(|text| fits(text)).unwrap_or_else(|| row.what.clone());
    (first, (!modules.is_empty()).then_some(modules))
}
