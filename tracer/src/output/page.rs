//! Layout of the tree view: colours, labels, branches, wrapping.

use super::{Colour, Style};
use crate::text::unicode::columns_of;

/// The meaning of a piece of text, which decides its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    Plain,
    Head,
    Good,
    Bad,
    Doubt,
}

impl Meaning {
    const fn ansi(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Head => Some("1"),
            Self::Good => Some("32"),
            Self::Bad => Some("31"),
            Self::Doubt => Some("33"),
        }
    }
}

/// Text with meanings. All text is escaped.
#[derive(Clone, Debug, Default)]
pub(super) struct Phrase(Vec<(Meaning, String)>);

impl Phrase {
    pub(super) fn new(meaning: Meaning, text: impl Into<String>) -> Self {
        Self(vec![(meaning, text.into())])
    }

    pub(super) fn plain(text: impl Into<String>) -> Self {
        Self::new(Meaning::Plain, text)
    }

    pub(super) fn and(mut self, meaning: Meaning, text: impl Into<String>) -> Self {
        self.0.push((meaning, text.into()));
        self
    }

    pub(super) fn and_plain(self, text: impl Into<String>) -> Self {
        self.and(Meaning::Plain, text)
    }

    /// The text as one line, truncated to the terminal width.
    pub(super) fn line(&self, style: Style) -> String {
        const CUT: &str = "...";
        let mut line = self.characters(style);
        if let Some(width) = style.width.filter(|width| columns(&line) > *width) {
            let kept = room(&line, width.saturating_sub(CUT.len()));
            line.truncate(kept);
            line.extend(CUT.chars().map(|character| (Meaning::Plain, character)));
        }
        painted(&line, style.colour)
    }

    /// The text wrapped to the terminal width; further lines start at column `indent`.
    pub(super) fn lines(&self, style: Style, indent: usize) -> String {
        let mut out = String::new();
        let margin = " ".repeat(indent);
        let width = style.width.map(|width| width.saturating_sub(indent).max(TEXT_WIDTH_MIN));
        let characters = self.characters(style);
        for (number, line) in wrapped(&characters, width).into_iter().enumerate() {
            if number > 0 {
                out.push_str(&margin);
            }
            out.push_str(painted(line, style.colour).trim_end());
            out.push('\n');
        }
        out
    }

    fn characters(&self, style: Style) -> Vec<(Meaning, char)> {
        let mut out = Vec::new();
        for (meaning, text) in &self.0 {
            out.extend(style.text(text).chars().map(|character| (*meaning, character)));
        }
        out
    }
}

fn columns(line: &[(Meaning, char)]) -> usize {
    line.iter().map(|(_, character)| columns_of(*character)).sum()
}

/// Number of characters that fit into `width` columns.
fn room(line: &[(Meaning, char)], width: usize) -> usize {
    let mut used: usize = 0;
    line.iter()
        .take_while(|(_, character)| {
            used = used.saturating_add(columns_of(*character));
            used <= width
        })
        .count()
}

/// The text in lines of at most `width` columns, broken at spaces if possible.
fn wrapped(text: &[(Meaning, char)], width: Option<usize>) -> Vec<&[(Meaning, char)]> {
    let is_space = |at: usize| text.get(at).is_some_and(|(_, character)| *character == ' ');
    let (mut lines, mut from) = (Vec::new(), 0);
    while let Some(width) = width {
        // At least one character per line, even if it is wider than the line.
        let room = from + room(text.get(from..).unwrap_or_default(), width).max(1);
        if room >= text.len() {
            break;
        }
        let space = (from + 1..=room).rev().find(|at| is_space(*at));
        let end = space.unwrap_or(room);
        lines.push(text.get(from..end).unwrap_or_default());
        from = end;
        while space.is_some() && is_space(from) {
            from += 1;
        }
    }
    lines.push(text.get(from..).unwrap_or_default());
    lines
}

/// One line with colours.
fn painted(line: &[(Meaning, char)], colour: Colour) -> String {
    let mut out = String::new();
    for run in line.chunk_by(|one, other| one.0 == other.0) {
        let code = run.first().and_then(|(meaning, _)| meaning.ansi()).filter(|_| colour == Colour::Ansi);
        let text = run.iter().map(|(_, character)| *character);
        match code {
            Some(code) => {
                out.push_str(&format!("\x1b[{code}m"));
                out.extend(text);
                out.push_str("\x1b[0m");
            }
            None => out.extend(text),
        }
    }
    out
}

/// Minimum width of text, at any nesting depth.
const TEXT_WIDTH_MIN: usize = 24;

/// Width of labels with the space around them.
const LABEL_WIDTH: usize = 11;

/// A page that is being written.
#[derive(Debug)]
pub(super) struct Page {
    style: Style,
    out: String,
    /// Prefix of every line.
    margin: String,
    /// Prefix of the next line only.
    corner: Option<String>,
}

