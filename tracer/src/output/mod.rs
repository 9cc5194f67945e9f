//! Output: one trait, one file a format. Human formats write every foreign byte through [`escape()`].

mod escape;
mod json;
mod summary;
mod tree;
mod words;

use std::io;

pub use escape::{argument, escape};
pub use json::JsonLines;
pub use summary::Summary;
pub use tree::{Tree, TreeOptions};

use crate::{chain::Item, event::Event};

/// Colour of human output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Colour {
    /// None.
    #[default]
    None,
    /// ANSI escape sequences.
    Ansi,
}

/// A format. It gets every event as it comes, and every chain when it has ended; each format uses what it needs.
pub trait Output {
    /// An event of the stream.
    ///
    /// # Errors
    /// When it cannot be written; `BrokenPipe` when the reader is gone.
    fn event(&mut self, event: &Event) -> io::Result<()>;

    /// A chain or event that is finished.
    ///
    /// # Errors
    /// As [`Output::event`].
    fn item(&mut self, item: &Item) -> io::Result<()>;

    /// The end of the stream.
    ///
    /// # Errors
    /// As [`Output::event`].
    fn finish(&mut self) -> io::Result<()>;
}
