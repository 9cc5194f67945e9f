//! Formats of the live view: each is a [`Consumer`](crate::stream::Consumer), one file a format. Human formats write every
//! foreign byte through [`escape()`].

mod cause;
pub(crate) mod cell;
mod differences;
mod fold;
mod json;
mod line;
mod page;
mod summary;
mod tree;
pub mod verdict;
mod words;
pub(crate) mod zone;

use std::borrow::Cow;

pub(crate) use crate::text::count;
pub use crate::text::{alias, argument, ascii, escape, escape_str, module, name, quoted, sentence};
pub use differences::{difference, label};
pub use json::{JsonLines, json, pretty_json};
pub use line::Lines;
pub use summary::Summary;
pub use tree::Tree;
pub(crate) use tree::block as story;
pub(crate) use words::duration;
pub use zone::{ZoneError, check_local};

/// Colour of human output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Colour {
    /// None.
    #[default]
    None,
    /// ANSI escape sequences.
    Ansi,
}

/// How human output looks. The default suits a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Style {
    /// Colour, by meaning.
    pub colour: Colour,
    /// Box-drawing characters, for readers whose locale has them; else ASCII.
    pub unicode: bool,
    /// ASCII alone: everything else is escaped, for a locale that has no other characters.
    pub ascii: bool,
    /// Times in UTC instead of local time.
    pub utc: bool,
    /// Say above the first time in which zone times are; not where a heading says so.
    pub names_zone: bool,
    /// Kernel and user stacks (the tree alone shows them).
    pub stacks: bool,
    /// Columns: the tree wraps, lines are cut. `None` keeps them as long as they are.
    pub width: Option<usize>,
}

impl Style {
    /// Escaped text as the reader's locale can show it.
    pub(crate) fn text(self, text: &str) -> Cow<'_, str> {
        if self.ascii { ascii(text) } else { Cow::Borrowed(text) }
    }
}
