//! The value of a field, and how much of it was seen.

use crate::event::Text;

/// What a field holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Value {
    /// All of these: a kernel thread goes by its own name and by that of who made it. None is certain to be none.
    texts: Vec<Text>,
    /// There is another that was not seen.
    is_open: bool,
}

impl Value {
    /// All that were seen.
    pub(super) fn texts(&self) -> &[Text] {
        &self.texts
    }

    /// Whether there is another that was not seen.
    pub(super) const fn is_open(&self) -> bool {
        self.is_open
    }

    /// A single value.
    pub(super) fn is(text: impl Into<Text>) -> Self {
        Self::all(vec![text.into()])
    }

    /// These and no other.
    pub(super) const fn all(texts: Vec<Text>) -> Self {
        Self { texts, is_open: false }
    }

    /// These, and what was not seen.
    pub(super) const fn at_least(texts: Vec<Text>) -> Self {
        Self { texts, is_open: true }
    }

    /// What was seen, or not known.
    pub(super) fn known(text: Option<impl Into<Text>>) -> Self {
        text.map_or(Self::at_least(Vec::new()), Self::is)
    }
}
