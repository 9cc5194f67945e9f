//! The value of a field, and how much of it was seen.

use crate::{event::Text, select::Seen};

/// A text, or a part of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Known {
    text: Text,
    lacks_front: bool,
    lacks_end: bool,
}

impl Known {
    /// What was seen of it.
    pub(super) fn seen(&self) -> Seen<'_> {
        Seen { text: self.text.as_bytes(), lacks_front: self.lacks_front, lacks_end: self.lacks_end }
    }
}

impl From<Text> for Known {
    fn from(text: Text) -> Self {
        Self { text, lacks_front: false, lacks_end: false }
    }
}

impl From<Seen<'_>> for Known {
    fn from(Seen { text, lacks_front, lacks_end }: Seen<'_>) -> Self {
        Self { text: Text::from(text), lacks_front, lacks_end }
    }
}

/// What a field holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Value {
    /// All of these: a kernel thread goes by its own name and by that of who made it. None is certain to be none.
    known: Vec<Known>,
    /// There may be another that was not seen.
    is_open: bool,
}

impl Value {
    /// All that were seen.
    pub(super) fn known(&self) -> &[Known] {
        &self.known
    }

    /// Whether there may be another that was not seen.
    pub(super) const fn is_open(&self) -> bool {
        self.is_open
    }

    /// A single value.
    pub(super) fn is(text: impl Into<Text>) -> Self {
        Self::of(vec![text.into().into()], false)
    }

    /// What was seen; with `is_open` there may be another.
    pub(super) const fn of(known: Vec<Known>, is_open: bool) -> Self {
        Self { known, is_open }
    }

    /// Nothing was seen of it.
    pub(super) const fn unseen() -> Self {
        Self::of(Vec::new(), true)
    }

    /// A single value, unless it was not seen.
    pub(super) fn seen(text: Option<impl Into<Text>>) -> Self {
        text.map(Into::into).filter(|text| !text.is_empty()).map_or(Self::unseen(), Self::is)
    }
}
