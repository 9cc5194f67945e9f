//! Output formats: each is a [`Consumer`](crate::stream::Consumer) in its own file. Human-readable formats escape all
//! foreign text with [`escape()`].

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
pub(crate) use words::{ancestors as parents, doubt, duration, who};
pub use zone::{ZoneError, check_local};

/// Colour of human-readable output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Colour {
    /// None.
    #[default]
    None,
    /// ANSI escape sequences.
    Ansi,
}

/// Style of human-readable output. The default suits a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Style {
    /// Colour.
    pub colour: Colour,
    /// Draw branches with box-drawing characters instead of ASCII.
    pub unicode: bool,
    /// Escape all non-ASCII characters, for a locale that is not UTF-8.
    pub ascii: bool,
    /// Times in UTC instead of local time.
    pub utc: bool,
    /// Print the time zone above the first time, for formats without a heading that has it.
    pub names_zone: bool,
    /// Show kernel and user stacks (tree only).
    pub stacks: bool,
    /// Terminal columns: the tree is wrapped, lines are truncated. `None` for no limit.
    pub width: Option<usize>,
}

impl Style {
    /// Escaped text that the locale can display.
    pub(crate) fn text(self, text: &str) -> Cow<'_, str> {
        if self.ascii { ascii(text) } else { Cow::Borrowed(text) }
    }
}
