//! The values of a field, seen completely, in part, or not at all.

use crate::{event::Text, select::Seen};

/// A text, or a part of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SeenText {
    text: Text,
    lacks_front: bool,
    lacks_end: bool,
}

impl SeenText {
    /// The seen part.
    pub(super) fn seen(&self) -> Seen<'_> {
        Seen { text: self.text.as_bytes(), lacks_front: self.lacks_front, lacks_end: self.lacks_end }
    }
}

impl From<Text> for SeenText {
    fn from(text: Text) -> Self {
        Self { text, lacks_front: false, lacks_end: false }
    }
}

impl From<Seen<'_>> for SeenText {
    fn from(Seen { text, lacks_front, lacks_end }: Seen<'_>) -> Self {
        Self { text: Text::from(text), lacks_front, lacks_end }
    }
}

/// The values of a field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct FieldValue {
    /// All values: a kernel thread has its own name and that of its creator. An empty list means certainly no value.
    known: Vec<SeenText>,
    /// There may be a further, unseen value.
    is_open: bool,
}

impl FieldValue {
    /// All seen values.
    pub(super) fn known(&self) -> &[SeenText] {
        &self.known
    }

    /// Whether there may be a further, unseen value.
    pub(super) const fn is_open(&self) -> bool {
        self.is_open
    }

    /// A single value.
    pub(super) fn is(text: impl Into<Text>) -> Self {
        Self::of(vec![text.into().into()], false)
    }

    /// Seen values; with `is_open` there may be further ones.
    pub(super) const fn of(known: Vec<SeenText>, is_open: bool) -> Self {
        Self { known, is_open }
    }

    /// A value that was not seen.
    pub(super) const fn unseen() -> Self {
        Self::of(Vec::new(), true)
    }

    /// A single value, or an unseen one.
    pub(super) fn seen(text: Option<impl Into<Text>>) -> Self {
        text.map(Into::into).filter(|text| !text.is_empty()).map_or(Self::unseen(), Self::is)
    }
}