impl Page {
    pub(super) const fn new(style: Style) -> Self {
        Self { style, out: String::new(), margin: String::new(), corner: None }
    }

    pub(super) fn into_text(self) -> String {
        self.out
    }

    /// A first line.
    pub(super) fn head(&mut self, phrase: &Phrase) {
        self.put("", "    ", phrase);
    }

    /// A line with a label; an empty label continues the last one.
    pub(super) fn line(&mut self, label: &str, phrase: &Phrase) {
        self.put(&format!("  {label:<8} "), &" ".repeat(LABEL_WIDTH), phrase);
    }

    fn put(&mut self, first: &str, next: &str, phrase: &Phrase) {
        let taken = self.margin.chars().count() + first.chars().count().max(next.len());
        let width = self.style.width.map(|width| width.saturating_sub(taken).max(TEXT_WIDTH_MIN));
        let mut lead = first;
        let characters = phrase.characters(self.style);
        for line in wrapped(&characters, width) {
            let margin = self.corner.take();
            let text = painted(line, self.style.colour);
            let line = format!("{}{lead}{text}", margin.as_ref().unwrap_or(&self.margin));
            self.out.push_str(line.trim_end());
            self.out.push('\n');
            lead = next;
        }
    }

    /// A branch: its first line has a corner, all its lines are indented to the text column.
    pub(super) fn branch(&mut self, label: &str, last: bool, write: impl FnOnce(&mut Self)) {
        let (corner, rail) = match (self.style.unicode, last) {
            (true, false) => ("├─ ", "│  "),
            (true, true) => ("└─ ", "   "),
            (false, false) => ("|- ", "|  "),
            (false, true) => ("`- ", "   "),
        };
        let margin = self.margin.clone();
        self.corner = Some(format!("{margin}  {label:<8} {corner}"));
        self.margin = format!("{margin}{}{rail}", " ".repeat(LABEL_WIDTH));
        write(self);
        self.corner = None;
        self.margin = margin;
    }
}

#[cfg(test)]
mod tests {
    use super::{Meaning, Page, Phrase};
    use crate::output::{Colour, Style};

    fn page(style: Style, write: impl FnOnce(&mut Page)) -> String {
        let mut page = Page::new(style);
        write(&mut page);
        page.into_text()
    }

    /// Long text continues in its column, and a long word is broken.
    #[test]
    fn line_long_text_is_wrapped_in_its_column() {
        let style = Style { width: Some(36), ..Style::default() };
        let text = page(style, |page| {
            page.line("asked", &Phrase::plain("one two three four five six"));
            page.line("", &Phrase::plain("a".repeat(30)));
        });
        assert_eq!(
            text,
            "  asked    one two three four five\n           six\n           aaaaaaaaaaaaaaaaaaaaaaaaa\n           aaaaa\n"
        );
    }

    /// Wide characters take two columns, non-ASCII is escaped on request, and wrapping is linear in the text length.
    #[test]
    fn line_wide_characters_are_wrapped_by_columns() {
        let style = Style { width: Some(36), ..Style::default() };
        let wide = Phrase::plain("漢".repeat(13));
        let text = page(style, |page| page.line("asked", &wide));
        assert_eq!(text, format!("  asked    {}\n           漢\n", "漢".repeat(12)));
        let ascii = page(Style { ascii: true, ..Style::default() }, |page| page.line("who", &Phrase::plain("ä")));
        assert_eq!(ascii, "  who      \\u{e4}\n");
        let long = Phrase::plain("a ".repeat(2_000_000));
        let text = page(style, |page| page.line("asked", &long));
        assert!(text.lines().count() > 100_000);
    }

    /// A colour is restarted on each wrapped line and reset at its end.
    #[test]
    fn line_colour_is_reset_at_line_end() {
        let style = Style { colour: Colour::Ansi, width: Some(40), ..Style::default() };
        let text = page(style, |page| {
            page.line("result", &Phrase::plain("it ").and(Meaning::Bad, "failed for quite some reason, indeed"));
        });
        assert_eq!(
            text,
            "  result   it \x1b[31mfailed for quite some\x1b[0m\n           \x1b[31mreason, indeed\x1b[0m\n"
        );
    }

    /// Nested branches have corners and rails in both character sets.
    #[test]
    fn branches_nested_are_drawn() {
        let draw = |page: &mut Page| {
            page.branch("in turn", false, |page| {
                page.head(&Phrase::plain("one"));
                page.branch("", true, |page| page.head(&Phrase::plain("inner")));
            });
            page.branch("", true, |page| page.head(&Phrase::plain("two")));
        };
        let ascii = "  in turn  |- one\n           |             `- inner\n           `- two\n";
        assert_eq!(page(Style::default(), draw), ascii);
        let unicode = Style { unicode: true, ..Style::default() };
        assert_eq!(page(unicode, draw), ascii.replace("|-", "├─").replace("`-", "└─").replace('|', "│"));
    }
}
